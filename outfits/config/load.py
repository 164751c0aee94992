"""Builds the configuration of a program from defaults, YAML files and the command line, later ones winning.

A new run: schema defaults, then the groups that the recipe includes, then the recipe ``configs/experiment/NAME.yaml``,
then groups picked on the command line (``data=mango`` takes the place of an included data group), then ``key=value``.
An interrupted or finished run: its own ``config.yaml``, then those few keys that may still change.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import OmegaConf

from outfits import run_files
from outfits.config.checks import Conflict, conflicts
from outfits.config.complete import complete_conflicts
from outfits.config.help import print_help
from outfits.config.keys import CHANGEABLE, RENAMED, may_change, sections
from outfits.config.merge import build, merge
from outfits.config.recipes import CONFIGS, file_of, is_file_name, names_of
from outfits.config.schema import Config
from outfits.config.schema.complete import CompleteConfig
from outfits.config.schema.export import ExportCommand
from outfits.config.schema.serve import FIRST_PORT, HOSTS, ServeCommand
from outfits.config.sources import Setting, read_argument, read_file
from outfits.errors import ConfigError
from outfits.naming import did_you_mean
from outfits.storage import write_text


def load_config(argv: Sequence[str], program: str = "train", configs: Path = CONFIGS) -> Config:
    """Returns the configuration that a command line asks for, resolved and checked.

    Args:
        argv: arguments without the program's name, each ``key=value``, ``section=GROUP`` or ``--help``.
        program: ``train``, where ``resume=RUN_DIR`` continues an interrupted run, or ``evaluate``, which needs
            ``run=RUN_DIR``. Either loads the run's own configuration and sets ``run_dir`` to the folder.
        configs: folder of recipes and groups.

    Raises:
        ConfigError: with all errors, one line each.
        SystemExit: with status 0, after ``--help``.
    """
    read = _read_command(argv, program, Config)
    taken_up, other = ("resume", "run") if program == "train" else ("run", "resume")
    text = "belongs to evaluate.py; did you mean resume?" if program == "train" else "belongs to train.py"
    read = [replace(setting, error=text) if setting.key == other else setting for setting in read]
    malformed = [setting for setting in read if setting.error]
    settings = [setting for setting in read if not setting.error]
    folders = [setting.value for setting in settings if setting.key == taken_up and setting.value is not None]
    if folders:
        found = _existing_run(settings, program, taken_up, str(folders[-1]), configs)
    elif program == "evaluate":
        text = "is not set; name the folder of a finished run, as in run=runs/synthetic-20260101-120000"
        found = [Setting("run", error=text)]
    else:
        found = list(_new_run(settings, configs))
    return build(Config, [*malformed, *found], conflicts)


def load_complete(argv: Sequence[str]) -> CompleteConfig:
    """Reads and checks the command line of ``complete.py``; imports plug-ins; raises like :func:`load_config`."""
    settings = _read_command(argv, "complete", CompleteConfig)
    files = [Path(str(setting.value)) / run_files.CONFIG for setting in settings if setting.key == "run"]
    saved = read_file(files[-1], str(files[-1])) if files and files[-1].is_file() else []
    plugins = [setting for setting in saved if setting.key == "plugins"]
    return build(CompleteConfig, [*plugins, *settings], complete_conflicts)


def load_serve(argv: Sequence[str]) -> ServeCommand:
    """Reads and checks the command line of ``serve.py``; raises like :func:`load_config`."""
    return build(ServeCommand, _read_command(argv, "serve", ServeCommand), serve_conflicts)


def load_export(argv: Sequence[str]) -> ExportCommand:
    """Reads and checks the command line of ``outfits-export``; raises like :func:`load_config`."""
    return build(ExportCommand, _read_command(argv, "export", ExportCommand), export_conflicts)


def export_conflicts(config: ExportCommand) -> Iterator[Conflict]:
    """Yields what is missing on the command line of ``outfits-export``."""
    if config.run is None:
        yield "run", "is not set; name the folder of a finished run, as in run=runs/synthetic-20260101-120000"
    if config.folder is None:
        yield "folder", "is not set; name the folder to write, as in folder=exported"


def serve_conflicts(config: ServeCommand) -> Iterator[Conflict]:
    """Yields what is missing on the command line of ``serve.py``."""
    if config.run is None:
        yield "run", "is not set; name the folder of a finished run, as in run=runs/synthetic-20260101-120000"
    if config.serve.api and config.serve.host not in HOSTS:
        yield "serve.host", f"the service is on one of {', '.join(HOSTS)}, not {config.serve.host}"
    if config.serve.api and config.serve.port < FIRST_PORT:
        yield "serve.port", f"the service has a port from {FIRST_PORT} on, not {config.serve.port}"
    if config.serve.api and config.serve.keep is not None:
        yield "serve.keep", "belongs to the page; the service keeps nothing of what it is sent but added items"


def _read_command(argv: Sequence[str], program: str, schema: type) -> list[Setting]:
    if {"-h", "--help"} & set(argv):
        print_help(program)
        raise SystemExit(0)
    return [setting for argument in argv for setting in read_argument(argument, schema)]


def _picks_group(setting: Setting) -> bool:
    return setting.key in sections() and "." not in setting.key


def _new_run(settings: Sequence[Setting], configs: Path) -> Iterator[Setting]:
    """Yields all settings of a new run; later ones win."""
    named = [str(setting.value or "") for setting in settings if setting.key == "experiment"]
    experiment = named[-1] if named else Config.experiment
    recipe = _read("experiment", experiment, configs, "experiment")
    picked = {setting.key for setting in settings}
    for setting in recipe:
        if setting.key == "include":
            for entry in setting.value if isinstance(setting.value, list) else [setting.value]:
                section, slash, name = str(entry).partition("/")
                if not (slash and name and section in sections()):
                    yield replace(setting, error=f"{entry!r} is not SECTION/GROUP as in data/mango")
                elif section not in picked:
                    yield from _read(section, name, configs, "include", setting.place)
    yield Setting("experiment", Path(experiment).stem)
    for setting in recipe:
        if setting.key in ("run", "resume") and setting.value is not None:
            yield replace(setting, error="belongs on the command line, not in a recipe")
        elif setting.key != "include":
            yield setting
    yield from _groups(settings, configs)
    yield from (setting for setting in settings if setting.key != "experiment" and not _picks_group(setting))


def _existing_run(
    settings: Sequence[Setting], program: str, taken_up: str, folder: str, configs: Path
) -> list[Setting]:
    """Returns an existing run's settings and the changes, with an error for every key that must not change."""
    path = Path(folder) / run_files.CONFIG
    if not path.is_file():
        return [Setting(taken_up, error=f"{path} does not exist; name the folder of a run")]
    saved = [*_read_run(path), Setting("run"), Setting("resume")]
    plain = [setting for setting in settings if setting.key != taken_up and not _picks_group(setting)]
    changes = [*_groups(settings, configs), *plain]
    before, after = merge(Config, saved)[0], merge(Config, [*saved, *changes])[0]
    what = "a finished run's data and models" if program == "evaluate" else "the configuration of a run to resume"
    allowed = ", ".join(entry + "*" if entry.endswith(".") else entry for entry in CHANGEABLE[program])
    refused: dict[str, Setting] = {}
    for name, value in after.items():
        if value == before[name] or may_change(name, program) or (name == "run_dir" and value == folder):
            continue
        text = f"is {before[name]!r} in {path}; {what} cannot change; only {allowed} may"
        if name == "run_dir" and program == "train":
            text = f"{taken_up}={folder} continues in that folder; leave run_dir out"
        refused[name] = Setting(name, error=text)
    kept = [setting for setting in changes if setting.key not in refused]
    return [*saved, *kept, *refused.values(), Setting(taken_up, folder), Setting("run_dir", folder)]


def _groups(settings: Iterable[Setting], configs: Path) -> Iterator[Setting]:
    """Yields the settings of groups such as ``data=mango`` or ``trainer=[ddp4,bf16]`` in turn."""
    for setting in filter(_picks_group, settings):
        for name in setting.value if isinstance(setting.value, list) else [setting.value]:
            if isinstance(name, str) and name:
                yield from _read(setting.key, name, configs, setting.key)
            else:
                text = f"is a section: pick a group as in {setting.key}=NAME, or set a key of it"
                yield Setting(setting.key, error=text)


def _read(kind: str, name: str, configs: Path, key: str, place: str = "") -> list[Setting]:
    """Returns the settings of a recipe or group; without such a file, one setting with an error under ``key``."""
    path = file_of(kind, name, configs)
    if path.is_file():
        shown = str(path) if is_file_name(name) else f"{configs.name}/{kind}/{path.name}"
        return read_file(path, shown, "" if kind == "experiment" else f"{kind}.")
    if is_file_name(name):
        text = f"{path} does not exist"
    else:
        names = names_of(kind, configs)
        there = f"available: {', '.join(names)}" if names else f"the folder {configs / kind} holds none"
        word = "recipe" if kind == "experiment" else f"{kind} group"
        text = f"no {word} {name!r}{did_you_mean(name, names) or ';'} {there}"
    return [Setting(key, place=place, error=text, unread=True)]


def _read_run(path: Path) -> list[Setting]:
    """Returns the settings of a run's ``config.yaml``; ConfigError if it has keys of an older version."""
    settings = read_file(path, str(path))
    old = [f"{setting.key} is now {RENAMED[setting.key]}" for setting in settings if setting.key in RENAMED]
    if old:
        text = f"{path}: saved by an older version; train the run again, or rename its keys: {', '.join(old)}"
        raise ConfigError([text])
    return settings


def save_config(config: Config, path: Path) -> None:
    """Writes all keys as YAML, atomically; ``train.py experiment=PATH`` repeats the run.

    Saves ``run`` and ``resume`` as null: they tell how a program was called, not what it computes.
    """
    text = OmegaConf.to_yaml(OmegaConf.structured(replace(config, run=None, resume=None)))
    comment = "# Resolved configuration of a run; python train.py experiment=THIS_FILE repeats it."
    write_text(path, f"{comment}\n{text}")


def read_config(path: Path) -> Config:
    """Reads and checks a configuration written by :func:`save_config`.

    Raises:
        ConfigError: if the file is missing, malformed or has keys or values that this version does not know.
    """
    return build(Config, _read_run(path), conflicts)
