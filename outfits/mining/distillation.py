"""Distillation of S into a student, which learns S's scores of some candidates for a share of the training outfits.

The outfits are split into rounds. Candidates are random in the first round; in every later one half of them are the
current student's best, which it must learn to order. An outfit gives one state per step of a search: the given items,
then those with S's best of the scored candidates added.
"""

from collections.abc import Callable, Sequence
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
from outfits.models.compatibility import OutfitTransformer
from outfits.models.student import TeacherScores, TwoTower, distil
from outfits.shards import ShardStore, ShardWork
from outfits.storage import Arrays

TEACHING_STREAM, AUDIT_STREAM, DEAL_STREAM = 21, 22, 23  # first numbers of seeds: no two streams coincide


@dataclass(frozen=True)
class DistillationSplit:
    """The outfits that are also mined exactly, ascending, and the tasks without conditions that teach in each round.

    No audited outfit is among the rounds.
    """

    audited: NDArray[np.int64]
    rounds: tuple[CompletionTasks, ...]

    @classmethod
    def of(cls, tasks: CompletionTasks, config: TargetsConfig, seed: int) -> "DistillationSplit":
        """Draws outfits to audit and to teach, with all their removals, from training tasks without conditions.

        At most half of the outfits are audited, so that some are left to teach.

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
    """Draws ``count`` of the outfits, ascending; a smaller count draws a subset of a larger one's."""
    draw = np.random.default_rng(seed).random(int(outfits.max()) + 1)[outfits]
    return np.sort(outfits[np.argsort(draw, kind="stable")[:count]])


def teaching_store(folder: Path, tasks: CompletionTasks, shard_size: int) -> ShardStore:
    """The store of S's scores for a round; the folder belongs to these tasks, one S and one student alone."""
    return ShardStore(folder, len(tasks), shard_size, "teacher scores", counted="candidates")


def teaching_work(
    store: ShardStore,
    tasks: CompletionTasks,
    scorer: OutfitTransformer,
    catalogue: Catalogue,
    config: TargetsConfig,
    student: TwoTower | None,
    seed: int,
) -> ShardWork:
    """S's scores of candidates for the tasks of one round.

    The ``student`` is that of the round before; None in the first. ``seed`` draws the random candidates.
    """
    width = config.two_stage.scored

    def start(device: torch.device) -> Callable[[int], None]:
        context = MethodContext(catalogue, scorer_module=scorer, student=student, search=config, device=device)

        def score(shard: int) -> None:
            shard_tasks, before = tasks.take(store.rows_of(shard)), context.scorer.calls
            states = (len(shard_tasks), tasks.k)
            arrays: Arrays = {
                "embeddings": np.zeros((*states, context.require_scorer_module().config.width), dtype=np.float32),
                "candidates": np.full((*states, width), -1, dtype=np.int64),
                "logits": np.full((*states, width), -np.inf, dtype=np.float32),
            }
            for row in range(len(shard_tasks)):
                _score_states(context, shard_tasks.take([row]), seed, {name: a[row] for name, a in arrays.items()})
            store.write(shard, {**arrays, "calls": np.array([context.scorer.calls - before])})

        return score

    return start


def _score_states(context: MethodContext, task: CompletionTasks, seed: int, arrays: Arrays) -> None:
    """Fills the arrays of one task, one entry per step."""
    rng = np.random.default_rng([seed, TEACHING_STREAM, *task.seeds[0].tolist()])
    outfit, width = task.given[0].astype(np.int64), arrays["candidates"].shape[1]
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


def teacher_scores(rounds: Sequence[ShardStore]) -> TeacherScores:
    """S's scores of finished rounds, task by task; raises :class:`ArtifactError` if a shard is missing."""
    parts = [part for store in rounds for part in store.read_all()]
    joined = {
        name: np.concatenate([part[name].reshape(-1, part[name].shape[-1]) for part in parts])
        for name in TeacherScores._fields
    }
    taught = (joined["candidates"] >= 0).sum(axis=1) > 1  # one candidate alone has no order to learn
    return TeacherScores(*(torch.from_numpy(array[taught]) for array in joined.values()))


def teaching_calls(rounds: Sequence[ShardStore]) -> int:
    """Calls of S that finished rounds took."""
    return sum(int(part["calls"][0]) for store in rounds for part in store.read_all())


def train_student(
    rounds: Sequence[ShardStore],
    scorer: OutfitTransformer,
    catalogue: Catalogue,
    config: TargetsConfig,
    seed: int,
    device: torch.device,
) -> TwoTower:
    """Trains a student on S's scores of finished rounds.

    On a CPU it uses one thread, so that its bits do not depend on their number.
    """
    options, threads = config.two_stage, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        items = MethodContext(catalogue, scorer_module=scorer, search=config, device=device).scorer.item_tokens
        # Prediction runs in inference mode, whose tensors cannot be trained.
        with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
            tokens = items.clone()
            scores = TeacherScores(*(part.to(device) for part in teacher_scores(rounds)))
            torch.manual_seed(seed)
            student = TwoTower(options, tokens.shape[1]).to(device)
            distil(student, tokens, scores, steps=options.steps, lr=options.lr, seed=seed)
    finally:
        torch.set_num_threads(threads)
    return student
