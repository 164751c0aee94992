"""Finds items of a run's catalogue by the parts of their images, with GRNet of stage ``parts``."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from outfits import run_files
from outfits.config.schema import Config
from outfits.data.catalogue import Catalogue
from outfits.encoders.images import DECODING_ERRORS, ImageSource, decode_image, image_name, reason
from outfits.encoders.pyramid import PyramidEncoder, load_pyramids
from outfits.errors import ArtifactError, DataError
from outfits.models.frozen import load_grnet
from outfits.models.pyramid_similarity import (
    CataloguePyramids,
    PartAgreement,
    evidence_of,
    global_vectors,
    part_agreement,
    similarity_of,
)
from outfits.stylist.garments import Garment

REMEMBERED = 256  # images whose pyramids are kept

Pyramid = NDArray[np.float32]


@dataclass(frozen=True)
class PartComparison:
    """S_X of two items by their parts, in [-1, 1], and what each part adds to GRNet's logit."""

    similarity: float
    agreement: PartAgreement


class PartsSearch:
    """GRNet over a catalogue: it ranks the items nearest by the global vector anew.

    Args:
        folder: the run's folder.
        config: its configuration.
        exported: its catalogue as it was exported, whose pyramids the run keeps.

    Raises:
        ArtifactError: if the run has no stage ``parts``, or a file of it was changed.
    """

    def __init__(self, folder: Path, config: Config, exported: Catalogue) -> None:
        if not (folder / run_files.GRNET).is_file():
            raise ArtifactError(
                f"run {folder} cannot compare parts; train one with stages=[embeddings,compatibility,parts]"
            )
        self.model = load_grnet(folder / run_files.GRNET)
        self.candidates = config.parts.candidates
        self.stored = CataloguePyramids.load(folder / run_files.STYLIST / run_files.STYLIST_PYRAMIDS)
        self.exported = exported
        if len(self.stored.rows) != len(exported):
            raise ArtifactError(
                f"run {folder}: {run_files.STYLIST_PYRAMIDS} is of another catalogue; "
                f"`python evaluate.py run={folder}` writes it again"
            )

        @lru_cache(maxsize=1)
        def encoder() -> PyramidEncoder:
            return load_pyramids(config, folder / run_files.STYLIST / run_files.STYLIST_PYRAMID_FIT)

        self._encoder: Callable[[], PyramidEncoder] = encoder
        self._of_file = lru_cache(maxsize=REMEMBERED)(self._encoded)

    def similar(
        self, piece: Pyramid, catalogue: Catalogue, among: NDArray[np.int64], top: int
    ) -> list[tuple[int, float]]:
        """The items of a catalogue that a pyramid ``[R, d]`` shows most likely, with their S_X.

        Args:
            piece: of :meth:`pyramid`.
            catalogue: the catalogue as it is now.
            among: positions in it that may be found; those without an image are not.
            top: items to return at most.
        """
        places, pyramids = self._pyramids(catalogue, among)
        nearest = np.argsort(-(global_vectors(pyramids) @ piece[0]), kind="stable")[: max(top, self.candidates)]
        with torch.inference_mode():
            evidence = evidence_of(self.model, piece, pyramids[nearest])
        order = np.argsort(-evidence, kind="stable")[:top]
        similarity = similarity_of(evidence)
        return [(int(places[nearest[row]]), float(similarity[row])) for row in order.tolist()]

    def compare(self, one: Pyramid, other: Pyramid) -> PartComparison:
        """Compares the parts of two pyramids ``[R, d]``."""
        with torch.inference_mode():
            similarity = float(similarity_of(evidence_of(self.model, one, other[None]))[0])
        return PartComparison(similarity, part_agreement(self.model, one, other))

    def pyramid(self, piece: Garment | int, catalogue: Catalogue) -> Pyramid:
        """Pyramid ``[R, d]`` of a garment's photo or of the item at a catalogue position.

        Raises:
            DataError: if there is no image, or it cannot be opened.
        """
        if isinstance(piece, Garment):
            if piece.image is None:
                raise DataError(f"own {piece.category}: has no image, so it has no parts; give a photo")
            return self._encoded(piece.path or piece.image)
        places, found = self._pyramids(catalogue, np.array([piece]))
        if not len(places):
            raise DataError(f"item {catalogue.item_ids[piece]!r} has no image, so it has no parts; choose another")
        pyramid: Pyramid = found[0]
        return pyramid

    def _pyramids(self, catalogue: Catalogue, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], Pyramid]:
        """Positions of those items that have an image, and their pyramids: kept ones, and those of added items."""
        if catalogue is self.exported:
            there = positions[self.stored.rows[positions] >= 0]
            return there, self.stored.take(there)
        places, found = [], []
        for position in positions.tolist():
            kept = self.exported.positions.get(catalogue.item_ids[position])
            path = catalogue.image_paths[position]
            if kept is not None and catalogue.image_paths[position] == self.exported.image_paths[kept]:
                if self.stored.rows[kept] >= 0:
                    places.append(position)
                    found.append(self.stored.take(np.array([kept]))[0])
            elif path is not None:
                places.append(position)
                found.append(self._of_file(path, f"of item {catalogue.item_ids[position]!r}"))
        shape = (0, *self.stored.pyramids.shape[1:])
        return np.array(places, dtype=np.int64), np.stack(found) if found else np.zeros(shape, dtype=np.float32)

    def _encoded(self, source: ImageSource, name: str | None = None) -> Pyramid:
        """The pyramid of an image, which messages call by this name or by its file's."""
        encoder = self._encoder()
        try:
            image = decode_image(source, 2 * encoder.network.image_size)
        except FileNotFoundError:
            text = name or f"{image_name(source)}; paths count from the working folder"
            raise DataError(f"there is no image {text}") from None
        except DECODING_ERRORS as error:
            raise DataError(f"image {name or image_name(source)} cannot be opened ({reason(error)})") from error
        pyramid: Pyramid = encoder.encode([encoder.prepare(image)])[0]
        return pyramid
