"""Encoders without pretrained weights: fitted on the training split, deterministic, stored for later runs."""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from outfits import run_files
from outfits.encoders.base import EncoderSource
from outfits.encoders.content import content_hash, image_digests
from outfits.encoders.features import BLOCKS, RAW_DIM, SHARES, SIDE, describe
from outfits.encoders.fitting import (
    SEED,
    State,
    half_whitened,
    kept_state,
    prepared_images,
    read_or_fit,
    sampled_images,
    write_state,
)
from outfits.encoders.images import Prepare
from outfits.errors import DataError

# Raise these when the same training items would give other vectors.
IMAGE_VERSION = 1
TEXT_VERSION = 1

FIT_LIMIT = 20_000  # most images that the PCA is fitted on; 20,000 descriptors take about 150 MB
MAX_TERMS = 50_000  # vocabulary: the most frequent words and word pairs
TOKEN = r"(?u)\b\w+\b"


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
    not dominate. With fewer components than ``dim`` the last columns are zero.

    Args:
        key: from :func:`images_key`.
        state: ``mean``, shape ``[RAW_DIM]``, and ``components`` of centred descriptors, shape ``[dim, RAW_DIM]``.
        background: ``keep`` or ``cut``, see :func:`~outfits.encoders.features.describe`.
    """

    draft_size = 2 * SIDE

    def __init__(self, key: str, state: State, background: str) -> None:
        self.key = key
        self.state = state
        self.background = background

    @staticmethod
    def fit(descriptors: Iterable[NDArray[np.float32]], dim: int) -> State:
        """Fits mean and components to descriptors; DataError if there are fewer than two or all are alike."""
        raw = np.array(list(descriptors), dtype=np.float32).reshape(-1, RAW_DIM)
        return half_whitened(raw, dim, _block_scale(raw), "classical image encoder")

    def keep(self, folder: Path) -> None:
        """Writes the fit to a run's own folder."""
        write_state(folder / run_files.STYLIST_IMAGES, self.key, self.state)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return len(self.state["components"])

    @property
    def prepare(self) -> Prepare:
        """Describes one image: nearly all of the work, done in loader workers."""
        return partial(describe, background=self.background)

    def to(self, device: torch.device | str) -> None:
        """Does nothing: the map is small and stays on the CPU."""

    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Reduced descriptors, shape ``[B, dim]``."""
        vectors: NDArray[np.float32] = (np.stack(prepared) - self.state["mean"]) @ self.state["components"].T
        return vectors


def _block_scale(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the factor of every column that gives each block its share of the variance, shape ``[RAW_DIM]``."""
    scale = np.ones(RAW_DIM, dtype=np.float32)
    if not len(raw):
        return scale
    centred, start = raw - raw.mean(axis=0, dtype=np.float64).astype(np.float32), 0
    for name, width in BLOCKS.items():
        block = centred[:, start : start + width]
        deviation = float(np.sqrt(np.square(block, dtype=np.float64).sum(axis=1).mean()))
        scale[start : start + width] = np.sqrt(SHARES[name]) / deviation if deviation > 1e-6 else 0.0
        start += width
    return scale


class ClassicalTexts:
    """TF-IDF over words and word pairs, reduced by truncated SVD (latent semantic analysis).

    With fewer components than ``dim`` (a small vocabulary, few texts) the last columns are zero. A text without
    any word of the vocabulary is a zero vector.

    Args:
        key: from :func:`texts_key`.
        state: ``terms``, the vocabulary in column order, as JSON bytes, so that nothing is pickled; ``idf``, inverse
            document frequencies, shape ``[terms]``; ``components`` of TF-IDF vectors, shape ``[dim, terms]``.
    """

    def __init__(self, key: str, state: State) -> None:
        self.key = key
        self.state = state
        terms = json.loads(state["terms"].tobytes().decode("utf-8"))
        self._tfidf = _vectorizer(vocabulary={term: column for column, term in enumerate(terms)})
        self._tfidf.idf_ = state["idf"]

    @staticmethod
    def fit(texts: Sequence[str], dim: int) -> State:
        """Fits vocabulary, document frequencies and components; DataError if the texts hold no word at all."""
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
        terms = json.dumps(tfidf.get_feature_names_out().tolist()).encode("utf-8")
        return {"terms": np.frombuffer(terms, dtype=np.uint8), "idf": tfidf.idf_, "components": components}

    def keep(self, folder: Path) -> None:
        """Writes the fit to a run's own folder."""
        write_state(folder / run_files.STYLIST_TEXTS, self.key, self.state)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return len(self.state["components"])

    def to(self, device: torch.device | str) -> None:
        """Does nothing: the map is sparse and stays on the CPU."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Reduced TF-IDF vectors, shape ``[B, dim]``."""
        vectors: NDArray[np.float32] = (self._tfidf.transform(texts) @ self.state["components"].T).astype(np.float32)
        return vectors


def _vectorizer(**settings: Any) -> TfidfVectorizer:
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=TOKEN, **settings)


def build_images(source: EncoderSource) -> ClassicalImages:
    """Returns the image encoder fitted on the training items, or a run's copy of it."""
    config, paths = source.config, source.catalogue.image_paths
    if source.kept is not None:
        return ClassicalImages(*kept_state(source.kept / run_files.STYLIST_IMAGES), config.background)
    sample = sampled_images(source, FIT_LIMIT)
    key = images_key(config.image_dim, image_digests([paths[item] for item in sample]), config.background)
    path = source.state_dir / f"classical-images-{key[:32]}.npz"
    prepare = partial(describe, background=config.background)
    described = prepared_images(source, sample.tolist(), ClassicalImages.draft_size, prepare)
    state = read_or_fit(path, key, lambda: ClassicalImages.fit(described, config.image_dim))
    return ClassicalImages(key, state, config.background)


def build_texts(source: EncoderSource) -> ClassicalTexts:
    """Returns the text encoder fitted on the training items, or a run's copy of it."""
    if source.kept is not None:
        return ClassicalTexts(*kept_state(source.kept / run_files.STYLIST_TEXTS))
    items, dim = np.unique(source.train_items).tolist(), source.config.text_dim
    texts = [source.catalogue.texts[item] for item in items]
    key = texts_key(dim, texts)
    path = source.state_dir / f"classical-texts-{key[:32]}.npz"
    return ClassicalTexts(key, read_or_fit(path, key, lambda: ClassicalTexts.fit(texts, dim)))
