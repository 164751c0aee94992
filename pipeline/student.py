"""The student of two-stage search: taught by S on a share of the training outfits, then frozen."""

from dataclasses import asdict, dataclass

from lightning_modules.sharded import run_shards
from lightning_modules.trainer import is_rank_zero, wait_for_all_ranks
from outfits import run_files
from outfits.data.dataset import OutfitDataset
from outfits.mining.distillation import DistillationSplit, StudentTraining, TeacherScoring
from outfits.mining.mined import training_tasks
from outfits.models.frozen import FrozenScorer, load_student, save_student
from outfits.models.student import TwoTower
from outfits.weights import weights_digest
from pipeline.run import Run, content_key

TWO_STAGE = ("greedy_two_stage", "beam_two_stage")
"""Methods that need a student of S."""
NOT_LEARNING = ("candidates", "share", "audit_share", "audit_min", "max_regret", "on_regret")  # tasks say who teaches


@dataclass(frozen=True)
class TaughtStudent:
    """A student and what it took.

    Attributes:
        module: the student, in evaluation mode.
        digest: SHA-256 over its weights.
        split: which outfits taught it, and which are audited.
        calls: calls of S that teaching took.
    """

    module: TwoTower
    digest: str
    split: DistillationSplit
    calls: int


def train_student(run: Run, dataset: OutfitDataset, scorer: FrozenScorer) -> TaughtStudent:
    """Teaches the student on every device of the trainer and trains it on one, or loads what is there.

    Raises:
        ArtifactError: if it is missing and stage ``targets`` was not asked for.
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
    taught: list[TeacherScoring] = []
    student: TwoTower | None = None
    for number, tasks in enumerate(split.rounds, start=1):
        place = folder / f"round-{number}"
        teaching = TeacherScoring(place, tasks, scorer.module, catalogue, config, student, seed + number)
        taught.append(teaching)
        training = StudentTraining(folder / f"student-{number}.safetensors", list(taught), scorer.sha256, seed)
        missing, untrained = len(teaching.pending()), len(training.pending())
        wait_for_all_ranks()  # nobody writes before everybody has looked
        if missing or untrained:
            run.require("targets", wanted_by="two-stage search")
        if missing:
            what = f"S scores additions to {len(tasks):,} training tasks, {missing} of {teaching.shards} shards"
            run.log("targets", f"teaching the student, round {number} of {len(split.rounds)}: {what}")
            run_shards(teaching, run.config.trainer)
        if untrained:
            run.log("targets", f"training the student → {training.path}")
            run_shards(training, run.config.trainer)
        elif not missing:
            run.log("targets", f"reusing the student in {training.path}")
        student = training.student()
    if student is None:
        raise RuntimeError("a split has at least one round")
    if is_rank_zero():
        save_student(student, run.folder / run_files.STUDENT, scorer.sha256)
    wait_for_all_ranks()
    return TaughtStudent(student, weights_digest(student), split, sum(part.calls() for part in taught))


def wants_student(run: Run) -> bool:
    """Whether a method that needs a student is asked for."""
    config = run.config.evaluate
    texts = (*config.methods, *config.condition_methods, *config.sweep.methods)
    return any(text.partition(":")[0] in TWO_STAGE for text in texts)


def student_of(run: Run, dataset: OutfitDataset, scorer: FrozenScorer) -> TwoTower:
    """The run's student, taught now if the run has none, since it mined exactly.

    Raises:
        ArtifactError: if it is missing and stage ``targets`` was not asked for, or was taught by another S.
    """
    path = run.folder / run_files.STUDENT
    there = path.exists()
    wait_for_all_ranks()  # nobody writes before everybody has looked
    return load_student(path, scorer.sha256) if there else train_student(run, dataset, scorer).module
