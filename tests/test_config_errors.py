"""Every error of a configuration is reported, all together, each in one line with its full key."""

import shlex
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outfits.config.checks import conflicts
from outfits.config.command import run_command
from outfits.config.keys import RENAMED, keys, sections
from outfits.config.load import load_complete, load_config, read_config
from outfits.config.schema import Config
from outfits.errors import ConfigError, DataError


def errors_of(*argv: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(argv)
    assert all("\n" not in line for line in caught.value.errors)
    return caught.value.errors


def error_of(*argv: str) -> str:
    (error,) = errors_of(*argv)
    return error


def is_valid(config: Config) -> bool:
    values = [(key, reduce(getattr, name.split("."), config)) for name, key in keys().items()]
    same = all(key.validate(key.validate(value)) == key.validate(value) for key, value in values)
    return same and not list(conflicts(config))


def test_defaults_are_valid() -> None:
    assert is_valid(Config())


def test_all_errors_are_reported_together(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("seed: -1\nscorer:\n  widht: 64\n  dropout: high\n")
    lines = errors_of(
        f"experiment={recipe}",
        "trainer.devices=0",
        "stray",
        "model.aggregation=summ",
        "loss.cosine_weight=0",
        "loss.listwise_weight=0",
        "data=mangoo",
        "targets.candidates=many",
    )
    keyed = {line.split(":")[0] for line in lines}
    assert keyed == {
        "seed",
        "scorer.widht",
        "scorer.dropout",
        "trainer.devices",
        "stray",
        "model.aggregation",
        "data",
        "targets.candidates",
    }


def test_conflicts_are_reported_beside_wrong_values() -> None:
    lines = errors_of("loss.cosine_weight=0", "loss.listwise_weight=0", "scorer.lr=fast")
    assert [line.split(":")[0] for line in lines] == ["scorer.lr", "loss.cosine_weight, loss.listwise_weight"]


def test_wrong_value_starts_no_conflict_of_its_own() -> None:
    line = error_of("encoder.image=open_clip", "encoder.open_clip.pretrained=[laion2b]")
    assert line.startswith("encoder.open_clip.pretrained: expected a text")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("scorer.widht=64", "scorer.width"),
        ("k=3", "model.k or evaluate.sweep.k"),
        ("max_epoch=3", "trainer.max_epochs"),
        ("trainer.device=2", "trainer.devices"),
        ("scorrer.negatives.hard_star=0.1", "scorer.negatives.hard_start"),
        ("batch_size=3", "scorer.batch_size"),
        ("trainer.devices.a=3", "trainer.devices"),
    ],
)
def test_near_key_is_suggested(written: str, meant: str) -> None:
    assert error_of(written) == f"{written.partition('=')[0]}: no such key; did you mean {meant}?"


def test_no_key_is_suggested_where_none_is_near() -> None:
    assert error_of("zzzzqqq=3") == "zzzzqqq: no such key"


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("trainer.accelerator=off", "unquoted, YAML reads off as false"),
        ("model.k=true", "expected a whole number, not True"),
        ("model.k=2.5", "expected a whole number, not 2.5"),
        ("model.k=two", "expected a whole number, not 'two'"),
        ("model.k=null", "null is not allowed"),
        ("model.k=", "null is not allowed"),
        ("trainer.devices=null", "null is not allowed"),
        ("model.k=???", "has no value"),
        ("scorer.lr=true", "expected a number, not True"),
        ("trainer.deterministic=1", "expected true or false, not 1"),
        ("trainer.deterministic=maybe", "expected true or false, not 'maybe'"),
        ("wandb.name=[a]", "expected a text or null, not ['a']"),
        ("stages=generator", "expected a list of texts, as in stages=[generator]"),
        ("data.split.shares=[a,b,c]", "expected a list of numbers"),
        ("data.split.seed=${nope}", "Interpolation key 'nope' not found"),
        ("model.k=${scorer.lr}", "expected a whole number, not 0.002"),
    ],
)
def test_wrong_type_is_reported(argument: str, says: str) -> None:
    line = error_of(argument)
    assert line.startswith(argument.partition("=")[0] + ": ")
    assert says in line


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("model.k=0", "0 is out of range: must be >= 1"),
        ("model.k=9", "9 is out of range: must be <= 8"),
        ("scorer.lr=0", "must be > 0"),
        ("scorer.dropout=1", "must be < 1"),
        ("scorer.lr=.nan", "nan is not a finite number"),
        ("loss.cosine_weight=.inf", "inf is not a finite number"),
        (
            "encoder.image=clasical",
            "is not one of classical, learned, open_clip, multitask, timm, joined, none",
        ),
        ("evaluate.methods=[original,greedy]", "element 1: 'greedy' is not one of"),
        ("data.split.shares=[1.5,-0.5,0]", "element 1: -0.5 is out of range"),
        ("trainer.accelerator=gpuu", "is not one of auto, cpu, gpu"),
        *((f"trainer.devices={value}", "neither a number") for value in ("0", "true", "many", "-1", "2.0")),
        *((f"trainer.devices={value}", "not a list of") for value in ("[]", "[0,0]", "[a]", "[-1]")),
        *(
            (f"trainer.limit_val_batches={value}", "neither a share")
            for value in ("0", "0.0", "1.5", "-1", "true", "x")
        ),
    ],
)
def test_value_out_of_range_is_reported(argument: str, says: str) -> None:
    line = error_of(argument)
    assert line.startswith(argument.partition("=")[0] + ": ")
    assert says in line


@pytest.mark.parametrize("value", ["1", "4", "[0]", "[1,3]", "auto", "'2'"])
def test_devices_take_a_number_a_list_or_auto(value: str) -> None:
    assert load_config([f"trainer.devices={value}"])


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        ("data.split.mode=random data.split.shares=[0.5,0.5]", "data.split.shares: [0.5, 0.5] must be three"),
        ("data.split.mode=random data.split.shares=[0.5,0.1,0.1]", "data.split.shares: [0.5, 0.1, 0.1] sum to 0.7"),
        ("data.split.mode=random data.split.shares=[0,0.5,0.5]", "data.split.shares: the training share is 0"),
        ("data.split.mode=random data.split.shares=[0.9,0,0.1]", "data.split.shares: the validation share is 0"),
        ("data.split.mode=random data.split.shares=[0.9,0.1,0]", "data.split.shares: the test share is 0"),
        ("data=tables data.split.mode=official", "data.split.mode: official needs the split column"),
        ("data=tables data.tables.split=part", "data.tables.split: not read with data.split.mode=grouped"),
        ("data=tables data.tables.text={a", "data.tables.text: '{a' is no template"),
        ("data=tables data.tables.text='{} {a}'", "data.tables.text: '{} {a}' has empty braces"),
        ("data=tables data.tables.image=null", "encoder.image: classical needs images"),
        ("scorer.width=64 scorer.heads=7", "scorer.width: 64 is not divisible by scorer.heads=7"),
        ("judge.width=50 judge.heads=4", "judge.width: 50 is not divisible by judge.heads=4"),
        ("scorer.negatives.hard_full=0.1", "scorer.negatives.hard_full: 0.1 is before hard_start=0.3"),
        ("loss.cosine_weight=0 loss.listwise_weight=0", "loss.cosine_weight, loss.listwise_weight: both are 0"),
        ("targets.candidates=1", "targets.candidates: the listwise loss needs"),
        ("encoder.image=none encoder.text=none", "encoder.image, encoder.text: both are none"),
        ("encoder.image=open_clip", "encoder.open_clip.pretrained: is null"),
        ("encoder=fashion_siglip encoder.open_clip.pretrained=openai", "encoder.open_clip.pretrained: hf-hub:"),
        ("encoder.image=learned", "encoder.learned.run: is null; name the folder"),
        ("experiment=parts parts.shares=[0.5,0.5]", "parts.shares: [0.5, 0.5] must be three positive numbers"),
        ("experiment=parts parts.grids=[1,3,2]", "parts.grids: [1, 3, 2] must be ascending"),
        ("experiment=parts parts.network=learned", "encoder.learned.run: is null; name the folder"),
        (
            "experiment=parts data=tables data.tables.image=null encoder.image=none",
            "data.tables.image: is null, but parts are those of images",
        ),
        (
            "experiment=representation model.representation.corruption.masked=0.2 "
            "model.representation.corruption.patch=7",
            "model.representation.corruption.patch: 7 does not divide",
        ),
        (
            "experiment=representation model=deforming model.representation.latent_dim=16",
            "model.representation.latent_dim: shape_dim and class_dim leave no",
        ),
        (
            "experiment=representation model.representation.perceptual.weight=1",
            "model.representation.perceptual.network: is null",
        ),
        (
            "experiment=representation model.representation.perceptual.weight=1 "
            "model.representation.perceptual.network=timm:resnet18",
            "model.representation.perceptual.weights: is null",
        ),
        (
            "experiment=representation model.representation.pixel_weight=0",
            "model.representation.pixel_weight: and perceptual.weight are both 0",
        ),
        (
            "experiment=imaging model.imaging.super_resolution.losses=[]",
            "model.imaging.super_resolution.losses: the list is empty; give pixel",
        ),
        (
            "experiment=imaging model.imaging.super_resolution.crop=62",
            "model.imaging.super_resolution.crop: 62 is not divisible by super_resolution.factor=4",
        ),
        (
            "experiment=imaging model=texture model.imaging.texture.window=12",
            "model.imaging.texture.window: 12 is even",
        ),
        (
            "experiment=imaging model=texture model.imaging.texture.size=40",
            "model.imaging.texture.size: 40 is less than texture.sample_size=48",
        ),
        (
            "experiment=imaging model=style_transfer model.imaging.style_transfer.styles=[]",
            "model.imaging.style_transfer.styles: the list is empty",
        ),
        (
            "experiment=imaging model.imaging.perceptual.weights=null",
            "model.imaging.perceptual.weights: is null, which would leave timm:tf_efficientnet_lite0",
        ),
        ("experiment=representation model=contrastive encoder.text=none", "encoder.text: is none, but a contrastive"),
        (
            "experiment=representation model=contrastive model.representation.perceptual.weight=1 "
            "model.representation.perceptual.network=learned:runs/x",
            "model.representation.perceptual.weight: a contrastive model reconstructs nothing",
        ),
        (
            "experiment=representation data=tables data.tables.image=null encoder.image=none",
            "data.tables.image: is null",
        ),
        ("stages=[generator,targets]", "stages: stages run in the order"),
        ("stages=[test,test]", "stages: test is named more than once"),
        ("stages=[]", "stages: the list is empty"),
        ("evaluate.methods=[random,random]", "evaluate.methods: random is named more than once"),
        ("seed=4294967000", "seed: 4294967000 is too large"),
        ("trainer=cpu trainer.devices=[0,1]", "trainer.devices: a CPU has no device ids"),
        ("trainer=cpu trainer.precision=16-mixed", "trainer.precision: 16-mixed needs a GPU"),
        ("trainer.check_val_every_n_epoch=99", "trainer.check_val_every_n_epoch: no validation"),
    ],
)
def test_conflict_is_reported(arguments: str, begins: str) -> None:
    assert error_of(*shlex.split(arguments)).startswith(begins)


@pytest.mark.parametrize(
    "arguments",
    [
        "judge.share=0 judge.width=50 judge.heads=4",
        "loss.listwise_weight=0 targets.candidates=1",
        "encoder.image=none",
        "data=tables data.tables.image=null encoder.image=none",
        "data=tables data.split.mode=official data.tables.split=part",
        "data.split.mode=official data.split.shares=[1,0,0]",
        "data.split.mode=random data.split.shares=[0.9,0.1,0] stages=[embeddings,compatibility]",
        "data=maryland data.split.mode=disjoint",
        "stages=[targets,test]",
        "encoder=fashion_siglip",
        "model=deforming model.representation.latent_dim=16",
        "experiment=representation model.representation.perceptual.weight=1 "
        "model.representation.perceptual.network=learned:runs/x",
    ],
)
def test_what_only_looks_like_a_conflict_passes(arguments: str) -> None:
    assert load_config(shlex.split(arguments))


def test_errors_in_a_file_name_file_and_line(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("# mine\nseed: soon\nmodel:\n  # two\n  k: 20\n  wdth: 3\ntrainer:\n  accelerator: off\n")
    assert errors_of(f"experiment={recipe}") == [
        f"seed: expected a whole number, not 'soon' ({recipe}:2)",
        f"model.k: 20 is out of range: must be <= 8 ({recipe}:5)",
        f"model.wdth: no such key; did you mean model.width? ({recipe}:6)",
        f"trainer.accelerator: unquoted, YAML reads off as false, but this key takes a text ({recipe}:8)",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed: 1\nmodel: [1\n", ":3: not valid YAML"),
        ("seed: 1\nseed: 2\n", ":2: not valid YAML: found duplicate key seed"),
        ("- 1\n- 2\n", "not a list"),
        ("seed: !!python/object:os.system 1\n", ":1: not valid YAML: could not determine a constructor"),
    ],
)
def test_malformed_yaml_is_one_line_with_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    line = error_of(f"experiment={tmp_path}/bad.yaml")
    assert line.startswith(f"{tmp_path}/bad.yaml")
    assert says in line


def test_file_that_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"wandb: {name: caf\xe9}\n")
    assert "bad.yaml: cannot be read" in error_of(f"experiment={tmp_path}/bad.yaml")


def test_errors_of_arguments_stand_beside_a_malformed_file(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [\n")
    assert len(errors_of(f"experiment={tmp_path}/bad.yaml", "model.k=0")) == 2


def test_empty_file_and_empty_section_set_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "section.yaml").write_text("scorer:\n  # width: 64\n")
    assert load_config([f"experiment={tmp_path}/empty.yaml"]).scorer == Config().scorer
    assert load_config([f"experiment={tmp_path}/section.yaml"]).scorer == Config().scorer


def test_missing_recipe_names_near_and_available_ones(tmp_path: Path) -> None:
    line = error_of("experiment=mangoes")
    assert line.startswith(
        "experiment: no recipe 'mangoes'; did you mean mango? available: compatibility, disentanglement, imagine, "
    )
    assert error_of(f"experiment={tmp_path}/no.yaml") == f"experiment: {tmp_path}/no.yaml does not exist"


def test_missing_group_names_near_and_available_ones(tmp_path: Path) -> None:
    assert error_of("encoder=minlm").startswith("encoder: no encoder group 'minlm'; did you mean minilm? available: ")
    assert "the folder" in error_of("wandb=team")
    (tmp_path / "mine.yaml").write_text("include: [encoder/minlm, model]\n")
    lines = errors_of(f"experiment={tmp_path}/mine.yaml")
    assert [line.split(":")[0] for line in lines] == ["include", "include"]
    assert all(f"({tmp_path}/mine.yaml:1)" in line for line in lines)


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("seed", "seed: not of the form key=value"),
        ("--seed=3", "--seed: keys have no dashes; write seed=3"),
        ("--verbose", "--verbose: not of the form key=value (or --help)"),
        ("=3", "=3: there is no key before ="),
        ("data.split=random", "data.split: is a section, not a key"),
        (
            "data=3.5",
            "data: no data group '3.5'; available: iqon3000, mango, maryland, pog, polyvore_outfits, polyvore_u, "
            "shift15m, synthetic, tables",
        ),
        ("data=", "data: is a section: pick a group as in data=NAME, or set a key of it"),
        ("include=[data/mango]", "include: belongs in a recipe; on the command line pick a group, as in data=mango"),
    ],
)
def test_malformed_argument_is_one_line(argument: str, line: str) -> None:
    assert error_of(argument) == line


def test_recipe_cannot_ask_to_resume(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("resume: runs/x\n")
    assert "belongs on the command line" in error_of(f"experiment={tmp_path}/mine.yaml")


def test_errors_end_in_status_2_without_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv: Sequence[str]) -> None:
        load_config(argv)

    assert run_command(main, ["model.k=0", "sed=1"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "config error: model.k: 0 is out of range: must be >= 1",
        "config error: sed: no such key; did you mean seed?",
    ]


def test_other_outcomes_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: BaseException) -> int:
        def main(argv: Sequence[str]) -> None:
            raise error

        return run_command(main, [])

    assert run_command(lambda argv: None, []) == 0
    assert fail(DataError("outfit 3: gone")) == 2
    assert capsys.readouterr().err == "data error: outfit 3: gone\n"
    assert fail(KeyboardInterrupt()) == 130
    with pytest.raises(ZeroDivisionError):  # a bug keeps its traceback
        fail(ZeroDivisionError())


@given(
    st.lists(st.tuples(st.sampled_from(["", "data", "stages", "experiment", "resume", *keys()]), st.text(max_size=8)))
)
@settings(max_examples=25, deadline=None)
def test_any_command_line_ends_in_a_configuration_or_errors(
    pairs: list[tuple[str, str]],
) -> None:
    try:
        config = load_config([f"{name}={value}" for name, value in pairs])
    except ConfigError:
        return
    assert is_valid(config)


OLD_RUN = """
targets: {wishes: [texts]}
model: {representation: {code_dim: 32, varied: {flip: false}}}
"""


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    """A folder with the configuration of a run that an older version made."""
    (tmp_path / "config.yaml").write_text(OLD_RUN)
    return tmp_path


@pytest.mark.parametrize("old", [name for name in RENAMED if name != "own"])
def test_an_old_key_is_answered_with_its_new_name(old: str) -> None:
    assert error_of(f"{old}=1") == f"{old}: is now {RENAMED[old]}"
    assert RENAMED[old] in {*keys(), *sections()}
    assert old not in {*keys(), *sections()}


def test_an_old_key_of_the_completion_command_is_answered() -> None:
    with pytest.raises(ConfigError, match=r"own: is now garments$"):
        load_complete(["run=x", "items=[a]", "own=[{text: red}]"])
    assert error_of("own=3") == "own: no such key"


def test_an_old_key_of_a_recipe_names_file_and_line(old_run: Path) -> None:
    path = old_run / "config.yaml"
    assert errors_of(f"experiment={path}") == [
        f"targets.wishes: is now targets.conditions ({path}:2)",
        f"model.representation.code_dim: is now model.representation.latent_dim ({path}:3)",
        f"model.representation.varied.flip: is now model.representation.augmented.flip ({path}:3)",
    ]


@pytest.mark.parametrize(
    "load",
    [
        lambda folder: load_config([f"run={folder}"], "evaluate"),
        lambda folder: load_config([f"resume={folder}"]),
        lambda folder: read_config(folder / "config.yaml"),
    ],
    ids=["evaluate", "resume", "stylist"],
)
def test_an_old_run_is_refused_in_one_line(old_run: Path, load: Callable[[Path], Config]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(old_run)
    (line,) = caught.value.errors
    assert line.startswith(
        f"{old_run}/config.yaml: saved by an older version; train the run again, or rename its keys:"
    )
    assert "targets.wishes is now targets.conditions, model.representation.code_dim is now" in line


def test_every_key_has_a_meaning() -> None:
    assert [name for name, key in keys().items() if not key.help.strip()] == []
