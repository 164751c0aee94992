"""What a run's multi-task encoder does beside embedding: refines, captions and categorises."""

import errno
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from outfits import run_files
from outfits.config.schema.multitask import CAPTIONING, RECOGNITION, REFINEMENT
from outfits.data.catalogue import Catalogue
from outfits.encoders.base import ItemEncoder
from outfits.encoders.images import DECODING_ERRORS, ImageSource, decode_image, image_name, item_image, reason
from outfits.encoders.multitask.batch import pixels_of
from outfits.encoders.multitask.captions import caption
from outfits.encoders.multitask.encoder import Multitask, MultitaskImages, MultitaskTexts
from outfits.errors import ArtifactError, ConfigError, DataError
from outfits.storage import read_arrays, write_arrays

BATCH = 256  # images that are decoded at once


def multitask_of(encoder: ItemEncoder) -> Multitask | None:
    """The multi-task model of an item encoder; None where it has none."""
    for part in (encoder.image, encoder.text):
        if isinstance(part, MultitaskImages | MultitaskTexts):
            return part.model
    return None


class Refiner:
    """Answers with a multi-task model over a catalogue.

    Args:
        model: the model.
        catalogue: the items that may be found, those with an image.
        folder: where vectors of a catalogue stay; None: nowhere.
        before: a refiner of the catalogue before items joined or left, whose vectors are taken over; None: none.
    """

    def __init__(
        self, model: Multitask, catalogue: Catalogue, folder: Path | None, before: "Refiner | None" = None
    ) -> None:
        self.model = model
        self.catalogue = catalogue
        self._folder = folder
        self._before = before

    @cached_property
    def gallery(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Vectors of all items as refinements find them ``[N, d]``, zero where there is no image, and which have one.

        Embeds the catalogue's images at the first call, unless the run's folder has their vectors.

        Raises:
            ArtifactError: if no item has an image.
        """
        self.require(REFINEMENT)
        catalogue = self.catalogue
        vectors = np.zeros((len(catalogue), self.model.dim), dtype=np.float32)
        present = np.zeros(len(catalogue), dtype=np.bool_)
        missing = list(range(len(catalogue)))
        if self._before is not None:
            of_before, there = self._before.gallery
            before = self._before.catalogue
            places = [before.positions.get(item_id, -1) for item_id in catalogue.item_ids]
            # an item may have come back under its id with another image
            places = [
                place if place >= 0 and before.image_paths[place] == path else -1
                for place, path in zip(places, catalogue.image_paths, strict=True)
            ]
            missing = [item for item, place in enumerate(places) if place < 0]
            kept = [item for item, place in enumerate(places) if place >= 0]
            from_before = [places[item] for item in kept]
            vectors[kept], present[kept] = of_before[from_before], there[from_before]
        elif (stored := self._stored()) is not None:
            vectors, present = stored
            missing = np.flatnonzero(~present).tolist()  # whose images may have come since
        known = int(present.sum())
        for start in range(0, len(missing), BATCH):
            some = [
                (item, image)
                for item in missing[start : start + BATCH]
                if (image := self._item_image(item)) is not None
            ]
            if some:
                rows = [item for item, _ in some]
                vectors[rows], present[rows] = self.model.image_vectors([image for _, image in some], REFINEMENT), True
        if not present.any():
            raise ArtifactError(
                "no image of the catalogue can be opened, by which refinements find items; give data_root, the folder "
                "of the data set"
            )
        if self._before is None and present.sum() > known:
            self._store(vectors, present)
        return vectors, present

    def refine(self, image: NDArray[np.uint8], text: str) -> NDArray[np.float32]:
        """Similarity of every item to what a prepared image would be if a text came true, ``[N]``; -1 without image.

        Raises:
            ConfigError: if the model has not learned to refine.
            DataError: if it knows no word of the text.
        """
        self.require(REFINEMENT)
        vectors, present = self.gallery
        query = self.query(image, text)
        found: NDArray[np.float32] = np.where(present, vectors @ query, np.float32(-1))
        return found

    @torch.inference_mode()
    def query(self, image: NDArray[np.uint8], text: str) -> NDArray[np.float32]:
        """The vector of unit length ``[d]`` that :meth:`refine` looks for."""
        tokens = self.model.stored.tokens
        if not isinstance(text, str):
            raise TypeError(f"a text is expected, not {type(text).__name__}")
        if not tokens.known([text])[0]:
            raise DataError(f"text {text!r}: the run's model knows none of its words; use words of the catalogue")
        found = self.model.stored.network.refined(self._images([image]), tokens([text]).to(self.model.device))
        query: NDArray[np.float32] = found[0].float().cpu().numpy()
        return query

    def caption(self, image: NDArray[np.uint8], width: int = 3) -> str:
        """A text for a prepared image; raises ConfigError if the model has not learned captions."""
        self.require(CAPTIONING)
        return caption(self.model.stored.network, self.model.stored.tokens, self._images([image]), width)[0]

    @torch.inference_mode()
    def categorise(self, image: NDArray[np.uint8], text: str = "") -> list[tuple[str, float]]:
        """Categories of a prepared image with their probabilities, the likeliest first.

        Raises ConfigError if the model has not learned categories.
        """
        self.require(RECOGNITION)
        stored = self.model.stored
        logits = stored.network.class_logits(self._images([image]), stored.tokens([text]).to(self.model.device))
        chances = logits[0].float().softmax(-1).cpu().numpy()
        return [(stored.categories[one], float(chances[one])) for one in np.argsort(-chances, kind="stable").tolist()]

    def prepared(self, source: ImageSource, name: str | None = None) -> NDArray[np.uint8]:
        """Decodes and resizes an image for the model; DataError, with its name or file, if it cannot be opened."""
        settings = self.model.stored.network.clip_settings
        try:
            image = decode_image(source, 2 * settings.image_size)
        except FileNotFoundError:
            raise DataError(f"there is no image {name or image_name(source)}") from None
        except DECODING_ERRORS as error:
            raise DataError(f"image {name or image_name(source)} cannot be opened ({reason(error)})") from error
        found: NDArray[np.uint8] = settings.prepare(image)
        return found

    def require(self, task: str) -> None:
        """Raises ConfigError if the model has not learned a task."""
        if task not in self.model.tasks:
            learned = ", ".join(self.model.tasks)
            raise ConfigError([f"the run's model has learned {learned}, not {task}; train one with multitask.tasks"])

    def _images(self, prepared: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        pixels = torch.from_numpy(np.stack(prepared)).to(self.model.device)
        return pixels_of(self.model.stored.network, pixels)

    def _item_image(self, item: int) -> NDArray[np.uint8] | None:
        settings = self.model.stored.network.clip_settings
        image = item_image(
            self.catalogue.image_paths[item],
            self.catalogue.item_ids[item],
            on_missing_image="mask",
            on_corrupt_image="mask",
            draft_size=2 * settings.image_size,
        )
        return None if image is None else settings.prepare(image)

    def _store(self, vectors: NDArray[np.float32], present: NDArray[np.bool_]) -> None:
        """Keeps the vectors in the run's folder, unless that may only be read."""
        if self._folder is None:
            return
        key = np.array([self.model.key, *self.catalogue.item_ids])
        try:
            write_arrays(
                self._folder / run_files.STYLIST_REFINEMENT, {"key": key, "vectors": vectors, "present": present}
            )
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise

    def _stored(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        """The vectors that the run's folder has of this catalogue and model."""
        arrays = None if self._folder is None else read_arrays(self._folder / run_files.STYLIST_REFINEMENT)
        if arrays is None or not {"key", "vectors", "present"} <= arrays.keys():
            return None
        same = arrays["key"].tolist() == [self.model.key, *self.catalogue.item_ids]
        return (arrays["vectors"], arrays["present"]) if same else None
