"""Merges settings into a schema key by key, so that one mistake does not hide the next."""

import difflib
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, Generic, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from outfits.config.checks import Conflict, value_mistake
from outfits.config.keys import ALIASES, Key, keys, sections
from outfits.config.schema import Config
from outfits.config.sources import Setting
from outfits.errors import ConfigError

C = TypeVar("C")


def near_keys(name: str, schema: type = Config) -> list[str]:
    """Full keys that a user who wrote ``name`` probably meant, at most three, best first."""
    known, last = keys(schema), name.rpartition(".")[2]
    same = [full for full in known if full.rpartition(".")[2] == last]
    if 0 < len(same) <= 3:
        return same
    full_match = difflib.get_close_matches(name, [*known, *sections(schema)], n=1, cutoff=0.7)
    if full_match:
        return full_match
    near_last = difflib.get_close_matches(last, {full.rpartition(".")[2] for full in known}, n=1, cutoff=0.8)
    return [full for full in known if near_last and full.rpartition(".")[2] == near_last[0]][:3]


def did_you_mean(candidates: Iterable[str]) -> str:
    """``; did you mean A or B?``, empty without candidates."""
    names = " or ".join(candidates)
    return f"; did you mean {names}?" if names else ""


class TypeProblem(Exception):
    """A value of the wrong type; the message says what is wrong, without the key."""


def _text(value: Any, written: Any, key: Key) -> Any:
    """A text value as the user wrote it, whatever YAML read into it."""
    if isinstance(value, bool):
        if key.choices and written in key.choices:
            return written
        word = str(value).lower() if written is None else written
        raise TypeProblem(f"unquoted, YAML reads {word} as {str(value).lower()}, but this key takes a text")
    if isinstance(value, int | float):
        return written if isinstance(written, str) else str(value)
    return value


def typed(setting: Setting, key: Key) -> Any:
    """The value to hand to OmegaConf; refuses the conversions that OmegaConf would make silently.

    Raises:
        TypeProblem: if the value is of the wrong type.
    """
    value, written = setting.value, setting.written
    if isinstance(value, str) and value == "???":
        raise TypeProblem("has no value (???)")
    if value is None and not key.optional:
        raise TypeProblem("needs a value; null is not allowed")
    if key.kind is str:
        return _text(value, written, key)
    if key.kind is list:
        if not isinstance(value, list):
            if isinstance(value, str) and "${" in value:
                return value
            raise TypeProblem(f"expected {key.type_name}, as in {key.name}=[{value}]")
        texts = written if isinstance(written, list) and len(written) == len(value) else [None] * len(value)
        if key.element is str:
            return [_text(part, text, key) for part, text in zip(value, texts, strict=True)]
    if key.kind is bool and isinstance(value, int | float) and not isinstance(value, bool):
        raise TypeProblem(f"expected true or false, not {value!r}")
    return value


class Merge(Generic[C]):
    """A configuration under construction.

    Args:
        schema: dataclass that says which keys there are.
        conflicts: finds what is wrong between the keys of a configuration.

    Attributes:
        errors: found so far, one line each.
        touched: keys that some setting named, with the place of the last one.
        incomplete: a file is missing, so that conflicts between what is there would mislead.
    """

    def __init__(self, schema: type[C], conflicts: Callable[[C], Iterable[Conflict]]) -> None:
        self.schema: type = schema
        self.errors: list[str] = []
        self.touched: dict[str, str] = {}
        self.incomplete = False
        self._contradictions = conflicts
        self._config: DictConfig = OmegaConf.structured(schema)
        self._broken: set[str] = set()

    def mistake(self, name: str, text: str, place: str = "") -> None:
        """Records one mistake under its full key."""
        self.errors.append(f"{name}: {text}" + (f" ({place})" if place else ""))
        self._broken.add(name)

    def attempt(self, read: Callable[[], list[Setting]]) -> list[Setting]:
        """What ``read`` returns; its ConfigError is recorded instead of raised."""
        try:
            return read()
        except ConfigError as error:
            self.errors.extend(error.errors)
            self.incomplete = True
            return []

    def apply(self, settings: Iterable[Setting]) -> None:
        """Sets every key in turn; a later setting of the same key wins."""
        known = keys(self.schema)
        for setting in settings:
            name = ALIASES.get(setting.key, setting.key)
            if name in sections(self.schema):
                text = "is a section, not a key" + ("; in a file, pick a group with include" if setting.place else "")
                self.mistake(name, text, setting.place)
            elif name not in known:
                parent = name.rpartition(".")[0]
                near = [parent] if parent in known else near_keys(name, self.schema)
                self.mistake(name, f"no such key{did_you_mean(near)}", setting.place)
            else:
                self._set(setting, known[name])

    def _set(self, setting: Setting, key: Key) -> None:
        self.touched[key.name] = setting.place
        try:
            OmegaConf.update(self._config, key.name, typed(setting, key), merge=False)
        except TypeProblem as error:
            self.mistake(key.name, str(error), setting.place)
        except OmegaConfBaseException:
            self.mistake(key.name, f"expected {key.type_name}, not {setting.value!r}", setting.place)

    def snapshot(self) -> dict[str, Any]:
        """The present value of every key, interpolations not resolved."""
        plain = OmegaConf.to_container(self._config, resolve=False)
        return {name: reduce(lambda part, step: part[step], name.split("."), plain) for name in keys(self.schema)}

    def finish(self) -> C:
        """The configuration, resolved and checked.

        Raises:
            ConfigError: with every mistake found by then.
        """
        for name, key in keys(self.schema).items():
            try:
                OmegaConf.select(self._config, name)
            except OmegaConfBaseException as error:
                self.mistake(name, str(error).splitlines()[0], self.touched.get(name, ""))
                OmegaConf.update(self._config, name, key.default, merge=False)
        try:
            config: Any = OmegaConf.to_object(self._config)
        except OmegaConfBaseException as error:
            raise ConfigError([*self.errors, " ".join(str(error).split())]) from None
        for name, key in keys(self.schema).items():
            text = value_mistake(config, key)
            if text is not None and name not in self._broken:
                self.mistake(name, text, self.touched.get(name, ""))
        # A value that is wrong by itself must not start conflicts: leave out those that read it.
        if not self.incomplete:
            sound = self._without_broken(config)
            self.errors.extend(line for names, line in self._contradictions(sound) if self._broken.isdisjoint(names))
        if self.errors:
            raise ConfigError(list(dict.fromkeys(self.errors)))
        return config  # type: ignore[no-any-return]

    def _without_broken(self, config: C) -> C:
        defaults = keys(self.schema)
        for name in self._broken & defaults.keys():
            section: Any = config
            *path, last = name.split(".")
            for part in path:
                section = getattr(section, part)
            setattr(section, last, defaults[name].default)
        return config
