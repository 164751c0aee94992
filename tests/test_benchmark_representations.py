"""Comparisons of representations: their command lines are valid, their tables add up."""

from pathlib import Path

import beta_vae
import pandas as pd
import pytest
import representations
from training import key_values, train

from outfits.config.load import load_config


@pytest.mark.parametrize("texts", representations.TEXTS)
@pytest.mark.parametrize("run", [None, "/runs/vae"])
def test_every_training_of_a_comparison_is_a_valid_command(texts: str, run: str | None) -> None:
    training = representations.Training("vae", run, texts, seed=3)
    config = load_config(training.arguments(Path("out"), ["experiment=mango"]))
    assert config.stages == ["embeddings", "compatibility"]
    assert (config.encoder.image, config.encoder.learned.run) == (("learned", run) if run else ("classical", None))
    assert (config.encoder.text == "none") == (texts == "images only")
    assert (config.seed, config.judge.share) == (3, 0)
    assert Path(str(config.run_dir)) == training.folder(Path("out"))


def test_trainings_of_one_comparison_have_folders_of_their_own() -> None:
    trainings = [
        representations.Training(name, None, texts, seed)
        for name in ("a", "b")
        for texts in representations.TEXTS
        for seed in (0, 1)
    ]
    assert len({training.folder(Path("out")) for training in trainings}) == 8


def test_the_table_has_means_deviations_and_differences_paired_by_seed() -> None:
    aucs = {("classical", 0): 0.70, ("classical", 1): 0.72, ("vae", 0): 0.71, ("vae", 1): 0.75}
    rows = pd.DataFrame(
        [
            {
                "representation": name,
                "texts": "images only",
                "seed": seed,
                "auc_same_category": auc,
                "fitb_same_category": 0.5,
            }
            for (name, seed), auc in aucs.items()
        ]
    )
    table = representations.table_of(rows).loc["images only"]
    assert table.loc["vae", "auc_same_category mean"] == pytest.approx(0.73)
    assert table.loc["vae", "auc_same_category std"] == pytest.approx(0.02 * 2**0.5)
    assert table.loc["vae", "auc - classical mean"] == pytest.approx(0.02)
    assert table.loc["vae", "auc - classical std"] == pytest.approx(0.01 * 2**0.5), (
        "smaller than either deviation's sum"
    )
    assert table.loc["classical", "auc - classical mean"] == 0


@pytest.mark.parametrize("name", beta_vae.SCHEDULES)
def test_every_schedule_is_a_valid_configuration(name: str) -> None:
    vae = load_config(["experiment=disentanglement", *beta_vae.SCHEDULES[name]]).model.representation.vae
    first, last = {
        "beta 1": (None, 1.0),
        "beta 4": (None, 4.0),
        "beta 16": (None, 16.0),
        "falling 16 to 1": (16.0, 1.0),
    }[name]
    assert (vae.beta_start, vae.beta) == (first, last)


def test_the_plot_is_drawn_from_the_figures_of_reports(tmp_path: Path) -> None:
    latent = dict.fromkeys(beta_vae.SCORES, 0.5)
    factors = {"colour": {"informativeness": 0.9, "compactness": 0.4}}
    results = {
        "disentanglement": {**latent, "factors": factors},
        "reconstruction": {"model": {"garment_psnr": 20.0}},
        "kl": {"total": 12.0, "active": 7},
    }
    rows = pd.DataFrame([beta_vae.row_of(name, seed, results) for name in beta_vae.SCHEDULES for seed in (0, 1)])
    assert rows["psnr"].tolist() == [20.0] * 8
    assert rows["compactness colour"].tolist() == [0.4] * 8
    beta_vae.drawn(rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0


def test_a_training_that_fails_ends_the_comparison_with_its_message() -> None:
    with pytest.raises(SystemExit, match="one: config error: seed"):
        train("one", ["seed=nothing"], threads=1)


def test_arguments_that_are_no_settings_are_found() -> None:
    assert key_values(["a=1", "b.c=[1,2]"]) is None
    assert key_values(["a=1", "--jbos", "b"]) == "--jbos"
