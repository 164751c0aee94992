"""Devices that are not there, and precisions that they lack, are refused before a run is made."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lightning_modules.trainer import check_hardware
from outfits.config.load import load_config
from outfits.config.schema.trainer import TrainerConfig
from outfits.errors import ConfigError
from pipeline.run import open_run, reopen_run

without_gpu = pytest.mark.skipif(
    torch.cuda.is_available() or torch.backends.mps.is_available(), reason="this machine has a GPU"
)
ABSENT = [
    ("trainer.accelerator=gpu", "trainer.accelerator: 'gpu'"),
    ("trainer.accelerator=cuda", "trainer.accelerator: 'cuda'"),
    ("trainer.accelerator=mps", "trainer.accelerator: 'mps'"),
    ("trainer.devices=[0]", "trainer.devices: [0]"),
    ("trainer.devices=[0,1]", "trainer.devices: [0, 1]"),
    ("trainer.strategy=dpp", "trainer.strategy: 'dpp'"),
    ("trainer.strategy=fsdp_2", "trainer.strategy: 'fsdp_2'"),
    ("trainer.precision=16-mixed", "trainer.precision: 16-mixed needs a GPU"),
]


@without_gpu
@pytest.mark.parametrize(("option", "said"), ABSENT)
def test_what_the_machine_lacks_is_one_line_before_the_folder_is_made(tmp_path: Path, option: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_run(load_config(["experiment=smoke", f"run_dir={tmp_path / 'run'}", option]))
    (line,) = caught.value.errors
    assert line.startswith(said)
    assert "\n" not in line
    assert not (tmp_path / "run").exists()


@without_gpu
def test_a_run_trained_in_a_precision_of_gpus_is_evaluated_without_one(tmp_path: Path) -> None:
    config = load_config(["experiment=smoke", f"run_dir={tmp_path}"])
    trained = replace(config, run=str(tmp_path), trainer=replace(config.trainer, precision="16-mixed"))
    assert reopen_run(trained).folder == tmp_path
    with pytest.raises(ConfigError, match=r"trainer\.accelerator: 'gpu'"):
        reopen_run(replace(trained, trainer=replace(trained.trainer, accelerator="gpu")))


@pytest.mark.parametrize("devices", ["auto", 1, "2", 2])
@pytest.mark.parametrize("strategy", ["auto", "ddp"])
def test_processors_are_always_there(devices: int | str, strategy: str) -> None:
    check_hardware(TrainerConfig(accelerator="cpu", devices=devices, strategy=strategy), trains=True)
