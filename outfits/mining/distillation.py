"""Distillation of S into a student: S scores some candidates beside a share of the training outfits, the student learns
the scores.

The outfits are split into rounds. In the first round candidates are random; in every later one half of them are the
best of the student as it then is, which are the ones it must tell apart. An outfit gives one state per step of a
search: the given items, then those with S's best of the scored candidates added.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from outfits.completion.context import MethodContext
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.methods import methods_needing
from outfits.config.schema.targets import TargetsConfig
from outfits.data.catalogue import Catalogue
from outfits.errors import DataError
from outfits.mining.search import ShardNumbers
from outfits.models.compatibility import OutfitTransformer
from outfits.models.frozen import load_student, save_student
from outfits.models.student import TeacherScores, TwoTower, distil
from outfits.shard_files import ShardFiles
from outfits.storage import Arrays

TEACHING_STREAM, AUDIT_STREAM, DEAL_STREAM = 21, 22, 23  # first numbers of seeds: no two kinds of draw share a stream


@dataclass(frozen=True)
class DistillationSplit:
    """Which tasks are audited, and which teach the student in which round.

    Attributes:
        audited: positions of outfits that are also mined exactly, ascending, int64.
        rounds: tasks without conditions that teach, round by round; no audited outfit is among them.
    """

    audited: NDArray[np.int64]
    rounds: tuple[CompletionTasks, ...]

    @classmethod
    def of(cls, tasks: CompletionTasks, config: TargetsConfig, seed: int) -> "DistillationSplit":
        """Draws outfits for both, with all their removals.

        At most half of the outfits are audited, so that some are left to teach.

        Args:
            tasks: training tasks without conditions.
            config: shares and rounds.
            seed: seed of the draws.

        Raises:
            DataError: if there are too few outfits for both.
        """
        options = config.two_stage
        outfits = np.unique(tasks.outfits)
        fewest = 2 * max(2, options.rounds)  # at most half are audited
        if len(outfits) < fewest:
            raise DataError(
                f"a student of S needs at least {fewest} training outfits to be taught and audited, not "
                f"{len(outfits)}; set targets.search=exact and evaluate without "
                f"{' and '.join(methods_needing('student'))}"
            )
        wanted = max(options.audit_min, round(options.audit_share * len(outfits)))
        audited = _draw(outfits, min(wanted, len(outfits) // 2), [seed, AUDIT_STREAM])
        rest = np.setdiff1d(outfits, audited)
        teaching = min(len(rest), max(options.rounds, round(options.share * len(outfits))))
        dealt = np.random.default_rng([seed, DEAL_STREAM]).permutation(_draw(rest, teaching, [seed, TEACHING_STREAM]))
        return cls(
            audited,
            tuple(
                tasks.take(np.flatnonzero(np.isin(tasks.outfits, dealt[number :: options.rounds])))
                for number in range(options.rounds)
            ),
        )


def _draw(outfits: NDArray[np.int64], count: int, seed: list[int]) -> NDArray[np.int64]:
    """Some of the outfits, ascending; those of a smaller count are among those of a larger one."""
    draw = np.random.default_rng(seed).random(int(outfits.max()) + 1)[outfits]
    return np.sort(outfits[np.argsort(draw, kind="stable")[:count]])


class TeacherScoring:
    """S's scores of candidates for the tasks of one round, as work in shards.

    Args:
        folder: where the shards go; of this round, these tasks, this S and this student alone.
        tasks: tasks of the round.
        scorer: frozen S.
        catalogue: items with embeddings.
        config: candidates scored per state, arithmetic and sizes.
        student: the student of the round before; None in the first.
        seed: seed of the random candidates.
    """

    def __init__(
        self,
        folder: Path,
        tasks: CompletionTasks,
        scorer: OutfitTransformer,
        catalogue: Catalogue,
        config: TargetsConfig,
        student: TwoTower | None,
        seed: int,
    ) -> None:
        self.files = ShardFiles(folder, len(tasks), config.shard_size, "candidates", "teacher_scores")
        self.tasks = tasks
        self.models = (scorer, student)
        self.catalogue = catalogue
        self.config = config
        self.seed = seed
        self.shards = self.files.shards
        self.inputs = ShardNumbers(self.shards)
        self.context: MethodContext | None = None

    def pending(self) -> list[int]:
        """Shards whose file is missing or damaged."""
        return self.files.pending()

    def to(self, device: torch.device) -> None:
        """Puts S, and the student with its index, on the device."""
        scorer, student = self.models
        self.context = MethodContext(
            self.catalogue, scorer_module=scorer, student=student, search=self.config, device=device
        )

    def run(self, batch: tuple[int]) -> None:
        """Scores the candidates of one shard and writes them.

        Raises:
            RuntimeError: if :meth:`to` was not called.
        """
        if self.context is None:
            raise RuntimeError("call to(device) first")
        (shard,) = batch
        scorer, tasks = self.context.scorer, self.tasks.take(self.files.rows(shard))
        before = scorer.calls
        width = self.config.two_stage.scored
        states = (len(tasks), tasks.k)
        arrays: Arrays = {
            "embeddings": np.zeros((*states, scorer.item_tokens.shape[1]), dtype=np.float32),
            "candidates": np.full((*states, width), -1, dtype=np.int64),
            "logits": np.full((*states, width), -np.inf, dtype=np.float32),
        }
        for row in range(len(tasks)):
            self._teach(self.context, tasks.take([row]), {name: array[row] for name, array in arrays.items()})
        arrays["calls"] = np.array([scorer.calls - before])
        self.files.write(shard, arrays)

    def teacher_scores(self) -> TeacherScores:
        """All scores of the round in the order of its tasks.

        Raises:
            ArtifactError: if a shard is missing.
        """
        parts = self.files.all()
        joined = {
            name: np.concatenate([part[name].reshape(-1, part[name].shape[-1]) for part in parts])
            for name in TeacherScores._fields
        }
        taught = (joined["candidates"] >= 0).sum(axis=1) > 1  # one candidate alone teaches no order
        return TeacherScores(*(torch.from_numpy(array[taught]) for array in joined.values()))

    def calls(self) -> int:
        """Calls of S that the round took."""
        return sum(int(part["calls"][0]) for part in self.files.all())

    def _teach(self, context: MethodContext, task: CompletionTasks, arrays: Arrays) -> None:
        rng = np.random.default_rng([self.seed, TEACHING_STREAM, *task.seeds[0].tolist()])
        outfit, width = task.given[0].astype(np.int64), self.config.two_stage.scored
        scorer = context.scorer
        for step in range(task.k):
            forbidden = scorer.taken_categories(torch.from_numpy(outfit)[None])
            allowed = np.flatnonzero(~forbidden[0][scorer.categories[: len(scorer)]])
            if not len(allowed):
                return
            embedding = scorer.outfit_embeddings(torch.from_numpy(outfit)[None])[0]
            best = np.empty(0, dtype=np.int64)
            if context.student is not None:
                best = context.shortlists.ranked(embedding, ~forbidden, width // 2)[0][0]
            others = np.setdiff1d(allowed, best)
            drawn = rng.choice(others, min(len(others), width - len(best)), replace=False)
            candidates = np.sort(np.concatenate([best, drawn]))
            logits = scorer.addition_logits(torch.from_numpy(outfit)[None], torch.from_numpy(candidates))
            arrays["embeddings"][step] = embedding.cpu().numpy()
            arrays["candidates"][step, : len(candidates)] = candidates
            arrays["logits"][step, : len(candidates)] = logits[0].cpu().numpy()
            outfit = np.append(outfit, candidates[int(logits[0].argmax())])


class StudentTraining:
    """The training of a student on the scores of all rounds so far: one shard, so one process does it.

    Args:
        path: where the student's weights go.
        rounds: the rounds taught, all of them finished.
        scorer_sha256: digest of S.
        seed: seed of weights and batches.
    """

    shards = 1

    def __init__(self, path: Path, rounds: list[TeacherScoring], scorer_sha256: str, seed: int) -> None:
        self.path = path
        self.rounds = rounds
        self.scorer_sha256 = scorer_sha256
        self.seed = seed
        self.inputs = ShardNumbers(1)
        self._device = torch.device("cpu")

    def pending(self) -> list[int]:
        """The one shard, unless the student is there."""
        return [] if self.path.exists() else [0]

    def to(self, device: torch.device) -> None:
        """Where the student is trained."""
        self._device = device

    def run(self, batch: tuple[int]) -> None:
        """Trains the student and writes it; on a CPU by one thread, since its bits must not depend on their number."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            student = self._train()
        finally:
            torch.set_num_threads(threads)
        save_student(student, self.path, self.scorer_sha256)

    def _train(self) -> TwoTower:
        first = self.rounds[0]
        options = first.config.two_stage
        context = MethodContext(first.catalogue, first.models[0], search=first.config, device=self._device)
        items = context.scorer.item_tokens
        # prediction runs in inference mode, whose tensors cannot be trained with
        with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
            tokens = items.clone()
            fields = zip(*(part.teacher_scores() for part in self.rounds), strict=True)
            teacher_scores = TeacherScores(*(torch.cat(parts).to(self._device) for parts in fields))
            torch.manual_seed(self.seed)
            student = TwoTower(tokens.shape[1], options.width, options.hidden).to(self._device)
            distil(
                student,
                tokens,
                teacher_scores,
                steps=options.steps,
                lr=options.lr,
                seed=self.seed,
            )
        return student

    def student(self) -> TwoTower:
        """The trained student, in evaluation mode.

        Raises:
            ArtifactError: if it is not there, or was taught by another S.
        """
        return load_student(self.path, self.scorer_sha256)
