"""How much users like sets of items, by a frozen HFGN over a catalogue."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.data.outfits import Outfits
from outfits.data.users import UserOutfits
from outfits.graphs.user_graph import sets_graph, user_graph
from outfits.models.hfgn import Hfgn

SETS_AT_ONCE = 8192
"""Sets whose graph and vectors are in memory together."""


class Preferences:
    """Users and sets of catalogue and external items as HFGN's vectors.

    Args:
        model: in evaluation mode.
        catalogue: items, with embeddings if the model was trained on some.
        outfits: outfits of the data.
        users: what users like.

    Attributes:
        user_vectors: known users, shape ``[U, d]``.
        outfit_vectors: outfits of the data, shape ``[M, d]``.
    """

    def __init__(self, model: Hfgn, catalogue: Catalogue, outfits: Outfits, users: UserOutfits) -> None:
        self.model = model
        self.users = users
        seen = catalogue if model.sizes["embedding_dim"] else replace(catalogue, embeddings=None)
        graph = user_graph(seen, outfits, users)
        with torch.inference_mode():
            of_users, of_outfits = model.vectors(graph)
            self._items = model.items(graph)
        self.user_vectors: NDArray[np.float32] = of_users.numpy()
        self.outfit_vectors: NDArray[np.float32] = of_outfits.numpy()
        self._weights = graph.category_weights
        self._categories = catalogue.categories.astype(np.int64)

    def with_external(self, external: ItemEmbeddings, categories: NDArray[np.integer]) -> "Preferences":
        """Copies it for sets that hold external items, at the positions after the catalogue's."""
        other = copy(self)
        vectors = torch.from_numpy(external.vectors) if self.model.sizes["embedding_dim"] else None
        with torch.inference_mode():
            states = self.model.item_states(torch.from_numpy(categories.astype(np.int64)), None, vectors)
        other._items = torch.cat([self._items, states])
        other._categories = np.concatenate([self._categories, categories])
        return other

    def of_sets(self, sets: Sequence[NDArray[np.integer]]) -> NDArray[np.float32]:
        """f(O) of sets of positions, shape ``[m, d]``."""
        found = []
        for start in range(0, len(sets), SETS_AT_ONCE):
            graph = sets_graph(sets[start : start + SETS_AT_ONCE], self._categories, self._weights)
            with torch.inference_mode():
                found.append(self.model.outfits(self.model.members(self._items, graph), graph).numpy())
        return np.concatenate(found)

    def folded_in(self, outfits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The vector ``[d]`` of a new user, as far as liked outfits ``[n, d]`` tell it; nothing is trained."""
        history = torch.from_numpy(outfits.sum(0, keepdims=True)) / len(outfits) ** 0.5
        with torch.inference_mode():
            found: NDArray[np.float32] = self.model.users(history)[0].numpy()
        return found


@dataclass(frozen=True)
class UserPreference:
    r"""The term :math:`\beta \langle f(O), u \rangle` of a completion's objective, for a batch of outfits.

    Attributes:
        preferences: gives f(O).
        users: u of every outfit, shape ``[B, d]``.
        beta: its weight.
    """

    preferences: Preferences
    users: NDArray[np.float32]
    beta: float

    def take(self, rows: NDArray[np.integer]) -> "UserPreference":
        """The term for these outfits of the batch."""
        return replace(self, users=self.users[rows])

    def of_additions(self, row: int, outfit: NDArray[np.integer], items: NDArray[np.integer]) -> NDArray[np.float64]:
        """The term for a part ``[n]`` of the completion of outfit ``row`` with one of the items ``[m]`` each."""
        return self(row, np.concatenate([np.tile(outfit, (len(items), 1)), items[:, None]], axis=1))

    def __call__(self, row: int, sets: NDArray[np.integer]) -> NDArray[np.float64]:
        """The term for whole outfits ``[m, n]`` that complete outfit ``row``, shape ``[m]``."""
        vectors = self.preferences.of_sets(list(sets))
        liked: NDArray[np.float64] = self.beta * (vectors @ self.users[row]).astype(np.float64)
        return liked
