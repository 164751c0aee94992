"""Encoders that need no pretrained weights: fitted on the training split, deterministic, kept for later runs."""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from outfits.encoders.content import content_hash
from outfits.encoders.features import BLOCKS, RAW_DIM, SHARES, SIDE, describe
from outfits.encoders.images import Prepare
from outfits.errors import DataError
from outfits.storage import read_arrays, write_arrays

# Raised when the same training items would give other vectors.
IMAGE_VERSION = 1
TEXT_VERSION = 1

FIT_LIMIT = 20_000  # images that the PCA is fitted on at most; 20,000 descriptors take about 150 MB
MAX_TERMS = 50_000  # most frequent words and word pairs kept in the vocabulary
SEED = 0  # of the randomised solvers: the same training items always give the same vectors
TOKEN = r"(?u)\b\w+\b"

State = dict[str, NDArray[Any]]


def fit_sample(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most :data:`FIT_LIMIT` of these catalogue positions, the same ones every time, in rising order."""
    if len(positions) <= FIT_LIMIT:
        return np.sort(positions)
    return np.sort(np.random.default_rng([SEED, len(positions)]).choice(np.sort(positions), FIT_LIMIT, replace=False))


def images_key(dim: int, digests: Sequence[bytes], background: str = "keep") -> str:
    """Key of :class:`ClassicalImages` fitted on images with these SHA-256."""
    return content_hash([f"classical images {IMAGE_VERSION}", str(dim), background, *digests])


def texts_key(dim: int, texts: Sequence[str]) -> str:
    """Key of :class:`ClassicalTexts` fitted on these texts."""
    return content_hash([f"classical texts {TEXT_VERSION}", str(dim), *texts])


class ClassicalImages:
    """Colour and shape descriptors (:func:`outfits.encoders.features.describe`) reduced by PCA.

    Every block of the descriptor is centred and scaled to its share of the variance before the PCA; each principal
    component is divided by the square root of its standard deviation, halfway to whitening, so that the first few do
    not drown the others. With fewer components than ``dim`` the last columns are zero.

    Args:
        key: from :func:`images_key`.
        mean: descriptor mean over the training items, shape ``[RAW_DIM]``.
        components: linear map of centred descriptors, shape ``[dim, RAW_DIM]``.
        background: ``keep`` or ``cut``, see :func:`~outfits.encoders.features.describe`.
    """

    draft_size = 2 * SIDE

    def __init__(
        self, key: str, mean: NDArray[np.float32], components: NDArray[np.float32], background: str = "keep"
    ) -> None:
        self.key = key
        self.background = background
        self.mean = mean
        self.components = components

    @classmethod
    def fit(cls, images: Iterable[Image.Image], dim: int, key: str, background: str = "keep") -> "ClassicalImages":
        """Fits mean and components.

        Raises:
            DataError: if there are fewer than two images or all look alike.
        """
        described = [describe(image, background) for image in images]
        if len(described) < 2:
            raise DataError(
                f"{len(described)} training item(s) have an image, too few to fit the classical image encoder. "
                "Set encoder.image=none to do without images."
            )
        raw = np.stack(described)
        mean = raw.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = raw - mean
        scale = np.ones(RAW_DIM, dtype=np.float32)
        start = 0
        for name, width in BLOCKS.items():
            block = centred[:, start : start + width]
            deviation = float(np.sqrt(np.square(block, dtype=np.float64).sum(axis=1).mean()))
            scale[start : start + width] = np.sqrt(SHARES[name]) / deviation if deviation > 1e-6 else 0.0
            start += width
        wanted = min(dim, len(raw) - 1, RAW_DIM)
        pca = PCA(wanted, svd_solver="randomized", random_state=SEED).fit(centred * scale)
        spread = np.sqrt(pca.explained_variance_)
        kept = spread > 1e-4 * max(float(spread[0]), 1e-4)
        if not kept.any():
            raise DataError("all images of the training items look alike. Set encoder.image=none to do without images.")
        components = np.zeros((dim, RAW_DIM), dtype=np.float32)
        components[: int(kept.sum())] = pca.components_[kept] * scale / np.sqrt(spread[kept])[:, None]
        return cls(key, mean, components, background)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return len(self.components)

    @property
    def prepare(self) -> Prepare:
        """The descriptor of one image: nearly all of the work, done in loader workers."""
        return partial(describe, background=self.background)

    def to(self, device: torch.device | str) -> None:
        """Does nothing: the map is small and stays on the CPU."""

    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Reduced descriptors, shape ``[B, dim]``."""
        vectors: NDArray[np.float32] = (np.stack(prepared) - self.mean) @ self.components.T
        return vectors

    def state(self) -> State:
        """Arrays that :meth:`from_state` restores."""
        return {"mean": self.mean, "components": self.components}

    @classmethod
    def from_state(cls, key: str, state: State, background: str = "keep") -> "ClassicalImages":
        """The encoder that :meth:`state` was taken from."""
        return cls(key, state["mean"], state["components"], background)


class ClassicalTexts:
    """TF-IDF over words and word pairs, reduced by truncated SVD (latent semantic analysis).

    With fewer components than ``dim`` (a small vocabulary, few texts) the last columns are zero. A text whose words all
    lack in the vocabulary is a zero vector.

    Args:
        key: from :func:`texts_key`.
        terms: the vocabulary, in the order of the columns.
        idf: inverse document frequencies, shape ``[terms]``.
        components: linear map of TF-IDF vectors, shape ``[dim, terms]``.
    """

    def __init__(
        self, key: str, terms: Sequence[str], idf: NDArray[np.float64], components: NDArray[np.float32]
    ) -> None:
        self.key = key
        self.terms = list(terms)
        self.components = components
        self._tfidf = _vectorizer(vocabulary={term: column for column, term in enumerate(terms)})
        self._tfidf.idf_ = idf

    @classmethod
    def fit(cls, texts: Sequence[str], dim: int, key: str) -> "ClassicalTexts":
        """Fits vocabulary, document frequencies and components.

        Raises:
            DataError: if the texts hold no word at all.
        """
        tfidf = _vectorizer(max_features=MAX_TERMS)
        tokenise = tfidf.build_analyzer()
        written = [text for text in texts if tokenise(text)]
        if not written:
            raise DataError("no training item has a text. Set encoder.text=none to do without texts.")
        matrix = tfidf.fit_transform(written)
        wanted = min(dim, *matrix.shape)
        svd = TruncatedSVD(wanted, algorithm="randomized", n_iter=7, random_state=SEED).fit(matrix)
        kept = svd.singular_values_ > 1e-6 * svd.singular_values_[0]
        components = np.zeros((dim, matrix.shape[1]), dtype=np.float32)
        components[: int(kept.sum())] = svd.components_[kept]
        return cls(key, tfidf.get_feature_names_out().tolist(), tfidf.idf_, components)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return len(self.components)

    def to(self, device: torch.device | str) -> None:
        """Does nothing: the map is sparse and stays on the CPU."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Reduced TF-IDF vectors, shape ``[B, dim]``."""
        vectors: NDArray[np.float32] = (self._tfidf.transform(texts) @ self.components.T).astype(np.float32)
        return vectors

    def state(self) -> State:
        """Arrays that :meth:`from_state` restores; the vocabulary as JSON bytes, so that nothing is pickled."""
        terms = np.frombuffer(json.dumps(self.terms).encode("utf-8"), dtype=np.uint8)
        return {"terms": terms, "idf": np.asarray(self._tfidf.idf_), "components": self.components}

    @classmethod
    def from_state(cls, key: str, state: State) -> "ClassicalTexts":
        """The encoder that :meth:`state` was taken from."""
        return cls(key, json.loads(state["terms"].tobytes().decode("utf-8")), state["idf"], state["components"])


def _vectorizer(**settings: Any) -> TfidfVectorizer:
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=TOKEN, **settings)


def read_state(path: Path, key: str) -> State | None:
    """The state stored at ``path``; None if there is none, it is damaged or it belongs to another key."""
    state = read_arrays(path)
    return state if state is not None and "key" in state and str(state.pop("key")) == key else None


def write_state(path: Path, key: str, state: State) -> None:
    """Stores a fitted encoder, atomically, uncompressed."""
    write_arrays(path, {"key": np.array(key), **state})
