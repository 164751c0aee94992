"""How methods are named, ordered and coloured, the same in the table, the plots and the gallery."""

import colorsys
import re
from collections.abc import Iterable
from dataclasses import dataclass, is_dataclass
from typing import Any

import yaml
from matplotlib.colors import to_hex, to_rgb

from outfits.config.schema.evaluate import EvaluateConfig
from outfits.config.schema.methods import METHODS

LABELS = {
    "original": ("Original", "the outfit as it was made: the removed items put back"),
    "random": ("Random", "random items that keep the outfit an outfit"),
    "most_frequent": ("Most frequent", "the items that occur in most training outfits"),
    "most_selected": ("Most selected", "for every outfit the items that greedy search selects most often"),
    "most_similar": (
        "Most similar",
        "the items most similar to the texts of conditions; neither S nor the outfit is looked at",
    ),
    "exhaustive": ("Exhaustive", "scores every set of k items: the optimum of S"),
    "greedy_1": ("Greedy, one step", "scores every single addition once and takes the k best"),
    "greedy_k": ("Greedy, k steps", "adds the best item and scores everything again, k times"),
    "beam": ("Beam", "greedy search that keeps the best few partial outfits at every step"),
    "greedy_two_stage": ("Greedy, two stages", "greedy search under S among what a student of S ranks highest"),
    "beam_two_stage": ("Beam, two stages", "beam search under S among what a student of S ranks highest"),
    "gradient": ("Gradient", "raises S over free embeddings, then takes the nearest items"),
    "generator": ("Generator", "one pass of the graph network, then the nearest items by cosine"),
    "generator_rerank": ("Generator, re-ranked", "the best under S among the generator's nearest items"),
    "generator_beam": ("Generator, beam", "beam search under S among the generator's nearest items"),
}

# What a call's own options say of it, * standing for any value; an option that is not here is only named.
_OPTION_WORDS = {
    ("gradient", "projection", "l1"): "nearest items by L1 distance",
    ("gradient", "projection", "l2"): "nearest items by L2 distance",
    ("gradient", "projection", "l10"): "nearest items by L10 distance",
    ("gradient", "projection", "cosine"): "nearest items by cosine",
    ("gradient", "start", "items"): "started from real items",
    ("gradient", "choose", "projected"): "of several ascents the one with the best real items",
    ("gradient", "penalty", "*"): "held near real items on the way",
    ("gradient", "sequential", "true"): "projected one item at a time",
}

# After Okabe and Ito's palette, which stays distinct under the common colour vision deficiencies: greys and purples for
# what does not optimise, blues for search, green for gradients, orange to brown for the generator.
_COLOURS = {
    "original": "#1f2328",
    "random": "#8b949e",
    "most_frequent": "#9467bd",
    "most_selected": "#cc79a7",
    "most_similar": "#7f5aa8",
    "exhaustive": "#10305a",
    "greedy_1": "#56b4e9",
    "greedy_k": "#0072b2",
    "beam": "#5a5fd0",
    "greedy_two_stage": "#3c7d96",
    "beam_two_stage": "#2f8f9d",
    "gradient": "#009e73",
    "generator": "#e69f00",
    "generator_rerank": "#d55e00",
    "generator_beam": "#8f3b0a",
}
_ON_DARK = {
    "original": "#f0f3f6",
    "most_frequent": "#b48ede",
    "exhaustive": "#c3d9f7",
    "greedy_1": "#9ad4f5",
    "greedy_k": "#3d9be0",
    "beam": "#8f93f0",
    "gradient": "#1fbf90",
    "generator_rerank": "#f0793a",
    "generator_beam": "#c0754a",
}
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
    """The method without options of its own: ``beam`` of ``beam:width=8``."""
    return method.partition(":")[0]


def in_order(methods: Iterable[str]) -> list[str]:
    """Methods in the order of presentation, those without options of their own before those with.

    Options go by their order in the configuration and numbers in them by size; names that the configuration does not
    know come last, by alphabet.
    """
    rank = {name: position for position, name in enumerate(METHODS)}
    sections = {name: list(vars(section)) for name, section in vars(EvaluateConfig()).items() if is_dataclass(section)}

    def place(method: str) -> tuple[Any, ...]:
        name, *options = method.split(":")
        known = sections.get(name, [])
        natural = []
        for option, _, value in (part.partition("=") for part in options):
            parts = re.findall(r"\d+(?:\.\d+)?|\D+", value)
            by_size = [(0, float(part), part) if part[0].isdigit() else (1, 0.0, part) for part in parts]
            natural.append((known.index(option) if option in known else len(known), option, by_size))
        return rank.get(name, len(rank)), name, len(options), natural, method

    return sorted(methods, key=place)


def label(method: str) -> str:
    """Name of a method as a reader sees it, with the options of its call: ``Beam, width 8``."""
    name, *options = method.split(":")
    words = [LABELS[name][0] if name in LABELS else name.replace("_", " ").capitalize()]
    for option, value in _options(options):
        flag = yaml.safe_load(value) if value else None
        if isinstance(flag, bool):
            words.append(option if flag else f"not {option}")
        else:
            words.append(f"{option} {value}".strip())
    return ", ".join(words)


def description(method: str) -> str:
    """What a method does, in a few words; empty for a method that has no description here."""
    name, *options = method.split(":")
    general = LABELS[name][1] if name in LABELS else ""
    words = [
        _OPTION_WORDS.get((name, option, value)) or _OPTION_WORDS.get((name, option, "*"))
        for option, value in _options(options)
    ]
    return ", ".join(word for word in words if word) or general


def colours(methods: Iterable[str], theme: Theme) -> dict[str, str]:
    """Colour of every method: a method without options keeps its own, calls with options get shades of it.

    The shades of a family are spread over the calls that are shown, so pass all methods of a page.
    """
    palette = dict(_COLOURS | _ON_DARK if theme.name == "dark" else _COLOURS)
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


def _options(options: Iterable[str]) -> list[tuple[str, str]]:
    return [(option.replace("_", " "), value) for option, _, value in (part.partition("=") for part in options)]


def _shades(base: str, count: int, theme: Theme, *, bare: bool) -> list[str]:
    """Colours near one hue, from dark to light and turned a little so that many stay apart.

    One alone has the base colour, unless the method without options (``bare``) is shown with it.
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
