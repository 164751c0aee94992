"""Fits encoders on items of the training split, once, and stores what was fitted for other ranks and later runs."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from outfits.encoders.base import EncoderSource
from outfits.encoders.images import Prepare, item_image
from outfits.errors import ArtifactError, DataError
from outfits.storage import read_arrays, write_arrays

SEED = 0  # of the randomised solvers and the draws of items

State = dict[str, NDArray[Any]]


def fit_sample(positions: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Returns at most ``limit`` of these catalogue positions, always the same ones, in rising order."""
    if len(positions) <= limit:
        return np.sort(positions)
    return np.sort(np.random.default_rng([SEED, len(positions)]).choice(np.sort(positions), limit, replace=False))


def sampled_images(source: EncoderSource, limit: int) -> NDArray[np.int64]:
    """Returns catalogue positions of at most ``limit`` training items with an image, in rising order."""
    paths = source.catalogue.image_paths
    items = np.unique(source.train_items).tolist()
    return fit_sample(np.array([item for item in items if paths[item] is not None], dtype=np.int64), limit)


def prepared_images(
    source: EncoderSource, items: Sequence[int], draft_size: int | None, prepare: Prepare
) -> Iterator[NDArray[Any]]:
    """Yields the images of items as ``prepare`` makes them small, except those that a policy masks."""
    ids, paths = source.catalogue.item_ids, source.catalogue.image_paths

    def one(item: int) -> NDArray[Any] | None:
        image = item_image(paths[item], ids[item], draft_size=draft_size, **source.policies)
        return None if image is None else prepare(image)

    with ThreadPoolExecutor(max_workers=max(1, source.config.num_workers)) as pool:
        yield from (image for image in pool.map(one, items) if image is not None)


def half_whitened(rows: NDArray[np.float32], dim: int, scale: NDArray[np.float32], what: str) -> State:
    """Fits a PCA whose components are divided by the square root of their standard deviation, halfway to whitening.

    So the first few components do not dominate. With fewer components than ``dim`` the last rows are zero.

    Args:
        rows: a row per image, shape ``[n, d]``.
        dim: number of components.
        scale: factor of every column before the PCA, shape ``[d]``.
        what: the encoder, for messages.

    Returns:
        ``mean``, shape ``[d]``, and ``components`` of centred rows, shape ``[dim, d]``.

    Raises:
        DataError: if there are fewer than two rows, or all are alike.
    """
    way_out = "Set encoder.image=none to do without images."
    if len(rows) < 2:
        raise DataError(f"{len(rows)} training item(s) have an image, too few to fit the {what}. {way_out}")
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    wanted = min(dim, len(rows) - 1, rows.shape[1])
    pca = PCA(wanted, svd_solver="randomized", random_state=SEED).fit((rows - mean) * scale)
    spread = np.sqrt(pca.explained_variance_)
    kept = spread > 1e-4 * max(float(spread[0]), 1e-4)
    if not kept.any():
        raise DataError(f"all images of the training items look alike. {way_out}")
    components = np.zeros((dim, rows.shape[1]), dtype=np.float32)
    components[: int(kept.sum())] = pca.components_[kept] * scale / np.sqrt(spread[kept])[:, None]
    return {"mean": mean, "components": components}


def read_or_fit(path: Path, key: str, fit: Callable[[], State]) -> State:
    """Reads the fit of this key from its file, or fits and writes it; a damaged file is written again."""
    state = read_arrays(path)
    if state is None or str(state.pop("key", "")) != key:
        state = fit()
        write_state(path, key, state)
    return state


def kept_state(path: Path) -> tuple[str, State]:
    """Reads key and fit from a run's folder; ArtifactError if the file is missing or damaged."""
    state = read_arrays(path)
    if state is None:
        raise ArtifactError(
            f"{path} is missing or damaged; delete {path.parent}, and `evaluate.py run=…` writes it again"
        )
    return str(state.pop("key")), state


def write_state(path: Path, key: str, state: State) -> None:
    """Writes a fit and its key."""
    write_arrays(path, {"key": np.array(key), **state})
