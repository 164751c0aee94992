"""What a finished run left in its folder, for evaluating it again without its training products."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lightning_modules.trainer import is_rank_zero
from outfits import run_files
from outfits.data.dataset import OutfitDataset
from outfits.errors import ArtifactError
from outfits.models.frozen import load_generator, load_scorer
from outfits.models.generator import Generator
from outfits.storage import write_text
from outfits.stylist.export import export, is_exported, write_manifest
from pipeline import compatibility
from pipeline.compatibility import Scorers
from pipeline.embeddings import encoder_source
from pipeline.run import Run


def record_dataset(run: Run, dataset: OutfitDataset) -> None:
    """Writes what the run's data are and what a stylist needs of them, or checks that they still are what they were.

    Raises:
        ArtifactError: if catalogue, outfits, splits or embeddings differ from those that the run was made with.
    """
    path = run.folder / run_files.DATASET
    facts = {
        "name": dataset.name,
        "items": len(dataset.catalogue),
        "outfits": len(dataset.outfits),
        "embeddings": dataset.catalogue.require_embeddings.key,
        "digest": _digest(dataset),
    }
    if path.exists():
        recorded = json.loads(path.read_text())
        differing = [name for name, value in facts.items() if recorded.get(name) != value]
        if differing:
            raise ArtifactError(
                f"{path}: the data set now differs from that of the run in {', '.join(differing)}; "
                "restore it, or train a new run"
            )
    elif is_rank_zero():
        described = facts | {"split": dict(dataset.split_facts), "counts": dict(dataset.counts)}
        write_text(path, json.dumps(described, indent=2) + "\n")
    if is_rank_zero():
        _export_for_stylist(run, dataset)


def _export_for_stylist(run: Run, dataset: OutfitDataset) -> None:
    root, cache = Path(run.config.data.root), run.cache
    if is_exported(run.folder, dataset.catalogue.require_embeddings.key):
        write_manifest(run.folder, dataset, root, cache)
    else:
        export(run.folder, dataset, root, cache, encoder_source(run, dataset))


def save_selected(run: Run, dataset: OutfitDataset, counts: NDArray[np.int64]) -> None:
    """Writes how often greedy search selected each item, most often first."""
    if not is_rank_zero():
        return
    frame = pd.DataFrame({"item_id": dataset.catalogue.item_ids, "selected": counts})
    frame = frame[frame["selected"] > 0].sort_values("selected", ascending=False, kind="stable")
    write_text(run.folder / run_files.SELECTED, frame.to_csv(index=False))


def load_finished(run: Run, dataset: OutfitDataset) -> tuple[Scorers, Generator, NDArray[np.int64]]:
    """S and the judge, the generator and the selection counts of a finished run.

    Raises:
        ArtifactError: if the run is not finished or a file of it was changed.
    """
    missing = [name for name in (run_files.COMPATIBILITY, run_files.SELECTED) if not (run.folder / name).exists()]
    if missing:
        raise ArtifactError(f"run {run.folder} lacks {', '.join(missing)}; finish it with train.py resume={run.folder}")
    recorded = json.loads((run.folder / run_files.COMPATIBILITY).read_text())
    scorer = load_scorer(run.folder / run_files.SCORER, recorded["sha256"])
    judge_sha256 = recorded["judge_sha256"]
    judge = load_scorer(run.folder / run_files.JUDGE, judge_sha256) if judge_sha256 else None
    outfits_of_scorer, _ = compatibility.scorer_and_judge_outfits(run, dataset)
    selected = pd.read_csv(run.folder / run_files.SELECTED, dtype={"item_id": str}, keep_default_na=False)
    counts = np.zeros(len(dataset.catalogue), dtype=np.int64)
    counts[[dataset.catalogue.positions[item_id] for item_id in selected["item_id"]]] = selected["selected"]
    return (
        Scorers(scorer, judge, compatibility.measure_scorer(run, dataset, scorer, judge, outfits_of_scorer)),
        load_generator(run.folder / run_files.GENERATOR, scorer.sha256),
        counts,
    )


def _digest(dataset: OutfitDataset) -> str:
    catalogue, outfits = dataset.catalogue, dataset.outfits
    digest = hashlib.sha256(json.dumps([list(catalogue.item_ids), list(catalogue.category_names)]).encode())
    for array in (catalogue.categories, outfits.items, outfits.offsets, outfits.split):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
