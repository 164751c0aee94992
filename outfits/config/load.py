"""Builds the configuration of a program from defaults, YAML files and the command line, later ones winning.

A new run: schema defaults, then the groups that the recipe includes, then the recipe ``configs/experiment/NAME.yaml``,
then groups picked on the command line (``data=mango`` takes the place of an included data group), then ``key=value``.
An interrupted or finished run: its own ``config.yaml``, then those few keys that may still change.
"""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import OmegaConf

from outfits import run_files
from outfits.config.checks import conflicts
from outfits.config.complete import complete_conflicts
from outfits.config.help import print_help
from outfits.config.keys import CHANGEABLE, may_change, sections
from outfits.config.merge import Merge, did_you_mean
from outfits.config.recipes import CONFIGS, file_of, is_file_name, names_of
from outfits.config.schema import Config
from outfits.config.schema.complete import CompleteConfig
from outfits.config.sources import Setting, read_arguments, read_file
from outfits.storage import write_text

DEFAULT_EXPERIMENT = "synthetic"


def load_config(argv: Sequence[str], program: str = "train", configs: Path = CONFIGS) -> Config:
    """The configuration that a command line asks for, resolved and checked.

    Args:
        argv: arguments without the program's name, each ``key=value``, ``section=GROUP`` or ``--help``.
        program: ``train``, where ``resume=RUN_DIR`` takes up an interrupted run, or ``evaluate``, which needs
            ``run=RUN_DIR``. Either loads the run's own configuration and sets ``run_dir`` to the folder.
        configs: folder of recipes and groups.

    Returns:
        The configuration; ``run_dir`` stays None where nothing sets it.

    Raises:
        ConfigError: with all errors, one line each.
        SystemExit: with status 0, after the help was asked for and printed.
    """
    if {"-h", "--help"} & set(argv):
        print_help(program)
        raise SystemExit(0)
    merge = Merge(Config, conflicts)
    settings, malformed = read_arguments(argv)
    merge.errors.extend(malformed)
    wrong, needed = ("run", "resume") if program == "train" else ("resume", "run")
    for setting in settings:
        if setting.key == wrong:
            owner = "evaluate.py" if wrong == "run" else "train.py"
            merge.mistake(wrong, f"belongs to {owner}" + (f"; did you mean {needed}?" if program == "train" else ""))
    settings = [setting for setting in settings if setting.key != wrong]
    folders = [setting.written for setting in settings if setting.key == needed and setting.value is not None]
    if folders:
        folder = str(folders[-1])
        return _existing_run(merge, settings, program, needed, folder, configs)
    if program == "evaluate":
        merge.mistake("run", "is not set; name the folder of a finished run, as in run=runs/synthetic-20260101-120000")
        return merge.finish()
    return _new_run(merge, settings, configs)


def load_complete(argv: Sequence[str]) -> CompleteConfig:
    """What a command line of ``complete.py`` asks for, checked.

    Args:
        argv: arguments without the program's name, each ``key=value`` or ``--help``.

    Raises:
        ConfigError: with all errors, one line each.
        SystemExit: with status 0, after the help was asked for and printed.
    """
    if {"-h", "--help"} & set(argv):
        print_help("complete")
        raise SystemExit(0)
    merge = Merge(CompleteConfig, complete_conflicts)
    settings, malformed = read_arguments(argv, CompleteConfig)
    merge.errors.extend(malformed)
    merge.apply(settings)
    return merge.finish()


def _new_run(merge: Merge[Config], settings: list[Setting], configs: Path) -> Config:
    groups = [setting for setting in settings if setting.key in sections() and "." not in setting.key]
    plain = [setting for setting in settings if setting not in groups and setting.key != "experiment"]
    named = [setting.written for setting in settings if setting.key == "experiment"]
    experiment = named[-1] if named and isinstance(named[-1], str) else DEFAULT_EXPERIMENT
    recipe = _read(merge, "experiment", experiment, configs, "experiment")
    picked = {setting.key for setting in groups}
    for section, name, place in _included(merge, recipe):
        if section not in picked:
            merge.apply(_read(merge, section, name, configs, "include", place))
    merge.apply([Setting("experiment", Path(experiment).stem, Path(experiment).stem, "")])
    for setting in recipe:
        if setting.key in ("run", "resume") and setting.value is not None:
            merge.mistake(setting.key, "belongs on the command line, not in a recipe", setting.place)
        elif setting.key != "include":
            merge.apply([setting])
    _apply_groups(merge, groups, configs)
    for setting in plain:
        if setting.key == "include":
            merge.mistake("include", "belongs in a recipe; on the command line pick a group, as in data=mango")
        else:
            merge.apply([setting])
    return merge.finish()


def _existing_run(
    merge: Merge[Config], settings: list[Setting], program: str, needed: str, folder: str, configs: Path
) -> Config:
    path = Path(folder) / run_files.CONFIG
    if not path.is_file():
        merge.mistake(needed, f"{path} does not exist; name the folder of a run")
        return merge.finish()
    merge.apply(merge.attempt(lambda: read_file(path, str(path))))
    merge.apply([Setting(key, None, None, "") for key in ("run", "resume")])
    saved = merge.snapshot()
    groups = [setting for setting in settings if setting.key in sections() and "." not in setting.key]
    _apply_groups(merge, groups, configs)
    merge.apply(setting for setting in settings if setting not in groups and setting.key != needed)
    what = "a finished run's data and models" if program == "evaluate" else "the configuration of a run to resume"
    allowed = ", ".join(entry + "*" if entry.endswith(".") else entry for entry in CHANGEABLE[program])
    for name, value in merge.snapshot().items():
        if value == saved[name] or may_change(name, program) or (name == "run_dir" and value == folder):
            continue
        if name == "run_dir" and program == "train":
            merge.mistake(name, f"{needed}={folder} continues in that folder; leave run_dir out")
        else:
            merge.mistake(name, f"is {saved[name]!r} in {path}; {what} cannot change; only {allowed} may")
    merge.apply([Setting(needed, folder, folder, ""), Setting("run_dir", folder, folder, "")])
    return merge.finish()


def _included(merge: Merge[Config], recipe: list[Setting]) -> list[tuple[str, str, str]]:
    """Section, group name and place of every group that a recipe includes."""
    found = []
    for setting in recipe:
        if setting.key != "include":
            continue
        entries = setting.value if isinstance(setting.value, list) else [setting.value]
        for entry in entries:
            section, slash, name = str(entry).partition("/")
            if slash and name and section in sections():
                found.append((section, name, setting.place))
            else:
                merge.mistake("include", f"{entry!r} is not SECTION/GROUP as in data/mango", setting.place)
    return found


def _apply_groups(merge: Merge[Config], groups: list[Setting], configs: Path) -> None:
    """Applies the groups of ``data=mango`` or ``trainer=[ddp4,bf16]`` in turn."""
    for setting in groups:
        names = setting.written if isinstance(setting.written, list) else [setting.written]
        for name in names:
            if isinstance(name, str) and name:
                merge.apply(_read(merge, setting.key, name, configs, setting.key))
            else:
                merge.mistake(setting.key, f"is a section: pick a group as in {setting.key}=NAME, or set a key of it")


def _read(merge: Merge[Config], kind: str, name: str, configs: Path, key: str, place: str = "") -> list[Setting]:
    """Settings of a recipe or group; a missing or malformed file is recorded as a mistake of ``key``."""
    path = file_of(kind, name, configs)
    word = "recipe" if kind == "experiment" else f"{kind} group"
    if not path.is_file():
        merge.incomplete = True
        if is_file_name(name):
            merge.mistake(key, f"{path} does not exist", place)
            return []
        names = names_of(kind, configs)
        near = did_you_mean(difflib.get_close_matches(name, names, n=1))
        there = f"available: {', '.join(names)}" if names else f"the folder {configs / kind} holds none"
        merge.mistake(key, f"no {word} {name!r}{near or ';'} {there}", place)
        return []
    shown = str(path) if is_file_name(name) else f"{configs.name}/{kind}/{path.name}"
    prefix = "" if kind == "experiment" else f"{kind}."
    return merge.attempt(lambda: read_file(path, shown, prefix))


def save_config(config: Config, path: Path) -> None:
    """Writes all keys as YAML, at once or not at all; ``train.py experiment=PATH`` repeats the run.

    ``run`` and ``resume`` say how a program was called, not what it computes, and are saved as null.
    """
    text = OmegaConf.to_yaml(OmegaConf.structured(replace(config, run=None, resume=None)))
    comment = "# Resolved configuration of a run; python train.py experiment=THIS_FILE repeats it."
    write_text(path, f"{comment}\n{text}")


def read_config(path: Path) -> Config:
    """The configuration that :func:`save_config` wrote, checked like any other.

    Raises:
        ConfigError: if the file is missing, malformed or has keys or values that this version does not know.
    """
    merge = Merge(Config, conflicts)
    merge.apply(merge.attempt(lambda: read_file(path, str(path))))
    return merge.finish()
