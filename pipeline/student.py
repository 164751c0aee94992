"""Trains the student of two-stage search on scores of S for a share of the training outfits, then freezes it."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lightning_modules.sharded import run_once
from lightning_modules.trainer import before_writing, on_rank_zero
from outfits import run_files
from outfits.data.dataset import OutfitDataset
from outfits.mining.distillation import (
    DistillationSplit,
    teaching_calls,
    teaching_store,
    teaching_work,
    train_student,
)
from outfits.mining.mined import training_tasks
from outfits.models.frozen import FrozenScorer, load_student
from outfits.models.student import TwoTower
from outfits.shards import ShardStore
from outfits.weights import save_network, weights_digest
from pipeline.cached import to_be_made
from pipeline.run import Run, content_key
from pipeline.shards import compute_shards

# options without influence on the student, or only through the tasks, which are in the key
NOT_LEARNING = ("candidates", "share", "audit_share", "audit_min", "max_regret", "on_regret")


@dataclass(frozen=True)
class TaughtStudent:
    """Holds a student in evaluation mode.

    Attributes:
        digest: SHA-256 over its weights.
        split: outfits that taught it, and outfits that are audited.
        calls: calls of S that teaching took.
    """

    module: TwoTower
    digest: str
    split: DistillationSplit
    calls: int


def teach_student(run: Run, dataset: OutfitDataset, scorer: FrozenScorer) -> TaughtStudent:
    """Teaches the student on every device of the trainer and trains it on one, or loads a finished one.

    Raises:
        DataError: if there are too few outfits to teach and to audit with.
    """
    config, catalogue, seed = run.config.targets, dataset.catalogue, run.config.seed
    tasks = training_tasks(dataset, run.config.model.k, config, seed)
    split = DistillationSplit.of(tasks.asking_for(run.config.model.k_max), config, seed)
    options = asdict(config.two_stage)
    key = content_key(
        scorer.sha256,
        catalogue.require_embeddings.key,
        catalogue.categories.tolist(),
        [tasks.digest() for tasks in split.rounds],
        [options[name] for name in sorted(options) if name not in NOT_LEARNING],
        [run.search_precision(), config.shard_size, seed],
    )
    folder = run.cache / "students" / f"student-{key}"
    rounds: list[ShardStore] = []
    student: TwoTower | None = None
    for number, tasks in enumerate(split.rounds, start=1):
        store = teaching_store(folder / f"round-{number}", tasks, config.shard_size)
        path = folder / f"student-{number}.safetensors"
        rounds.append(store)
        missing, trained = before_writing(store.pending), before_writing(path.exists)
        if missing or not trained:
            run.require("targets", wanted_by="two-stage search")
        if missing:
            what = f"S scores additions to {len(tasks):,} training tasks, {len(missing)} of {len(store)} shards"
            run.log("targets", f"teaching the student, round {number} of {len(split.rounds)}: {what}")
            teaching = teaching_work(store, tasks, scorer.module, catalogue, config, student, seed + number)
            compute_shards(run, "targets", store, teaching)
        if not trained:
            _train(run, dataset, scorer, rounds, path)
        elif not missing:
            run.log("targets", f"reusing the student in {path}")
        student = load_student(path, scorer.sha256)
    if student is None:
        raise RuntimeError("a split has at least one round")
    taught = TaughtStudent(student, weights_digest(student), split, teaching_calls(rounds))
    on_rank_zero(lambda: save_network(taught.module, run.folder / run_files.STUDENT, scorer_sha256=scorer.sha256))
    return taught


def _train(run: Run, dataset: OutfitDataset, scorer: FrozenScorer, rounds: list[ShardStore], path: Path) -> None:
    config, seed = run.config.targets, run.config.seed

    def train(device: torch.device) -> None:
        student = train_student(rounds, scorer.module, dataset.catalogue, config, seed, device)
        save_network(student, path, scorer_sha256=scorer.sha256)

    with to_be_made(run, path, "targets", "the student") as missing:
        if missing:
            run.log("targets", f"training the student → {path}")
            run_once(train, run.config.trainer)


def student_of(run: Run, dataset: OutfitDataset, scorer: FrozenScorer) -> TwoTower:
    """Loads the run's student, or teaches it now if the run has none, since it mined exactly.

    Raises ArtifactError also if it was taught by another S.
    """
    path = run.folder / run_files.STUDENT
    if before_writing(path.exists):
        return load_student(path, scorer.sha256)
    return teach_student(run, dataset, scorer).module
