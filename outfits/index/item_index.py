"""What completion needs of an index over the catalogue, whoever keeps it."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class ItemIndex(Protocol):
    """A catalogue in the generator's retrieval space, searched by cosine.

    :class:`outfits.index.category_index.CategoryIndex` keeps it in this process. A vector store outside it takes its
    place by implementing these members: ``context.index = store`` is all that methods notice.

    Items go by their catalogue position, and :meth:`search` answers for every category apart, because the category
    rule makes the nearest item of one category useless where that category is taken. In a store, the category is a
    partition or a filter, and the position is the key.

    Methods that complete an outfit without texts of conditions call :meth:`search` alone, for the latents of a whole
    batch at once. :meth:`cosines` reads every vector: it serves the ranks of removed items, which only experiments ask
    for, and texts of conditions, whose similarity is added to the cosine of every item. A store that serves neither may
    refuse it with :class:`NotImplementedError`.
    """

    @property
    def categories(self) -> NDArray[np.int64]:
        """Category of every item, shape ``[N]``."""
        ...

    @property
    def num_categories(self) -> int:
        """``C``, the number of categories, those without items among them."""
        ...

    @property
    def empty_categories(self) -> NDArray[np.bool_]:
        """Categories without any item, shape ``[C]``."""
        ...

    def __len__(self) -> int:
        """``N``, the number of items."""
        ...

    def search(self, queries: NDArray[np.float32] | Tensor, n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The ``n`` nearest items of every category, nearest first, ties by the smaller catalogue position.

        Args:
            queries: shape ``[Q, r]``, of any length greater than zero.
            n: items per category.

        Returns:
            Cosine similarities ``[Q, C, n]`` and catalogue positions ``[Q, C, n]``; where a category has fewer than
            ``n`` items, similarity ``-inf`` and position ``-1``. A category that has ``n`` items answers with ``n``,
            also where the index is approximate: the category rule counts on it. What a query finds must not depend on
            the batch that it comes in.
        """
        ...

    def cosines(self, queries: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        """Cosine of every item to every query ``[Q, r]``, never approximate, shape ``[Q, N]``."""
        ...
