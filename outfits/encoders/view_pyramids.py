"""Pyramids of the images of distinct items and of further views of them, computed once for all trainings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from outfits.config.schema.parts import VIEW_KINDS, PartsConfig
from outfits.data.dataset import FurtherImage
from outfits.data.outfits import SPLITS
from outfits.encoders.content import content_hash, image_digests
from outfits.encoders.images import DECODING_ERRORS, Prepare, decode_image, reason
from outfits.encoders.packed import PackedImages
from outfits.encoders.pyramid import PyramidEncoder
from outfits.encoders.views import VERSION, make_view
from outfits.errors import DataError
from outfits.shards import ShardStore, ShardWork

SHARD = 256  # views that are computed and stored together
AS_IT_IS = ""  # kind of an item's image as it is
ITEMS_STREAM, VIEWS_STREAM = 31, 32  # first numbers of seeds
VALID_SHARE = 8  # validation has so many times fewer queries than the test


def split_items(items: NDArray[np.int64], shares: Sequence[float], seed: int) -> dict[str, NDArray[np.int64]]:
    """Splits items at random, ascending in each split.

    Raises:
        DataError: if a split would have fewer than two.
    """
    order = np.random.default_rng([seed, ITEMS_STREAM]).permutation(items)
    ends = np.round(np.cumsum(shares) / sum(shares) * len(items)).astype(int)
    parts = np.split(order, ends[:-1])
    if min(map(len, parts)) < 2:
        sizes = ", ".join(f"{len(part)} {split}" for split, part in zip(SPLITS, parts, strict=True))
        raise DataError(f"of {len(items)} distinct images {sizes}; each split needs two: set parts.shares")
    return {split: np.sort(part) for split, part in zip(SPLITS, parts, strict=True)}


@dataclass(frozen=True)
class ViewPlan:
    """Which images are encoded, ``n`` of them.

    Attributes:
        items: catalogue position of the item of each, int64, shape ``[n]``.
        splits: split of the item, position in :data:`outfits.data.outfits.SPLITS`, int8, shape ``[n]``.
        kinds: kind of view: :data:`AS_IT_IS`, one of :data:`outfits.encoders.views.VIEWS`, or of a further image.
        seeds: numbers of the seeds of made views, int64, shape ``[n]``.
        paths: file of each further image, None for images and views of the catalogue's own.
    """

    items: NDArray[np.int64]
    splits: NDArray[np.int8]
    kinds: Sequence[str]
    seeds: NDArray[np.int64]
    paths: Sequence[Path | None]

    def __len__(self) -> int:
        return len(self.items)

    def rows(self, split: str, kind: str) -> NDArray[np.int64]:
        """Rows of a split and a kind of view."""
        return np.flatnonzero((self.splits == SPLITS.index(split)) & (self._kinds == kind))

    def view_rows(self, split: str) -> NDArray[np.int64]:
        """Rows of all views of a split."""
        return np.flatnonzero((self.splits == SPLITS.index(split)) & (self._kinds != AS_IT_IS))

    @cached_property
    def _kinds(self) -> NDArray[np.str_]:
        return np.array(self.kinds, dtype=np.str_)


def plan_views(
    items: Mapping[str, NDArray[np.int64]],
    further: Mapping[int, Sequence[FurtherImage]],
    config: PartsConfig,
    seed: int,
) -> ViewPlan:
    """Plans every item's image as it is, all views of training items, and one of every kind of queried items.

    Further images of an item stand in the place of views of their kind that would be made.

    Args:
        items: positions by split, of :func:`split_items`.
        further: further images of items by position.
        config: kinds, copies and number of queries.
        seed: seed of the choice of queried items and of the views.
    """
    planned: list[tuple[int, int, str, int, Path | None]] = []
    for code, split in enumerate(SPLITS):
        planned += [(item, code, AS_IT_IS, 0, None) for item in items[split].tolist()]
        asked, copies = items[split], config.copies
        if split != "train":
            count = config.queries if split == "test" else -(-config.queries // VALID_SHARE)
            asked = np.sort(np.random.default_rng([seed, ITEMS_STREAM, code]).permutation(items[split])[:count])
            copies = 1
        for item in asked.tolist():
            images = further.get(item, ())
            if split != "train":  # one view of a kind
                images = list({image.kind: image for image in reversed(images)}.values())
            made = [kind for kind in config.views if all(kind != image.kind for image in images)]
            planned += [(item, code, kind, copy, None) for kind in made for copy in range(copies)]
            planned += [(item, code, image.kind, 0, image.path) for image in images]
    columns: tuple[Any, ...] = tuple(zip(*planned, strict=True))
    return ViewPlan(
        np.array(columns[0], dtype=np.int64),
        np.array(columns[1], dtype=np.int8),
        columns[2],
        np.array(columns[3], dtype=np.int64),
        columns[4],
    )


def plan_key(plan: ViewPlan, images: PackedImages, encoder: PyramidEncoder, seed: int) -> str:
    """Hashes all that the pyramids of a plan are computed from."""
    return content_hash(
        [
            f"views {VERSION} {seed}",
            encoder.key,
            *(images.pixels[item].tobytes() for item in np.unique(plan.items)),
            *(np.ascontiguousarray(part).tobytes() for part in (plan.items, plan.splits, plan.seeds)),
            *plan.kinds,
            *image_digests([path for path in plan.paths if path is not None]),
        ]
    )


@dataclass(frozen=True)
class ViewImages(Dataset[tuple[int, "list[NDArray[np.uint8]] | str"]]):
    """The images of a plan, shard by shard, as a loader's workers make them; or why one cannot be made.

    An exception of a worker would come out with the worker's traceback as its message.
    """

    plan: ViewPlan
    images: PackedImages
    prepare: Prepare
    seed: int

    def __len__(self) -> int:
        return -(-len(self.plan) // SHARD)

    def __getitem__(self, shard: int) -> tuple[int, list[NDArray[np.uint8]] | str]:
        rows = range(shard * SHARD, min((shard + 1) * SHARD, len(self.plan)))
        try:
            return shard, [self.image(row) for row in rows]
        except DataError as error:
            return shard, str(error.args[0])

    def image(self, row: int) -> NDArray[np.uint8]:
        """The image of a row, uint8, ``[S, S, 3 or 4]``; raises DataError if a further one cannot be decoded."""
        plan, path = self.plan, self.plan.paths[row]
        item, kind = int(plan.items[row]), plan.kinds[row]
        if path is not None:
            try:
                found: NDArray[np.uint8] = self.prepare(decode_image(path))
            except DECODING_ERRORS as error:
                way_out = "mend the file, or leave its row out of data.tables.pairs"
                raise DataError(f"further image {path} cannot be decoded ({reason(error)}); {way_out}") from error
            return found
        own = self.images.pixels[item]
        if kind == AS_IT_IS:
            return np.array(own)
        number = sorted(set(plan.kinds)).index(kind)
        rng = np.random.default_rng([self.seed, VIEWS_STREAM, item, number, int(plan.seeds[row])])
        # covers of queries are items of training, so that no query shows a part of another answer
        train = plan.rows("train", AS_IT_IS)
        other = int(plan.items[train[rng.integers(len(train))]])
        return make_view(kind, own, self.images.pixels[other], rng)


class PyramidStore(ShardStore):
    """Pyramids ``[n, R, d]`` of a plan in a folder of the cache."""

    def __init__(self, folder: Path, rows: int) -> None:
        super().__init__(folder, rows, SHARD, "pyramids", counted="pyramids")

    def all(self) -> NDArray[np.float32]:
        """All of them; raises ArtifactError if a shard is missing."""
        return np.concatenate([part["pyramids"] for part in self.read_all()])


def pyramid_work(encoder: PyramidEncoder, store: PyramidStore) -> ShardWork:
    """Work of encoding the shards of :class:`ViewImages`, on the processor; raises DataError where one is none."""

    def encode(made: tuple[int, list[NDArray[np.uint8]] | str]) -> None:
        shard, images = made
        if isinstance(images, str):
            raise DataError(images)
        store.write(shard, {"pyramids": encoder.encode(images)})

    def start(device: torch.device) -> Any:
        return encode

    return start


@dataclass(frozen=True)
class ViewPyramids:
    """A plan with its pyramids, float32, shape ``[n, R, d]``, and their content key."""

    plan: ViewPlan
    pyramids: NDArray[np.float32]
    key: str = ""

    def gallery(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Items of a split, ``[m]``, and pyramids of their images as they are, ``[m, R, d]``."""
        rows = self.plan.rows(split, AS_IT_IS)
        return self.plan.items[rows], self.pyramids[rows]

    def queries(self, split: str) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Places in the gallery of the items that are looked for, ``[q]``, and pyramids of their views, by kind."""
        items, _ = self.gallery(split)
        found = {}
        kinds = {self.plan.kinds[row] for row in self.plan.view_rows(split)}
        for kind in (*(kind for kind in VIEW_KINDS if kind in kinds), *sorted(kinds.difference(VIEW_KINDS))):
            rows = self.plan.rows(split, kind)
            found[kind] = np.searchsorted(items, self.plan.items[rows]), self.pyramids[rows]
        return found
