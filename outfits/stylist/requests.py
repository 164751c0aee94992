"""Converts requests to the stylist into tasks."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from outfits.completion.conditions import Conditions
from outfits.completion.tasks import CompletionTasks
from outfits.errors import ConfigError
from outfits.stylist.garments import Garment
from outfits.stylist.parser import PartialOutfit

T = TypeVar("T")

Piece = str | Garment
"""An item of a partial outfit: the id of a catalogue item, or an external garment."""
AllowedCategories = str | Sequence[str] | Sequence[Sequence[str] | None] | None
"""Allowed categories: one name or list for all missing items, or a list for each (None is no condition)."""
User = str | Sequence[str]
"""Whom an outfit is for: the id of a user of the run's data, or the ids of outfits that a new user likes."""
ConditionTexts = str | Sequence[str] | None
"""Texts of conditions: one for all missing items, or one for each (empty is no condition)."""


def check_counts(**values: object) -> None:
    """Checks numbers by the names of their arguments: TypeError for what is none, ConfigError for one below 1."""
    for name, value in values.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool):
            raise TypeError(f"{name} is a whole number, not {value!r}")
        if value < 1:
            raise ConfigError([f"{name}: must be at least 1, not {value}"])


def one_for_each(values: Sequence[T] | None, count: int, name: str) -> Sequence[T | None]:
    """One entry for each outfit, or None for each; raises :class:`ConfigError` for another number of entries."""
    if values is None:
        return [None] * count
    if isinstance(values, str) or len(values) != count:
        raise ConfigError([f"{name}: give one entry for each of the {count} outfits"])
    return values


def users_of(users: Sequence[User | None] | None, count: int) -> Sequence[User] | None:
    """The user of each outfit, None where none is for one.

    Raises:
        ConfigError: if some outfits are for a user and others are not, or there is another number of entries.
    """
    known = [user for user in one_for_each(users, count, "users") if user is not None]
    if known and len(known) < count:
        raise ConfigError(["users: name one for every outfit, or none"])
    return known or None


def category_lists(categories: AllowedCategories, k: int) -> list[Sequence[str] | None]:
    """Allowed names for every missing item, None for no condition.

    Raises:
        ConfigError: if names and lists are mixed, or there are more or fewer lists than missing items.
    """
    if categories is None or isinstance(categories, str):
        return [None if categories is None else [categories]] * k
    lists: list[Sequence[str] | None] = [part for part in categories if not isinstance(part, str)]
    names = [part for part in categories if isinstance(part, str)]
    if lists and names:
        raise ConfigError(["categories: names and lists are mixed; give one list of names, or a list for each item"])
    if not lists:
        return [names or None] * k
    if len(lists) != k:
        raise ConfigError([f"categories: {len(lists)} lists for k={k} missing items; give one for each"])
    return [part or None for part in lists]


def batches(partial_outfits: Sequence[PartialOutfit], conditions: Sequence[Conditions | None]) -> list[list[int]]:
    """Rows that can be completed together: those without external garments, with conditions and without."""
    together = [
        [
            row
            for row, partial_outfit in enumerate(partial_outfits)
            if partial_outfit.external is None and (conditions[row] is None) == without
        ]
        for without in (True, False)
    ]
    alone = [[row] for row, partial_outfit in enumerate(partial_outfits) if partial_outfit.external is not None]
    return [rows for rows in (*together, *alone) if rows]


def tasks_of(
    partial_outfits: Sequence[PartialOutfit], k: int, conditions: Conditions | None, alternatives: int
) -> CompletionTasks:
    """Partial outfits as completion tasks from which nothing was removed."""
    # All tasks have number 0: random draws for an outfit do not depend on its position in a batch.
    zeros = np.zeros(len(partial_outfits), dtype=np.int64)
    given = [partial_outfit.positions.astype(np.int32) for partial_outfit in partial_outfits]
    removed = np.empty((len(partial_outfits), 0), dtype=np.int32)
    return CompletionTasks(given, removed, zeros, zeros, missing=k, conditions=conditions, alternatives=alternatives)
