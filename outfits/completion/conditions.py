"""Conditions for the missing items: allowed categories, and texts that describe them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from outfits.config.schema.targets import CONDITION_KINDS
from outfits.data.catalogue import ItemEmbeddings


@dataclass(frozen=True)
class Conditions:
    r"""Conditions for the ``k`` missing items of ``T`` outfits.

    A completion then maximises :math:`\alpha S(O \cup \{X_i\}) + (1 - \alpha) \sum_i S_X(X_i, \hat T_i)` over items
    with :math:`C_{X_i}` among the allowed categories of item i, the sum running over non-empty texts.

    Attributes:
        allowed: categories that missing item i may have, bool, shape ``[T, k, C]``; all True is no condition.
        texts: embedded texts of unit length, float32, shape ``[T, k, text_dim]``; a zero row is an empty text.
        alpha: weight of S against the texts, in [0, 1].

    Raises:
        ValueError: if shapes differ, alpha is outside [0, 1], an item is allowed no category, or a text is neither zero
            nor of unit length.
    """

    allowed: NDArray[np.bool_]
    texts: NDArray[np.float32]
    alpha: float = 0.5

    def __post_init__(self) -> None:
        if self.allowed.ndim != 3 or self.texts.ndim != 3 or self.allowed.shape[:2] != self.texts.shape[:2]:
            raise ValueError(f"conditions of shapes {list(self.allowed.shape)} and {list(self.texts.shape)} do not fit")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must lie in [0, 1], not {self.alpha}")
        if not self.allowed.any(axis=2).all():
            raise ValueError("a missing item is allowed no category at all")
        length = np.linalg.norm(self.texts.astype(np.float64), axis=2)
        if not ((length == 0) | (np.abs(length - 1) < 1e-3)).all():
            raise ValueError("texts must be vectors of unit length, or zero for an empty text")

    @classmethod
    def none(cls, tasks: int, k: int, num_categories: int, text_dim: int, alpha: float = 0.5) -> "Conditions":
        """Empty conditions, for code that mixes outfits with and without."""
        return cls(
            np.ones((tasks, k, num_categories), dtype=np.bool_), np.zeros((tasks, k, text_dim), np.float32), alpha
        )

    def __len__(self) -> int:
        return len(self.allowed)

    @property
    def k(self) -> int:
        """Number of missing items."""
        return int(self.allowed.shape[1])

    @property
    def has_text(self) -> NDArray[np.bool_]:
        """Which missing items have a text, shape ``[T, k]``."""
        has_text: NDArray[np.bool_] = np.any(self.texts != 0, axis=2)
        return has_text

    def take(self, rows: NDArray[np.integer] | slice) -> "Conditions":
        """The conditions of these outfits."""
        return Conditions(self.allowed[rows], self.texts[rows], self.alpha)

    def of_missing(self, missing: NDArray[np.bool_]) -> "Conditions":
        """The conditions of the missing items in the mask ``[k]``."""
        return Conditions(self.allowed[:, missing], self.texts[:, missing], self.alpha)

    def without_texts(self) -> "Conditions":
        """The allowed categories alone."""
        return replace(self, texts=np.zeros_like(self.texts))

    def slot_groups(self, row: int) -> NDArray[np.int64]:
        """The first missing item of the same condition, for each of an outfit's missing items, shape ``[k]``."""
        same = (self.allowed[row][:, None] == self.allowed[row][None]).all(axis=2)
        same &= (self.texts[row][:, None] == self.texts[row][None]).all(axis=2)
        first: NDArray[np.int64] = same.argmax(axis=1)
        return first

    @classmethod
    def concatenate(cls, parts: Sequence["Conditions"]) -> "Conditions":
        """Concatenates the conditions of several batches; raises :class:`ValueError` if their alpha differs."""
        if len({part.alpha for part in parts}) != 1:
            raise ValueError("conditions of different alpha cannot be one batch")
        return cls(
            np.concatenate([part.allowed for part in parts]),
            np.concatenate([part.texts for part in parts]),
            parts[0].alpha,
        )


def conditions_of_items(
    kind: str,
    items: NDArray[np.integer],
    categories: NDArray[np.integer],
    num_categories: int,
    features: ItemEmbeddings,
    alpha: float,
) -> Conditions:
    """Conditions that describe the items at catalogue positions ``[T, k]``.

    Args:
        kind: ``categories`` for each item's own category, ``texts`` for its own text, ``categories_texts`` for both;
            raises :class:`ValueError` for another kind.
        categories: category of every catalogue item, shape ``[N]``.
        features: embeddings of the catalogue.
    """
    if kind not in CONDITION_KINDS:
        raise ValueError(f"kind must be one of {', '.join(CONDITION_KINDS)}, not {kind!r}")
    conditions = Conditions.none(items.shape[0], items.shape[1], num_categories, features.text_dim, alpha)
    if kind != "texts":
        conditions.allowed[:] = categories[items][:, :, None] == np.arange(num_categories)
    if kind != "categories":
        conditions.texts[:] = np.where(features.present[items][:, :, 1:], features.text[items], 0)
    return conditions
