"""Checks that the metrics of a report have in common."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from outfits.errors import ArtifactError

QUANTILES = ("0.05", "0.25", "0.5", "0.75", "0.95")
RECALL_AT = ("1", "10", "50")
HISTOGRAM_BINS = 40  # equal bins of [0, 1]


def check_share(name: str, value: float | None, *, optional: bool = False) -> None:
    """Raises ValueError unless the figure lies in [0, 1]; NaN does not."""
    if value is None:
        if optional:
            return
        raise ValueError(f"{name} is missing")
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], not {value}")


def check_amount(name: str, value: float) -> None:
    """Raises ValueError unless the figure is finite and not negative."""
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and not negative, not {value}")


def check_names(name: str, values: Mapping[str, Any], expected: Iterable[str]) -> None:
    """Raises ValueError unless a mapping has exactly these keys in this order."""
    if tuple(values) != tuple(expected):
        raise ValueError(f"{name} must have the keys {', '.join(expected)}")


def check_recall(values: Mapping[str, float | None]) -> None:
    """Raises ValueError unless these are shares by :data:`RECALL_AT`, None where nothing is ranked."""
    check_names("removed_recall", values, RECALL_AT)
    for name, value in values.items():
        check_share(f"removed_recall {name}", value, optional=True)


def check_keys(what: str, kind: type, values: Mapping[str, Any], ignored: tuple[str, ...] = ()) -> None:
    """Raises :class:`ArtifactError` unless ``results.json`` has exactly a dataclass's fields."""
    known = {item.name for item in fields(kind)} - set(ignored)
    if wrong := sorted(known ^ set(values)):
        raise ArtifactError(f"results.json: {what} lacks or does not know {', '.join(wrong)}; run evaluate.py again")
