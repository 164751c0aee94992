"""How methods are named, ordered and coloured, the same in the table, the plots and the gallery."""

from collections.abc import Iterable
from dataclasses import dataclass

from outfits.config.schema import METHODS

LABELS = {
    "original": ("Original", "the outfit as it was made: the removed items put back"),
    "random": ("Random", "random items that keep the outfit an outfit"),
    "most_selected": ("Most selected", "for every outfit the items that greedy search selects most often"),
    "greedy_1": ("Greedy, one step", "scores every single addition once and takes the k best"),
    "greedy_k": ("Greedy, k steps", "adds the best item and scores everything again, k times"),
    "generator": ("Generator", "one pass of the graph network, then the nearest items by cosine"),
    "generator_rerank": ("Generator, re-ranked", "the best under S among the generator's nearest items"),
}

# Okabe and Ito's palette, which stays distinct under the common colour vision deficiencies: greys for what does not
# optimise, blues for search, orange and vermilion for the generator.
_COLOURS = {
    "original": "#1f2328",
    "random": "#8b949e",
    "most_selected": "#cc79a7",
    "greedy_1": "#56b4e9",
    "greedy_k": "#0072b2",
    "generator": "#e69f00",
    "generator_rerank": "#d55e00",
}
_ON_DARK = {"original": "#f0f3f6", "greedy_1": "#9ad4f5", "greedy_k": "#3d9be0", "generator_rerank": "#f0793a"}
_FURTHER = ("#009e73", "#8a63d2", "#a6761d", "#5f9ea0", "#b03060", "#6b8e23")


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


def in_order(methods: Iterable[str]) -> list[str]:
    """Method names in the order of presentation; names that the configuration does not know come last, by alphabet."""
    rank = {name: position for position, name in enumerate(METHODS)}
    return sorted(methods, key=lambda name: (rank.get(name, len(rank)), name))


def label(method: str) -> str:
    """Name of a method as a reader sees it."""
    return LABELS[method][0] if method in LABELS else method.replace("_", " ").capitalize()


def description(method: str) -> str:
    """What a method does, in a few words; empty for a method that has no description here."""
    return LABELS[method][1] if method in LABELS else ""


def colours(methods: Iterable[str], theme: Theme) -> dict[str, str]:
    """Colour of every method; a method keeps its colour whatever other methods it is shown with."""
    palette = _COLOURS | _ON_DARK if theme.name == "dark" else _COLOURS
    further = [name for name in in_order(methods) if name not in palette]
    return palette | {name: _FURTHER[position % len(_FURTHER)] for position, name in enumerate(further)}
