"""Merges settings into a schema and checks the result, so that one error does not hide the next."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import reduce
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from outfits.config.checks import Conflict
from outfits.config.keys import key_error, keys
from outfits.config.sources import Setting, in_quotes
from outfits.errors import ConfigError

C = TypeVar("C")


def merge(schema: type, settings: Iterable[Setting]) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns every key's value, interpolations resolved, and the errors by key; a key with an error has its default.

    Later settings win; settings with errors set nothing.
    """
    tree = OmegaConf.create(asdict(schema()))
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for setting in settings:
        if setting.error or setting.key not in keys(schema):
            continue
        wrong.pop(setting.key, None)
        try:
            OmegaConf.update(tree, setting.key, setting.value, merge=False)
        except OmegaConfBaseException as error:
            wrong[setting.key] = str(error).splitlines()[0]
    for name, key in keys(schema).items():
        try:
            value = OmegaConf.select(tree, name)
            plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            values[name] = key.validate(plain)
        except (OmegaConfBaseException, ValueError) as error:
            wrong[name] = str(error).splitlines()[0]
            if isinstance(error, InterpolationResolutionError) and key.element is str and key.choices is None:
                wrong[name] += f"; {in_quotes(key, ['${…}'])}"
            values[name] = key.default
    return values, wrong


def build(schema: type[C], settings: Sequence[Setting], conflicts: Callable[[C], Iterable[Conflict]]) -> C:
    """Builds the configuration from a schema's defaults and settings, resolved and checked; later settings win.

    Args:
        schema: dataclass of the configuration.
        settings: in the order in which their errors are reported.
        conflicts: finds conflicts between keys.

    Raises:
        ConfigError: with all errors.
    """
    values, wrong = merge(schema, settings)
    if "plugins" in wrong:  # then names that they would register are no errors of their own
        wrong = {"plugins": wrong["plugins"]}
    last = {setting.key: setting for setting in settings if not setting.error}
    lines, broken = [], set(wrong)
    for setting in settings:
        error = setting.error or (key_error(setting.key, schema, setting.place) if setting.key not in values else "")
        if setting is last.get(setting.key):
            error = error or wrong.get(setting.key, "")
        if error:
            broken.add(setting.key)
            lines.append(f"{setting.key}: {error}" + (f" ({setting.place})" if setting.place else ""))
    config = schema()
    for name, value in values.items():
        *path, attribute = name.split(".")
        setattr(reduce(getattr, path, config), attribute, value)
    # Conflicts with unread files, or with a value that is wrong by itself, would mislead.
    if "plugins" not in wrong and not any(setting.unread for setting in settings):
        found = conflicts(config)
        lines += [f"{key}: {text}" for key, text, *others in found if broken.isdisjoint([*key.split(", "), *others])]
    if lines:
        raise ConfigError(list(dict.fromkeys(lines)))
    return config
