"""What completion needs of an index over the catalogue, in this process or outside it."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class ItemIndex(Protocol):
    """A catalogue in the generator's retrieval space, searched by cosine.

    :class:`outfits.index.category_index.CategoryIndex` keeps it in this process. A vector store outside it replaces it
    by implementing these members: ``MethodContext(…, index_store=store)``.

    Items go by their catalogue position, and :meth:`search` answers for every category apart, because the category
    rule makes the nearest item of one category useless where that category is taken. In a store, the category is a
    partition or a filter, and the position is the key.

    Methods that complete an outfit without texts of conditions call :meth:`search` alone, once for the latents of a
    batch. :meth:`cosines` reads every vector, for the ranks of removed items, which only experiments need, and for
    texts of conditions, whose similarity is added to the cosine of every item. A store that serves neither may raise
    :class:`NotImplementedError`.
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
            ``n`` items, similarity ``-inf`` and position ``-1``. A category of ``n`` items answers with ``n``, also
            where the index is approximate: the category rule relies on it. Answers do not depend on the batch.
        """
        ...

    def cosines(self, queries: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        """Cosine of every item to every query ``[Q, r]``, never approximate, shape ``[Q, N]``."""
        ...
