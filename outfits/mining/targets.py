"""Selections of greedy search for training, in shards that outlive an interrupted run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from outfits.completion.completion import SearchTrace
from outfits.completion.tasks import CompletionTasks
from outfits.data.catalogue import Catalogue
from outfits.errors import ArtifactError
from outfits.graphs.completion_graph import ConditionArrays, GraphTargets
from outfits.shards import ShardStore
from outfits.storage import Arrays, write_text

MANIFEST = "manifest.json"
SHARD_FIELDS = {
    "digest", "outfit", "removal", "given", "removed", "chosen", "chosen_logits", "candidates", "candidate_logits",
    "calls",
}  # fmt: skip
CONDITION_FIELDS = {"slots", "candidate_similarity"}


@dataclass(frozen=True)
class Targets:
    """Greedy targets, task by task.

    The first j selections of a search for k items are those of a search for j items, so they are targets for every
    number of missing items up to k. So are the conditions that these selections answer. Where the category rule left
    room for fewer items than were missing, -1 stands for the others in the trace.
    """

    tasks: CompletionTasks
    trace: SearchTrace

    def __len__(self) -> int:
        return len(self.tasks)

    @classmethod
    def joined(cls, tasks: CompletionTasks, parts: Sequence[tuple[NDArray[np.int64], "Targets"]]) -> "Targets":
        """Joins the targets of tasks that were mined in parts, each given with the positions of its tasks."""
        order = np.argsort(np.concatenate([rows for rows, _ in parts]), kind="stable")
        return cls(tasks, SearchTrace.concatenate([part.trace for _, part in parts]).take(order))

    def selected_counts(self, catalogue_size: int) -> NDArray[np.int64]:
        """How often greedy search selected each item for as many items as were removed, shape ``[N]``."""
        chosen = self.trace.chosen[:, : self.tasks.removed.shape[1]]
        return np.bincount(chosen[chosen >= 0], minlength=catalogue_size).astype(np.int64)

    def graph_targets(self) -> GraphTargets:
        """The targets as tensors of graphs, candidates with what search maximised, in units of S."""
        trace, conditions = self.trace, self.tasks.conditions
        scores: NDArray[np.float32] = expit(trace.candidate_logits)
        if conditions is not None and trace.candidate_similarity is not None:
            mixed = conditions.alpha * scores + (1 - conditions.alpha) * trace.candidate_similarity
            texted = conditions.texts.any(axis=(1, 2), keepdims=True)
            scores = np.where(texted, mixed, scores).astype(np.float32)
        return GraphTargets(
            chosen=trace.chosen,
            candidates=trace.candidates,
            candidate_scores=scores,
            scores=trace.final_logits,
        )

    def graph_conditions(self) -> ConditionArrays | None:
        """The conditions as tensors of graphs, condition i that of the i-th selection; None without any."""
        conditions, slots = self.tasks.conditions, self.trace.slots
        if conditions is None or slots is None:
            return None
        return (
            np.take_along_axis(conditions.allowed, slots[:, :, None], axis=1),
            np.take_along_axis(conditions.texts, slots[:, :, None], axis=1),
        )


def read_selected(path: Path, catalogue: Catalogue) -> NDArray[np.int64]:
    """Reads how often greedy search selected each item for a run's training outfits, shape ``[N]``."""
    selected = pd.read_csv(path, dtype={"item_id": str}, keep_default_na=False)
    counts = np.zeros(len(catalogue), dtype=np.int64)
    counts[[catalogue.positions[item_id] for item_id in selected["item_id"]]] = selected["selected"]
    return counts


class TargetStore(ShardStore):
    """Targets in a folder: a manifest, and one file per shard of tasks, which must hold exactly these tasks.

    Args:
        folder: where the shards lie; made if missing.
        manifest: what the targets depend on beside the tasks (digests of S and of the data, settings); JSON values.
        tasks: all tasks to mine.
        shard_size: tasks per shard.
        candidates_kept: ``M``, candidates kept per step.

    Raises:
        ArtifactError: if the folder holds targets of another manifest or of other tasks.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Mapping[str, object],
        tasks: CompletionTasks,
        shard_size: int,
        candidates_kept: int,
    ) -> None:
        super().__init__(folder, len(tasks), shard_size, "targets")
        self.tasks = tasks
        self.candidates_kept = candidates_kept
        wanted = {
            **manifest,
            "k": tasks.k,
            "tasks": tasks.digest(),
            "shard_size": shard_size,
            "candidates_kept": candidates_kept,
        }
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / MANIFEST
        if path.exists():
            self._check_manifest(path, json.loads(json.dumps(wanted)))
        else:
            write_text(path, json.dumps(wanted, indent=2, sort_keys=True))

    def shard_tasks(self, shard: int) -> CompletionTasks:
        """The tasks of a shard."""
        return self.tasks.take(self.rows_of(shard))

    def fits(self, shard: int, arrays: Arrays) -> bool:
        """Whether a file holds the targets of exactly the shard's tasks."""
        conditions = self.tasks.conditions is not None
        if not arrays.keys() >= (SHARD_FIELDS | CONDITION_FIELDS if conditions else SHARD_FIELDS):
            return False
        tasks = self.shard_tasks(shard)
        return (
            arrays["digest"].tobytes().hex() == tasks.digest()
            and arrays["chosen"].shape == (len(tasks), tasks.k)
            and arrays["candidates"].shape == (len(tasks), tasks.k, self.candidates_kept)
        )

    def write_trace(self, shard: int, trace: SearchTrace) -> None:
        """Stores the trace of a shard's tasks, in their order; raises :class:`ValueError` if it does not fit."""
        tasks = self.shard_tasks(shard)
        expected = (len(tasks), tasks.k, self.candidates_kept)
        if trace.candidates.shape != expected or trace.chosen.shape != expected[:2]:
            raise ValueError(f"shard {shard} needs candidates {list(expected)}, not {list(trace.candidates.shape)}")
        if (trace.slots is None or trace.candidate_similarity is None) != (tasks.conditions is None):
            raise ValueError(
                f"shard {shard}: a trace has slots and similarities if its tasks have conditions, and only then"
            )
        arrays: Arrays = {
            "digest": np.frombuffer(bytes.fromhex(tasks.digest()), dtype=np.uint8),
            "outfit": tasks.outfits,
            "removal": tasks.removals,
            "given": np.concatenate(tasks.given).astype(np.int32),
            "given_sizes": np.array([len(given) for given in tasks.given], dtype=np.int64),
            "removed": tasks.removed,
            "chosen": trace.chosen.astype(np.int32),
            "chosen_logits": trace.logits.astype(np.float32),
            "candidates": trace.candidates.astype(np.int32),
            "candidate_logits": trace.candidate_logits.astype(np.float32),
            "calls": trace.calls,
        }
        if trace.slots is not None and trace.candidate_similarity is not None:
            arrays["slots"] = trace.slots
            arrays["candidate_similarity"] = trace.candidate_similarity
        self.write(shard, arrays)

    def load(self) -> Targets:
        """All targets in the order of the tasks; raises :class:`ArtifactError` if shards are still pending."""
        traces = [
            SearchTrace(
                chosen=arrays["chosen"],
                logits=arrays["chosen_logits"],
                candidates=arrays["candidates"],
                candidate_logits=arrays["candidate_logits"],
                calls=arrays["calls"],
                slots=arrays.get("slots"),
                candidate_similarity=arrays.get("candidate_similarity"),
            )
            for arrays in self.read_all()
        ]
        return Targets(self.tasks, SearchTrace.concatenate(traces))

    def _check_manifest(self, path: Path, wanted: Mapping[str, object]) -> None:
        way_out = f"delete {self.folder} to mine again, or set cache_dir to another folder"
        try:
            stored = json.loads(path.read_text())
        except ValueError as error:
            raise ArtifactError(f"targets manifest {path} is not JSON ({error}); {way_out}") from error
        if not isinstance(stored, dict):
            raise ArtifactError(f"targets manifest {path} is not a JSON object; {way_out}")
        differing = sorted(name for name in stored.keys() | wanted.keys() if stored.get(name) != wanted.get(name))
        if differing:
            raise ArtifactError(f"targets in {self.folder} differ from this run in {', '.join(differing)}; {way_out}")
