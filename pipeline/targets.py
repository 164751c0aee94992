"""Stage ``targets``: mines what greedy search under the frozen S selects for training and validation outfits."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lightning_modules.trainer import before_writing, on_rank_zero
from outfits import run_files
from outfits.completion.tasks import CompletionTasks
from outfits.data.dataset import OutfitDataset
from outfits.errors import ArtifactError
from outfits.mining.audit import AuditMetrics, audit_metrics, audit_store, audit_work
from outfits.mining.mined import MinedTargets, training_kinds, training_tasks, validation_tasks
from outfits.mining.search import TwoStage, mining_work
from outfits.mining.targets import Targets, TargetStore
from outfits.models.frozen import FrozenScorer
from outfits.storage import write_json, write_text
from outfits.weights import weights_digest
from pipeline.compatibility import Scorers
from pipeline.run import Run, content_key, wants
from pipeline.shards import compute_shards
from pipeline.student import TaughtStudent, student_of, teach_student


def mine_targets(run: Run, dataset: OutfitDataset, scorers: Scorers) -> MinedTargets:
    """Mines missing targets on every device of the trainer, and writes how often each item was selected.

    Training targets are mined exactly or in two stages, see ``targets.search``. Validation targets are always exact,
    since training is measured by them.

    Raises:
        ArtifactError: if two-stage search loses too much.
        DataError: if a split is empty or no outfit is large enough.
    """
    config = run.config
    miner = TargetMiner(run, dataset, scorers.scorer)
    valid = validation_tasks(dataset, config.model.k, config.targets, config.seed)
    train = training_tasks(dataset, config.model.k, config.targets, config.seed)
    kinds = training_kinds(train, config.model.k_max, dataset.catalogue, config.targets, partial(run.log, "targets"))
    if config.targets.search == "exact":
        mined = {name: miner.mine(name, tasks) for name, tasks in kinds.items()}
        if "targets" in run.config.stages and wants(run, "student"):
            student_of(run, dataset, scorers.scorer)  # needed if stage test runs alone later
    else:
        mined = miner.mine_in_two_stages(kinds)
    targets = MinedTargets.of(mined, miner.mine("valid", valid))
    save_selected(run, dataset, targets.train.selected_counts(len(dataset.catalogue)))
    return targets


def save_selected(run: Run, dataset: OutfitDataset, counts: NDArray[np.int64]) -> None:
    """Writes how often greedy search selected each item, in descending order."""
    frame = pd.DataFrame({"item_id": dataset.catalogue.item_ids, "selected": counts})
    frame = frame[frame["selected"] > 0].sort_values("selected", ascending=False, kind="stable")
    on_rank_zero(lambda: write_text(run.folder / run_files.SELECTED, frame.to_csv(index=False)))


@dataclass(frozen=True)
class TargetMiner:
    """Searches greedily with one frozen S for the tasks of a run; finished products in the cache are used again."""

    run: Run
    dataset: OutfitDataset
    scorer: FrozenScorer

    def mine(self, name: str, tasks: CompletionTasks, two_stage: TwoStage | None = None) -> Targets:
        """Mines targets of tasks, exactly or in two stages."""
        run, config, catalogue = self.run, self.run.config.targets, self.dataset.catalogue
        manifest: dict[str, Any] = {
            "scorer_sha256": self.scorer.sha256,
            "embeddings": catalogue.require_embeddings.key,
            "categories": content_key(catalogue.categories.tolist()),
            "precision": run.search_precision(),
        }
        if two_stage is not None:
            student = {"student": weights_digest(two_stage.student), "two_stage_candidates": two_stage.candidates}
            manifest |= student
        key = content_key(manifest, tasks.digest(), config.candidates, config.shard_size)
        folder = run.cache / "targets" / f"{name}-{key}"
        store = TargetStore(folder, manifest, tasks, config.shard_size, config.candidates)
        missing = before_writing(store.pending)
        small = f"; {tasks.left_out} outfits are too small for k={tasks.removed.shape[1]}" if tasks.left_out else ""
        if missing:
            run.require("targets", wanted_by="the generator")
            run.log("targets", f"mining {len(missing)} of {len(store)} shards, {len(tasks):,} {name} tasks{small}")
            work = mining_work(store, self.scorer.module, catalogue, config, two_stage)
            # a shortlist needs no other rank
            together = config.states == "dealt" and two_stage is None
            compute_shards(run, "targets", store, work, together=together)
        else:
            run.log("targets", f"reusing {len(tasks):,} {name} targets in {store.folder}{small}")
        return store.load()

    def mine_in_two_stages(self, kinds: Mapping[str, CompletionTasks]) -> dict[str, Targets]:
        """Mines targets of every kind of task and writes the metrics of the audit to ``RUN_DIR/targets.json``."""
        run = self.run
        taught = teach_student(run, self.dataset, self.scorer)
        mined, metrics = {}, {}
        for name, tasks in kinds.items():
            mined[name], metrics[name] = self._mine_audited(taught, name, tasks)
        exactly = sum(kind["calls"]["exact_mining"] for kind in metrics.values())
        taken = taught.calls + sum(kind["calls"]["audit"] + kind["calls"]["mining"] for kind in metrics.values())
        calls = {"teaching": taught.calls, "in_all": taken, "exact_mining": exactly, "times_fewer": exactly / taken}
        run.log(
            "targets",
            f"{taken:,} calls of S in all, {taught.calls:,} of them to teach the student; mining exactly takes about "
            f"{exactly:,}: {exactly / taken:.1f} times as many",
        )
        described = {"student": taught.digest, "calls": calls, "kinds": metrics}
        on_rank_zero(lambda: write_json(run.folder / run_files.TARGETS, described))
        return mined

    def _mine_audited(self, taught: TaughtStudent, name: str, tasks: CompletionTasks) -> tuple[Targets, dict[str, Any]]:
        """Mines targets of one kind of task, the audited ones exactly, and returns them with the audit's findings."""
        audited = np.isin(tasks.outfits, taught.split.audited)
        audited_outfits = len(np.unique(tasks.outfits[audited]))
        if audited_outfits < 2 or audited.all():
            text = f"{name}: {audited_outfits} audited outfits can bound no regret; all are mined exactly"
            if audited.all():
                text = f"{name}: all {len(tasks):,} tasks are of audited outfits, which are mined exactly"
            self.run.log("targets", text)
            exact = self.mine(name, tasks)
            taken = int(exact.trace.calls.sum())
            calls = {"audit": 0, "mining": taken, "exact_mining": taken}
            return exact, {"audits": [], "candidates": None, "calls": calls}
        rows, others = np.flatnonzero(audited), np.flatnonzero(~audited)
        exact = self.mine(f"{name}-audit", tasks.take(rows))
        audits, audit_calls, candidates = self._audits(taught, name, exact)
        two_stage = None if candidates is None else TwoStage(taught.module, candidates)
        rest = self.mine(name, tasks.take(others), two_stage)
        calls = {
            "audit": int(exact.trace.calls.sum()) + audit_calls,
            "mining": int(rest.trace.calls.sum()),
            "exact_mining": round(float(exact.trace.calls.mean()) * len(tasks)),  # extrapolated from the audited tasks
        }
        described = {"audits": [asdict(audit) for audit in audits], "candidates": candidates, "calls": calls}
        return Targets.joined(tasks, [(rows, exact), (others, rest)]), described

    def _audits(self, taught: TaughtStudent, name: str, exact: Targets) -> tuple[list[AuditMetrics], int, int | None]:
        """Audits longer and longer shortlists; returns audits, calls of S, and the length that keeps the bound.

        A length of None means the whole catalogue: exact mining. Raises ArtifactError if the regret exceeds the bound
        and shortlists must not grow.
        """
        run, config, catalogue = self.run, self.run.config.targets, self.dataset.catalogue
        options = config.two_stage
        digests = [self.scorer.sha256, taught.digest, exact.tasks.digest(), catalogue.require_embeddings.key]
        audits: list[AuditMetrics] = []
        calls, candidates = 0, options.candidates
        while candidates < len(catalogue):
            key = content_key(digests, [candidates, config.candidates, config.shard_size, run.search_precision()])
            store = audit_store(run.cache / "audits" / f"{name}-{key}", exact, config.shard_size)
            missing = before_writing(store.pending)
            if missing:
                run.require("targets", wanted_by="two-stage mining")
                two_stage = TwoStage(taught.module, candidates)
                audit = audit_work(store, exact, self.scorer.module, catalogue, config, two_stage)
                compute_shards(run, "targets", store, audit)
            metrics, taken = audit_metrics(store, exact, candidates)
            audits.append(metrics)
            calls += taken
            run.log("targets", f"{name}: {metrics}")
            if metrics.bound <= options.max_regret:
                return audits, calls, candidates
            if options.on_regret == "stop":
                raise ArtifactError(
                    f"two-stage mining of {name} targets may lose {metrics.bound:.4f} on average, more than "
                    f"targets.two_stage.max_regret={options.max_regret:g}: {metrics}; raise "
                    "targets.two_stage.candidates, share, scored or steps, set targets.two_stage.on_regret=widen, or "
                    "set targets.search=exact"
                )
            candidates *= 2
            text = f"{name}: that passes max_regret={options.max_regret:g}; shortlists of {candidates} are next"
            run.log("targets", text)
        run.log("targets", f"{name}: shortlists would hold the whole catalogue; mining is exact")
        return audits, calls, None
