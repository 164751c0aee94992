"""Finds recipes and group files.

``configs/experiment/NAME.yaml`` is a recipe, ``configs/SECTION/NAME.yaml`` a group: a ready set of one section's keys.
The first line of every file is a comment that describes it.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = PACKAGE / "configs"  # where setup.py puts the folder that lies beside the package in the repository
CONFIGS = INSTALLED if INSTALLED.is_dir() else PACKAGE.with_name("configs")


def is_file_name(name: str) -> bool:
    """Tells whether a recipe or group is given as a user's own file instead of a name."""
    return name.endswith((".yaml", ".yml"))


def file_of(kind: str, name: str, configs: Path = CONFIGS) -> Path:
    """Returns the file of a recipe (kind ``experiment``) or a group (kind: its section)."""
    return Path(name) if is_file_name(name) else configs / kind / f"{name}.yaml"


def names_of(kind: str, configs: Path = CONFIGS) -> list[str]:
    """Lists the recipes or a section's groups, sorted."""
    return sorted(path.stem for path in (configs / kind).glob("*.yaml"))


def purpose_of(path: Path) -> str:
    """Returns a file's description: its first line without the comment sign, empty if it has none."""
    with path.open(encoding="utf-8") as file:
        first = file.readline().strip()
    return first.lstrip("# ") if first.startswith("#") else ""
