"""Building a configuration: which source wins, what a run's own configuration allows, what is saved."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from outfits.config.load import load_config, read_config, save_config
from outfits.config.merge import merge
from outfits.config.recipes import CONFIGS, names_of, purpose_of
from outfits.config.schema import Config
from outfits.config.schema.complete import CompleteConfig
from outfits.config.sources import read_argument
from outfits.errors import ConfigError


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """A folder of recipes in which every source sets `scorer.layers` to another value."""
    for name, text in {
        "experiment/synthetic.yaml": "# base\ninclude: [scorer/deep]\nscorer:\n  layers: 3\n",
        "experiment/plain.yaml": "# plain\nseed: 5\n",
        "experiment/grouped.yaml": "# grouped\ninclude: [scorer/deep]\n",
        "scorer/deep.yaml": "# deep\nlayers: 2\nepochs: 7\n",
        "scorer/wide.yaml": "# wide\nlayers: 5\n",
    }.items():
        path = tmp_path / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "configs"


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run's folder with its saved configuration."""
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    save_config(load_config(["model.k=3", f"run_dir={run}", "evaluate.outfits=50"]), run / "config.yaml")
    return run


def errors_of(argv: list[str], program: str = "train") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(argv, program)
    return caught.value.errors


@pytest.mark.parametrize("name", names_of("experiment"))
def test_every_shipped_recipe_composes(name: str) -> None:
    assert load_config([f"experiment={name}"]).experiment == name


@pytest.mark.parametrize(
    "group",
    [f"{path.parent.name}={path.stem}" for path in CONFIGS.glob("*/*.yaml") if path.parent.name != "experiment"],
)
def test_every_shipped_group_composes_with_the_default_recipe(group: str) -> None:
    assert isinstance(load_config([group]), Config)


def test_every_file_under_configs_is_a_recipe_or_group_and_says_what_it_is_for() -> None:
    files = [path for path in CONFIGS.rglob("*") if path.is_file()]
    sections = {path.parent.name for path in files} - {"experiment"}
    assert files
    assert all(path.suffix == ".yaml" and len(path.relative_to(CONFIGS).parts) == 2 for path in files)
    assert sections <= set(asdict(Config()))
    assert [path for path in files if not purpose_of(path)] == []


def test_later_sources_win_over_earlier_ones(configs: Path) -> None:
    def layers(*argv: str) -> int:
        return load_config(argv, configs=configs).scorer.layers

    assert layers("experiment=plain") == 4  # schema
    assert layers("experiment=grouped") == 2  # included group over schema
    assert layers() == 3  # recipe over included group
    assert layers("scorer=wide") == 5  # group of the command line over recipe
    assert layers("scorer.layers=6", "scorer=wide") == 6  # key over group, in whatever order they are written
    assert layers("scorer.layers=6", "scorer.layers=1") == 1


def test_group_of_the_command_line_takes_the_place_of_the_included_one(configs: Path) -> None:
    assert load_config(["experiment=grouped"], configs=configs).scorer.epochs == 7
    assert load_config(["experiment=grouped", "scorer=wide"], configs=configs).scorer.epochs == 20


def test_several_groups_of_one_section_apply_in_turn() -> None:
    trainer = load_config(["trainer=[ddp4,bf16]"]).trainer
    assert (trainer.devices, trainer.strategy, trainer.precision) == (4, "ddp", "bf16-mixed")


def test_recipe_may_be_a_file_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("include: [data/mango]\nmodel: {k: 3}\n")
    config = load_config([f"experiment={tmp_path}/mine.yaml"])
    assert (config.experiment, config.model.k, config.data.tables.outfit_id) == ("mine", 3, "cod_outfit")


@pytest.mark.parametrize(
    ("argument", "name", "below"),
    [
        ("run_dir=~/x", "run_dir", "x"),
        ("cache_dir='~/a b'", "cache_dir", "a b"),
        ("data.root=~/shop", "data.root", "shop"),
        ("encoder.image.run=~/runs/vae", "encoder.learned.run", "runs/vae"),
    ],
)
def test_a_tilde_is_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, argument: str, name: str, below: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert merge(Config, read_argument(argument, Config))[0][name] == f"{tmp_path}/{below}"


def test_a_tilde_is_the_home_folder_in_recipes_groups_lists_and_of_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("cache_dir: ~/c\ndata:\n  root: ~/d\n")
    (tmp_path / "group.yaml").write_text("root: ~/e\n")
    config = load_config(["experiment=~/mine.yaml"])
    assert (config.cache_dir, config.data.root) == (f"{tmp_path}/c", f"{tmp_path}/d")
    assert load_config(["data=~/group.yaml"]).data.root == f"{tmp_path}/e"
    save_config(config, tmp_path / "run" / "config.yaml")
    assert load_config(["resume=~/run"]).run_dir == f"{tmp_path}/run"
    (read,) = read_argument("garments=[{image: ~/scarf.jpg, text: red ~/}]", CompleteConfig)
    assert read.value == [{"image": f"{tmp_path}/scarf.jpg", "text": "red ~/"}]


@pytest.mark.parametrize("value", ["~x", "x~/y", "a ~ b"])
def test_another_tilde_is_a_letter(value: str) -> None:
    assert load_config([f"run_dir={value}"]).run_dir == value


def test_values_keep_the_type_of_their_key() -> None:
    config = load_config(
        ["scorer.lr=1e-4", "scorer.dropout=0", "data.limit=null", "trainer.devices=[0,1]", "wandb.tags=[a,7]"]
        + ["wandb.name=007", "wandb.mode=off", "trainer.fast_dev_run=True", "trainer.limit_train_batches=5"]
    )
    assert config.scorer.lr == pytest.approx(1e-4)
    assert isinstance(config.scorer.dropout, float)
    assert config.data.limit is None
    assert config.trainer.devices == [0, 1]
    assert type(config.trainer.devices) is list
    assert config.wandb.tags == ["a", "7"]
    assert config.wandb.name == "007"
    assert config.wandb.mode == "off"
    assert config.trainer.fast_dev_run is True
    assert config.trainer.limit_train_batches == 5


def test_text_template_needs_no_second_quotes() -> None:
    for template in ("{colour} {name}", "{name}", "{type}: {colour}"):
        config = load_config(["data=tables", f"data.tables.text={template}"])
        assert config.data.tables.text == template


def test_interpolation_between_keys_is_resolved() -> None:
    assert load_config(["seed=4", "data.split.seed=${seed}"]).data.split.seed == 4


def test_saved_configuration_reads_back_and_repeats_the_run(tmp_path: Path) -> None:
    config = load_config(["experiment=mango", "trainer.devices=[0,2]", "wandb.name='off'", "data.root=some where"])
    save_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config
    assert load_config([f"experiment={tmp_path}/config.yaml"]) == config
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    "key", ["data.root", "cache_dir", "encoder.learned.run", "model.representation.perceptual.weights"]
)
def test_a_path_means_the_same_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    save_config(load_config([f"{key}=../some/./where"]), tmp_path / "config.yaml")
    monkeypatch.chdir(tmp_path / "there")
    saved: Any = asdict(read_config(tmp_path / "config.yaml"))
    for name in key.split("."):
        saved = saved[name]
    assert saved == str(tmp_path / "some" / "where")


@pytest.mark.parametrize(
    ("key", "value", "recorded"),
    [
        ("encoder.timm.weights", "./w.pt", "HERE/w.pt"),
        ("encoder.timm.weights", "package:eyes", "package:eyes"),
        ("encoder.timm.model", "local-dir:there", "local-dir:HERE/there"),
        ("encoder.timm.model", "hf-hub:timm/resnet18", "hf-hub:timm/resnet18"),
        ("encoder.sentence.model", "../m", "HERE/../m"),
        ("encoder.sentence.model", "org/name", "org/name"),
        ("encoder.sentence.model", "mine", "HERE/mine"),
        ("encoder.open_clip.pretrained", "laion2b", "laion2b"),
    ],
)
def test_paths_among_names_of_models_are_recorded_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: str, recorded: str
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    found: Any = asdict(load_config([f"{key}={value}"]))
    for name in key.split("."):
        found = found[name]
    assert found == (os.path.normpath(recorded.replace("HERE", str(tmp_path))) if "HERE" in recorded else recorded)


def test_saved_configuration_holds_every_key(tmp_path: Path) -> None:
    save_config(Config(), tmp_path / "config.yaml")
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == asdict(Config())


def test_saved_configuration_leaves_out_how_the_program_was_called(finished: Path, tmp_path: Path) -> None:
    resumed = load_config([f"resume={finished}"])
    save_config(resumed, tmp_path / "again.yaml")
    again = load_config([f"experiment={tmp_path}/again.yaml"])
    assert (again.resume, again.run, again.model.k) == (None, None, 3)


def test_saved_file_with_unknown_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1\nmodel:\n  kk: 2\n")
    with pytest.raises(ConfigError, match=r"model\.kk: no such key; did you mean model\.k\? \(.*config\.yaml:3\)"):
        read_config(tmp_path / "config.yaml")


def test_missing_saved_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_config(tmp_path / "config.yaml")


def test_evaluation_takes_the_runs_own_configuration(finished: Path) -> None:
    config = load_config([f"run={finished}", "evaluate.outfits=7", "trainer=cpu", "data.root=elsewhere"], "evaluate")
    assert (config.model.k, config.evaluate.outfits, config.trainer.accelerator) == (3, 7, "cpu")
    root = os.path.abspath("elsewhere")
    assert (config.data.root, config.run, config.run_dir) == (root, str(finished), str(finished))


def test_evaluation_refuses_to_change_the_run(finished: Path) -> None:
    errors = errors_of([f"run={finished}", "model.k=2", "scorer.width=32", "seed=9", "evaluate.outfits=5"], "evaluate")
    assert [line.split(":")[0] for line in errors] == ["seed", "scorer.width", "model.k"]
    assert all("cannot change; only evaluate.*" in line for line in errors)


def test_naming_a_value_that_the_run_has_already_is_no_change(finished: Path) -> None:
    assert load_config([f"run={finished}", "model.k=3", "experiment=synthetic"], "evaluate").model.k == 3


def test_evaluation_needs_a_run(tmp_path: Path) -> None:
    assert errors_of([], "evaluate")[0].startswith("run: is not set")
    assert "does not exist; name the folder of a run" in errors_of([f"run={tmp_path}"], "evaluate")[0]
    assert errors_of(["run=", "seed=1"], "evaluate")[0].startswith("run: is not set")
    assert "belongs to train.py; did you" not in errors_of([f"resume={tmp_path}"], "evaluate")[0]


def test_training_refuses_run_and_names_resume() -> None:
    assert errors_of(["run=runs/x"]) == ["run: belongs to evaluate.py; did you mean resume?"]


def test_resume_continues_in_the_runs_folder_with_its_configuration(finished: Path) -> None:
    config = load_config([f"resume={finished}", "trainer.devices=2", "cache_dir=other", "wandb.mode=off"])
    assert (config.run_dir, config.resume, config.model.k) == (str(finished), str(finished), 3)
    assert (config.trainer.devices, config.cache_dir, config.wandb.mode) == (2, os.path.abspath("other"), "off")


def test_resume_refuses_another_configuration_or_folder(finished: Path) -> None:
    errors = errors_of([f"resume={finished}", "scorer.epochs=99", "run_dir=elsewhere", "evaluate.outfits=1"])
    assert [line.split(":")[0] for line in errors] == ["run_dir", "scorer.epochs", "evaluate.outfits"]
    assert "leave run_dir out" in errors[0]


def test_a_moved_run_is_found_where_it_is_now(finished: Path, tmp_path: Path) -> None:
    moved = finished.rename(tmp_path / "moved")
    assert load_config([f"run={moved}"], "evaluate").run_dir == str(moved)
    assert load_config([f"resume={moved}"]).run_dir == str(moved)


def test_resume_with_fast_dev_run_is_a_conflict(finished: Path) -> None:
    assert errors_of([f"resume={finished}", "trainer.fast_dev_run=true"]) == [
        "trainer.fast_dev_run: keeps nothing, so it cannot continue resume"
    ]


def test_the_run_of_a_learned_encoder_may_be_written_below_the_choice_of_the_encoder() -> None:
    written = load_config(["encoder.image=learned", "encoder.image.run=runs/images"])
    assert written.encoder.learned.run == os.path.abspath("runs/images")
    assert written == load_config(["encoder.image=learned", "encoder.learned.run=runs/images"])


def test_a_representation_is_trained_in_a_run_of_its_own() -> None:
    assert load_config(["experiment=representation", "model=beta_vae"]).stages == ["representation"]
    assert "representation" not in load_config([]).stages


def test_a_home_folder_is_found_behind_a_prefix_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    config = load_config(
        ["encoder=clip", "encoder.open_clip.model=local-dir:~/clip", "encoder.open_clip.pretrained=null"]
    )
    assert config.encoder.open_clip.model == "local-dir:/somewhere/clip"
