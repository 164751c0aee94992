"""A linear probe of item embeddings: what compatibility they hold before a transformer learns from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from torch import Tensor

from outfits.data.catalogue import Catalogue
from outfits.data.outfits import Outfits
from outfits.metrics.compatibility import auc, set_logits
from outfits.metrics.questions import replacement_negatives

WIDTH = 256  # principal components of the item vectors
INVERSE_STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)  # of regularisation, to choose from
PAIRS = 16_384  # computed at once


@dataclass(frozen=True)
class Probe:
    """Logistic regression on pairs of frozen embeddings, after the benchmark of A. Farzadjamali (2026).

    A set is the mean over its unordered pairs of ``|x - y|`` and ``x · y``, both elementwise, of items' vectors after
    standardisation and PCA, scaled to unit length.

    Attributes:
        vectors: reduced vectors of the catalogue, shape ``[N, w]``.
        model: standardisation and regression.
    """

    vectors: NDArray[np.float32]
    model: Pipeline

    def ragged_logits(self, sets: Sequence[NDArray[np.integer]]) -> Tensor:
        """Logits of sets, shape ``[len(sets)]``."""
        logits = self.model.decision_function(pair_features(self.vectors, sets))
        return torch.from_numpy(np.asarray(logits, dtype=np.float32))


def fit_probe(catalogue: Catalogue, train: Outfits, valid: Outfits, seed: int) -> Probe | None:
    """Fits the probe on outfits and on them with one item replaced by another of its category.

    The strength of regularisation is that with the best AUC on the validation outfits. Returns None if no training
    outfit allows a replacement.

    Args:
        catalogue: items with embeddings.
        train: outfits of the training split; items in them fit standardisation and PCA.
        valid: outfits of the validation split.
        seed: seed of the replacements.
    """
    sets, held_out = (
        replacement_negatives(part, catalogue.categories, seed, same_category=True) for part in (train, valid)
    )
    if not sets.positives:
        return None
    vectors, items = catalogue.require_embeddings.vectors, np.unique(train.items)
    width = min(WIDTH, vectors.shape[1], len(items))
    reduce = make_pipeline(StandardScaler(), PCA(width, svd_solver="full")).fit(vectors[items])
    reduced = normalize(reduce.transform(vectors)).astype(np.float32)
    rows = pair_features(reduced, [*sets.positives, *sets.negatives])
    labels = np.arange(len(rows)) < len(sets.positives)
    best: tuple[float, Pipeline] | None = None
    for inverse in INVERSE_STRENGTHS if held_out.positives else (1.0,):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=inverse, max_iter=2000)).fit(rows, labels)
        found = auc(*set_logits(held_out, Probe(reduced, model))) if held_out.positives else 0.0
        if best is None or found > best[0]:
            best = found, model
    assert best is not None
    return Probe(reduced, best[1])


def pair_features(vectors: NDArray[np.float32], sets: Sequence[NDArray[np.integer]]) -> NDArray[np.float32]:
    """Means over the pairs of each set of ``|x - y|`` and ``x · y``, ``[len(sets), 2 w]``; 0 where there is none."""
    found = np.zeros((len(sets), 2 * vectors.shape[1]), dtype=np.float32)
    sizes = np.array([len(items) for items in sets])
    for size in np.unique(sizes[sizes > 1]):
        first, second = np.triu_indices(size, 1)
        rows, together = np.flatnonzero(sizes == size), max(1, PAIRS // len(first))
        for start in range(0, len(rows), together):
            some = rows[start : start + together]
            items = vectors[np.stack([sets[row] for row in some])]  # [B, n, w]
            one, other = items[:, first], items[:, second]
            found[some] = np.concatenate([np.abs(one - other).mean(axis=1), (one * other).mean(axis=1)], axis=1)
    return found
