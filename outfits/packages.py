"""Finds models that installed Python packages carry, so that nothing is downloaded at run time."""

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from outfits.errors import ConfigError

PACKAGE_PREFIX = "package:"
WEIGHTS = ("*.safetensors", "*.pth", "*.pt", "*.bin")


def packaged_file(package: str, patterns: tuple[str, ...], key: str, what: str) -> Path:
    """Returns the first file of an installed package that matches a pattern; its hyphens are read as underscores.

    Args:
        package: name of the package.
        patterns: file names with wildcards, the preferred ones first.
        key: the configuration key that names the package, for messages.
        what: the contents, for messages.

    Raises:
        ConfigError: if the package is not installed or holds no such file.
    """
    module, spec = package.replace("-", "_"), None
    if module.isidentifier():
        with suppress(ValueError):  # of a module without a place, such as __main__
            spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        install = f"pip install {package.replace('_', '-')}"
        raise ConfigError([f"{key}: package '{package}' is not installed; install it with `{install}`"])
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    found = [path for pattern in patterns for folder in folders for path in sorted(folder.rglob(pattern))]
    if not found:
        raise ConfigError([f"{key}: package '{package}' holds no {what} (no {' or '.join(patterns)})"])
    return found[0]


def weights_file(weights: str, key: str) -> Path:
    """Returns the path of a file of weights, or of that within an installed package for ``package:NAME``.

    Raises ConfigError, naming ``key``, if there is no such package or it holds no weights.
    """
    package = weights.removeprefix(PACKAGE_PREFIX)
    return Path(weights) if package == weights else packaged_file(package, WEIGHTS, key, "weights")
