"""Answers of the stylist: items, outfits and matches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TEXT_WIDTH = 44  # characters of an item's text in a table


@dataclass(frozen=True)
class ItemRef:
    """An item; ``id`` is None for an external garment, ``text`` may be empty."""

    id: str | None
    category: str
    text: str
    image_path: Path | None

    @property
    def name(self) -> str:
        """Its id, or ``own`` and its category."""
        return f"own {self.category}" if self.id is None else self.id


@dataclass(frozen=True, repr=False)
class StyledOutfit:
    """An outfit that was completed or generated.

    Attributes:
        items: all its items, the given ones first.
        added: the items that were added, in the order of the conditions that they answer.
        score: S of the whole, in [0, 1], without the zero of sets that break the category rule: the given ones may.
        rule_kept: whether no two of all its items are of one category.
        objective: what was maximised: S, or S and the similarity to texts of conditions weighed by alpha, and
            the weighted preference of a user.
        similarity: summed similarity of the added items to their texts of conditions; None without texts.
        preference: how much the user likes the whole, without its weight; None without a user.
        step_scores: S after each selection, of the first answer of a method that scores step by step.
        calls: calls of S that the method made for all of its answers.
    """

    items: tuple[ItemRef, ...]
    added: tuple[ItemRef, ...]
    score: float
    rule_kept: bool
    objective: float
    similarity: float | None = None
    step_scores: tuple[float, ...] = ()
    calls: int = 0
    preference: float | None = None

    @property
    def given(self) -> tuple[ItemRef, ...]:
        """The items before completion."""
        return self.items[: len(self.items) - len(self.added)]

    def __repr__(self) -> str:
        sets = [", ".join(item.name for item in part) for part in (self.given, self.added) if part]
        return f"<StyledOutfit S={self.score:.3f}: {' + '.join(sets)}>"

    def table(self) -> str:
        """Formats its items, a line each, and its scores."""
        return outfits_table([self])


@dataclass(frozen=True, repr=False)
class ItemMatch:
    """An item similar to another or to a text, with its similarity in [-1, 1]."""

    item: ItemRef
    similarity: float

    def __repr__(self) -> str:
        return f"<{self.item.name} ({self.item.category}) {self.similarity:.3f}>"


@dataclass(frozen=True, repr=False)
class OutfitMatch:
    """An outfit of the run's data (split ``train``, ``valid`` or ``test``) similar to another.

    ``similarity`` is the cosine of the task-token outputs of S, in [-1, 1].
    """

    outfit_id: str
    split: str
    items: tuple[ItemRef, ...]
    similarity: float

    def __repr__(self) -> str:
        return (
            f"<outfit {self.outfit_id} ({self.split}) {self.similarity:.3f}: {', '.join(i.name for i in self.items)}>"
        )


@dataclass(frozen=True, repr=False)
class OutfitForUser:
    """An outfit of the run's data that was recommended to a user, with the user's preference for it."""

    outfit_id: str
    items: tuple[ItemRef, ...]
    preference: float

    def __repr__(self) -> str:
        return f"<outfit {self.outfit_id} {self.preference:.3f}: {', '.join(item.name for item in self.items)}>"


def outfits_table(outfits: Sequence[StyledOutfit]) -> str:
    """Formats outfits as text: a line of scores each, and a line for every item; given items stand once at the top."""
    if not outfits:
        return "no outfit"
    rows: list[tuple[str, str, str, str]] = []
    given = outfits[0].given
    if given and all(outfit.given == given for outfit in outfits):
        rows += [("given", *_cells(item)) for item in given]
    for number, outfit in enumerate(outfits, start=1):
        shown = outfit.added if outfit.given == given else outfit.items
        rows += [(f"{number}" if place == 0 else "", *_cells(item)) for place, item in enumerate(shown)]
        rows.append(("", "", "", _scores(outfit)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cells(item: ItemRef) -> tuple[str, str, str]:
    text = " ".join(item.text.split())
    return item.name, item.category, text if len(text) <= TEXT_WIDTH else f"{text[: TEXT_WIDTH - 1]}…"


def _scores(outfit: StyledOutfit) -> str:
    parts = [f"S {outfit.score:.3f}"]
    if outfit.similarity is not None:
        parts.append(f"similarity {outfit.similarity:.3f}")
    if outfit.preference is not None:
        parts.append(f"preference {outfit.preference:.3f}")
    if len(parts) > 1:
        parts.append(f"objective {outfit.objective:.3f}")
    return "  ".join(parts if outfit.rule_kept else [*parts, "(given items share a category)"])
