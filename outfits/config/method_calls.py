"""Methods with options of their own, as ``evaluate.methods`` names them: ``beam:width=8``."""

import difflib
from dataclasses import dataclass, replace
from typing import Any

import yaml

from outfits.config.schema.evaluate import EvaluateConfig
from outfits.config.schema.methods import METHODS


@dataclass(frozen=True)
class MethodCall:
    """A method as it is to be run.

    Attributes:
        text: as it was written, which names it in results.
        name: the method, one of :data:`outfits.config.schema.METHODS`.
        options: its section of the configuration with the call's own options; None for a method without options.
    """

    text: str
    name: str
    options: Any


def split_call(text: str) -> tuple[str, dict[str, Any]]:
    """Name and options of a call.

    Raises:
        ValueError: if it is not ``NAME:OPTION=VALUE:…`` or names no method.
    """
    name, *parts = text.split(":")
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{text!r} is not one of {', '.join(METHODS)}{hint}")
    options: dict[str, Any] = {}
    for part in parts:
        option, sign, value = part.partition("=")
        if not (option and sign and value):
            raise ValueError(f"{text!r}: {part!r} is not OPTION=VALUE")
        if option in options:
            raise ValueError(f"{text!r}: {option} is given twice")
        options[option] = yaml.safe_load(value)
    return name, options


def resolve_call(text: str, config: EvaluateConfig) -> MethodCall:
    """The call with the options of its method's section under its own; its values are as good as they were checked.

    Raises:
        ValueError: if the method has no such option.
    """
    name, options = split_call(text)
    section = getattr(config, name, None)
    if section is None:
        if options:
            raise ValueError(f"{text!r}: {name} has no options")
        return MethodCall(text, name, None)
    known = vars(section)
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{text!r}: {name} has no option {option!r}; options: {', '.join(known)}{hint}")
    return MethodCall(text, name, replace(section, **options))
