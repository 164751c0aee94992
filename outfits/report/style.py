"""Names, orders and colours methods, the same in the table, the plots and the gallery."""

import colorsys
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import yaml
from matplotlib.colors import to_hex, to_rgb

from outfits.config.schema.methods import METHODS

_FURTHER = ("#a6761d", "#5f9ea0", "#b03060", "#6b8e23", "#7a5195", "#4d7c8a")


@dataclass(frozen=True)
class Theme:
    """Colours of a drawing: ink for text, muted for axes, paper for the ground (``"none"`` is transparent)."""

    name: str
    ink: str
    muted: str
    faint: str
    paper: str


LIGHT = Theme("light", ink="#1f2328", muted="#59636e", faint="#d8dee4", paper="none")
DARK = Theme("dark", ink="#f0f3f6", muted="#9198a1", faint="#30363d", paper="none")
PRINT = Theme("light", ink="#1f2328", muted="#59636e", faint="#d8dee4", paper="#ffffff")


def family(method: str) -> str:
    """Strips the options: ``beam`` of ``beam:width=8``."""
    return method.partition(":")[0]


def in_order(methods: Iterable[str]) -> list[str]:
    """Sorts methods for presentation, those without options of their own before those with.

    Options go by their order in the configuration and numbers in them by size; unknown names come last, by alphabet.
    """
    rank = {name: position for position, name in enumerate(METHODS)}

    def place(method: str) -> tuple[Any, ...]:
        name, *options = method.split(":")
        options_class = METHODS[name].options if name in METHODS else None
        known = [] if options_class is None else [field.name for field in fields(options_class)]
        natural = []
        for option, _, value in (part.partition("=") for part in options):
            parts = re.findall(r"\d+(?:\.\d+)?|\D+", value)
            by_size = [(0, float(part), part) if part[0].isdigit() else (1, 0.0, part) for part in parts]
            natural.append((known.index(option) if option in known else len(known), option, by_size))
        return rank.get(name, len(rank)), name, len(options), natural, method

    return sorted(methods, key=place)


def label(method: str) -> str:
    """Names a method for readers, with the options of its call: ``Beam, width 8``."""
    name, *options = method.split(":")
    spec = METHODS.get(name)
    words = [spec.label if spec is not None and spec.label else name.replace("_", " ").capitalize()]
    for option, _, value in (part.partition("=") for part in options):
        option = option.replace("_", " ")
        flag = yaml.safe_load(value) if value else None
        if isinstance(flag, bool):
            words.append(option if flag else f"not {option}")
        else:
            words.append(f"{option} {value}".strip())
    return ", ".join(words)


def description(method: str) -> str:
    """Describes a method in a few words; empty for a method without a description."""
    name, *options = method.split(":")
    spec = METHODS.get(name)
    if spec is None:
        return ""
    words = [spec.words.get(option) or spec.words.get(f"{option.partition('=')[0]}=*") for option in options]
    return ", ".join(word for word in words if word) or spec.description


def colours(methods: Iterable[str], theme: Theme) -> dict[str, str]:
    """Colours every method: a method without options keeps its own colour, calls with options get shades of it.

    The shades of a family are spread over the calls that are shown, so pass all methods of a page.
    """
    ground = int(theme.name == "dark")
    palette = {name: spec.colours[ground] for name, spec in METHODS.items() if spec.colours is not None}
    shown = set(methods)
    ordered = in_order(shown | set(palette))
    further = [name for name in dict.fromkeys(map(family, ordered)) if name not in palette]
    palette |= {name: _FURTHER[place % len(_FURTHER)] for place, name in enumerate(further)}
    families: dict[str, list[str]] = {}
    for name in ordered:
        if ":" in name:
            families.setdefault(family(name), []).append(name)
    for name, calls in families.items():
        palette |= dict(zip(calls, _shades(palette[name], len(calls), theme, bare=name in shown), strict=True))
    return palette


def _shades(base: str, count: int, theme: Theme, *, bare: bool) -> list[str]:
    """Varies one hue from dark to light, turned a little so that many shades stay apart.

    A single shade is the base colour, unless the method without options (``bare``) is shown with it.
    """
    if count == 1 and not bare:
        return [base]
    hue, _, saturation = colorsys.rgb_to_hls(*to_rgb(base))
    low, high = (0.40, 0.82) if theme.name == "dark" else (0.19, 0.64)
    steps = count - 1 + bare
    turn = min(0.20, 0.05 * steps)
    shades = []
    for along in ((place + bare) / steps for place in range(count)):
        turned = (hue + turn * (0.3 - along)) % 1
        rgb = colorsys.hls_to_rgb(turned, low + (high - low) * along, min(saturation, 0.75 - 0.3 * along))
        shades.append(to_hex(rgb))
    return shades
