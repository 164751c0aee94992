"""Category and attributes of items as zeros and ones."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outfits.data.catalogue import Catalogue
from outfits.errors import ConfigError
from outfits.naming import did_you_mean

CATEGORY = "category"


@dataclass(frozen=True)
class AttributeCode:
    """Codes the category and attributes of items, one of each attribute's values.

    A value that no training item has, or that is not among the most frequent, is zero everywhere, like an unknown one.

    Attributes:
        values: names of the values by attribute, most frequent first.
    """

    values: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, catalogue: Catalogue, train: NDArray[np.integer], names: Sequence[str], most: int) -> "AttributeCode":
        """Takes the values that training items have, at most ``most`` of an attribute; all attributes without names.

        Raises:
            ConfigError: if the items have no attribute of a name.
        """
        available = catalogue.attributes
        for name in names:
            if name not in available:
                known = ", ".join(available) or "none"
                text = f"the items have no attribute {name!r}{did_you_mean(name, available)}; they have {known}"
                raise ConfigError([f"model.imaging.conditional.attributes: {text}"])
        columns = columns_of(catalogue, [CATEGORY, *(name for name in names or available if name != CATEGORY)])
        values = {}
        for name, column in columns.items():
            counts = Counter(value for value in column[train].tolist() if value)
            limit = None if name == CATEGORY else most
            values[name] = tuple(sorted(counts, key=lambda value: (-counts[value], value))[:limit])
        return cls({name: found for name, found in values.items() if len(found) > 1 or name == CATEGORY})

    def __len__(self) -> int:
        return sum(map(len, self.values.values()))

    def codes(self, catalogue: Catalogue) -> NDArray[np.float32]:
        """Codes every item, shape ``[N, len(self)]``."""
        columns = columns_of(catalogue, list(self.values))
        parts = [columns[name][:, None] == np.array(values)[None] for name, values in self.values.items()]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def nearest(self, codes: NDArray[np.float32], among: NDArray[np.float32]) -> NDArray[np.intp]:
        """Rows of ``among`` ``[m, d]`` of the category of each code ``[n, d]`` with most equal attributes, ``[n]``.

        Where none has the category, those with most equal attributes.
        """
        weights = np.ones(len(self), dtype=np.float32)
        weights[self.place(CATEGORY)] = len(self.values)  # more than all other attributes together
        return np.asarray(((codes * weights) @ among.T).argmax(axis=1))

    def place(self, name: str) -> slice:
        """Returns the columns of an attribute."""
        start = 0
        for other, values in self.values.items():
            if other == name:
                return slice(start, start + len(values))
            start += len(values)
        raise KeyError(name)


def columns_of(catalogue: Catalogue, names: Sequence[str]) -> dict[str, NDArray[np.str_]]:
    """Returns values of every item by attribute, ``category`` being the items' category."""
    own = np.asarray(catalogue.category_names, dtype=np.str_)[catalogue.categories]
    return {name: own if name == CATEGORY else np.asarray(catalogue.attributes[name], dtype=np.str_) for name in names}
