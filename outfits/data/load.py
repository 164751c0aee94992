"""From the ``data`` section to a clean, split data set: parse, clean, split."""

from collections.abc import Mapping, Sequence

import numpy as np

from outfits.config.schema.data import DATA_FORMATS, DataConfig
from outfits.data.catalogue import Catalogue
from outfits.data.cleaning import clean, clean_items, count_outfits, left_out
from outfits.data.dataset import FillInTheBlank, LabelledOutfit, OutfitDataset, RawDataset
from outfits.data.image_files import image_exists
from outfits.data.interactions import clean_interactions
from outfits.data.outfits import Outfits
from outfits.data.packed_images import with_packed_images
from outfits.data.refinements import Refinement
from outfits.data.splits import assign_splits, near_duplicate_share, pairs_seen, shared_items
from outfits.errors import DataError


def load_dataset(config: DataConfig) -> OutfitDataset:
    """Parses, cleans and splits the data set that the ``data`` section names.

    The official tasks belong to the official splits: with another split mode their outfits may have become training
    outfits, so they are left out and counted. So is a task on an item that the catalogue lacks.

    Args:
        config: the ``data`` section. With ``format=synthetic`` the data set is written to ``root`` first if it is not
            there.

    Raises:
        DataError: for bad input whose policy is ``error``, and for an empty split.
    """
    raw = read(config)
    if raw.item_splits:
        return _without_outfits(raw, config)
    cleaned = clean(raw, config)
    try:
        codes, facts = assign_splits(cleaned.outfits, cleaned.splits, config.split)
    except DataError as error:
        raise DataError(f"{error.args[0]}; before splitting: {left_out(cleaned.counts)}") from None
    kept = np.flatnonzero(codes >= 0)
    outfits = Outfits.from_lists(
        [cleaned.outfit_ids[index] for index in kept],
        [cleaned.outfits[index] for index in kept],
        codes[kept],
        None if cleaned.scores is None else cleaned.scores[kept],
    )
    official = config.split.mode == "official"
    fitb = _known_questions(raw.fitb, cleaned.catalogue) if official or raw.questions_apart else {}
    labelled = _known_rows(raw.labelled, cleaned.catalogue) if official else {}
    counts = {
        **cleaned.counts,
        "outfits left out: items of two splits": len(codes) - len(kept),
        **count_outfits(cleaned.catalogue, list(outfits)),
        "official fill-in-the-blank questions read": _total(raw.fitb),
        "official fill-in-the-blank questions kept": _total(fitb),
        "official compatibility rows read": _total(raw.labelled),
        "official compatibility rows kept": _total(labelled),
    }
    facts |= {"pairs_seen": pairs_seen(outfits), "twin_share": near_duplicate_share(outfits)}
    notes = [*raw.notes, *cleaned.notes]
    if official and (shared := shared_items(outfits)):
        hint = "data.split.strict=true leaves outfits with such items out of the earlier split"
        notes.append(f"the official splits share items: {', '.join(shared)}; {hint}")
    users = None
    if raw.interactions:
        users, of_users = clean_interactions(raw.interactions, cleaned.kept_as, outfits, config)
        counts |= of_users
    known = [image for image in raw.further_images if image.item_id in cleaned.catalogue.positions]
    there = []
    for image in known:
        if image_exists(image.path):
            there.append(image)
        elif config.on_missing_image == "error":
            raise DataError(
                f"item {image.item_id!r}: its further image {image.path} is missing. Set data.on_missing_image=mask to "
                "leave such images out."
            )
    if raw.further_images:
        counts |= {"further images read": len(raw.further_images), "further images kept": len(there)}
    return OutfitDataset(raw.name, cleaned.catalogue, outfits, fitb, labelled, counts, facts, notes, users, there)


def _without_outfits(raw: RawDataset, config: DataConfig) -> OutfitDataset:
    """A data set of items alone, which have splits of their own, with its refinements."""
    catalogue, counts, notes = clean_items(raw, config)
    place = catalogue.positions
    items = {split: np.array([place[one] for one in ids], dtype=np.int64) for split, ids in raw.item_splits.items()}
    refinements: dict[str, list[Refinement]] = {}
    for one in raw.refinements:
        found = Refinement(place[one.reference], place[one.target], one.captions)
        refinements.setdefault(one.split, []).append(found)
    counts |= {f"items of {split}": len(positions) for split, positions in items.items()}
    counts |= {f"refinements of {split}": len(rows) for split, rows in refinements.items()}
    facts: dict[str, object] = {"mode": "items", "pairs_seen": 0.0, "twin_share": 0.0}
    outfits = Outfits.from_lists([], [], [])
    notes = [*raw.notes, *notes, "the data have no outfits; stage multitask alone can learn from them"]
    return OutfitDataset(
        raw.name, catalogue, outfits, {}, {}, counts, facts, notes, refinements=refinements, item_splits=items
    )


def read(config: DataConfig) -> RawDataset:
    """What the reader of ``config.format`` reads from ``config.root``.

    Raises:
        DataError: if the root does not exist or its files are not as the format has them.
    """
    raw: RawDataset = DATA_FORMATS[config.format].load()(config)
    return with_packed_images(raw, config)


def _known_questions(
    fitb: Mapping[str, Sequence[FillInTheBlank]], catalogue: Catalogue
) -> dict[str, list[FillInTheBlank]]:
    known = catalogue.positions.keys()
    return {
        split: [task for task in tasks if known >= {*task.question, *task.answers}] for split, tasks in fitb.items()
    }


def _known_rows(
    labelled: Mapping[str, Sequence[LabelledOutfit]], catalogue: Catalogue
) -> dict[str, list[LabelledOutfit]]:
    known = catalogue.positions.keys()
    return {split: [task for task in tasks if known >= set(task.item_ids)] for split, tasks in labelled.items()}


def _total(tasks: Mapping[str, Sequence[object]]) -> int:
    return sum(len(of_split) for of_split in tasks.values())
