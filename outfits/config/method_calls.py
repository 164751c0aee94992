"""Methods with options of their own, as ``evaluate.methods`` names them: ``beam:width=8``."""

from dataclasses import dataclass, replace
from typing import Any

import yaml

from outfits.config.keys import keys
from outfits.config.schema.evaluate import EvaluateConfig
from outfits.config.schema.methods import METHODS
from outfits.naming import did_you_mean


@dataclass(frozen=True)
class MethodCall:
    """A method with its options.

    Attributes:
        text: the call as it was written; names the method in results.
        name: the method, one of :data:`outfits.config.schema.methods.METHODS`.
        options: its configuration section (defaults for a plug-in's method) updated by the call; None without options.
    """

    text: str
    name: str
    options: Any


def resolve_call(text: str, config: EvaluateConfig) -> MethodCall:
    """Returns the call with its own options over those of its method's section.

    Raises:
        ValueError: if the call is not ``NAME:OPTION=VALUE:…``, or its method, option or value is unknown.
    """
    name, *parts = text.split(":")
    if name not in METHODS:
        raise ValueError(f"{text!r} is not one of {', '.join(METHODS)}{did_you_mean(name, METHODS)}")
    kind: Any = METHODS[name].options
    if kind is None and parts:
        raise ValueError(f"{text!r}: {name} has no options")
    if kind is None:
        return MethodCall(text, name, None)
    known, options = keys(kind), {}
    for part in parts:
        option, sign, value = part.partition("=")
        if not (option and sign and value):
            raise ValueError(f"{text!r}: {part!r} is not OPTION=VALUE")
        if option in options:
            raise ValueError(f"{text!r}: {option} is given twice")
        if option not in known:
            hint = did_you_mean(option, known)
            raise ValueError(f"{text!r}: {name} has no option {option!r}; options: {', '.join(known)}{hint}")
        try:
            options[option] = known[option].validate(yaml.safe_load(value))
        except (ValueError, yaml.YAMLError) as error:
            raise ValueError(f"{text!r}: {option}: {error}") from None
    section = getattr(config, name, None)
    return MethodCall(text, name, replace(section if isinstance(section, kind) else kind(), **options))
