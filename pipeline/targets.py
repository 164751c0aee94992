"""Stage ``targets``: what greedy search under the frozen S selects for training and validation outfits."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lightning_modules.sharded import run_shards
from lightning_modules.trainer import is_rank_zero, wait_for_all_ranks
from outfits import run_files
from outfits.completion.tasks import CompletionTasks, make_tasks
from outfits.data.dataset import OutfitDataset
from outfits.errors import ArtifactError
from outfits.mining.audit import Audit, AuditMetrics
from outfits.mining.search import TargetMining, TwoStage, condition_tasks
from outfits.mining.targets import Targets, TargetStore
from outfits.models.frozen import FrozenScorer
from outfits.storage import write_text
from pipeline.run import Run, content_key
from pipeline.student import TaughtStudent, student_of, train_student, training_tasks, wants_student


@dataclass(frozen=True)
class MinedTargets:
    """Targets of the training and of the validation split.

    Attributes:
        train: training tasks without conditions, ``model.k_max`` selections each.
        valid: validation tasks without conditions, ``model.k`` selections each.
        conditions: training tasks with conditions by kind of condition, ``model.k`` selections each.
    """

    train: Targets
    valid: Targets
    conditions: dict[str, Targets] = field(default_factory=dict)


def mine_targets(run: Run, dataset: OutfitDataset, scorer: FrozenScorer) -> MinedTargets:
    """Mines what is not mined yet, on every device of the trainer.

    Training targets are mined exactly or in two stages, see ``targets.search``. Validation targets are the yardstick of
    training and always exact.

    Raises:
        ArtifactError: if targets are missing and the stage was not asked for, or two-stage search loses too much.
        DataError: if a split is empty or no outfit is large enough.
    """
    config = run.config
    valid = make_tasks(dataset.outfits.of("valid"), config.model.k, 1, config.targets.valid_outfits, config.seed)
    kinds = dict(_training_kinds(run, dataset))
    if config.targets.search == "exact":
        mined = {name: _mine(run, dataset, scorer, name, tasks) for name, tasks in kinds.items()}
        if "targets" in run.config.stages and wants_student(run):
            student_of(run, dataset, scorer)  # stage test may run alone later
    else:
        mined = _mine_in_two_stages(run, dataset, scorer, kinds)
    free = mined.pop("train")
    conditions = {name.removeprefix("train-"): targets for name, targets in mined.items()}
    return MinedTargets(free, _mine(run, dataset, scorer, "valid", valid), conditions)


def _training_kinds(run: Run, dataset: OutfitDataset) -> Iterator[tuple[str, CompletionTasks]]:
    """Training tasks, without conditions under the name ``train`` and with them under ``train-KIND``."""
    config = run.config.targets
    train = training_tasks(run, dataset)
    yield "train", train.asking_for(run.config.model.k_max)
    for kind in config.conditions:
        if "texts" in kind and not dataset.catalogue.require_embeddings.text_dim:
            run.log("targets", f"no {kind} conditions: there is no text encoder")
            continue
        tasks = condition_tasks(train, kind, dataset.catalogue, config.alpha)
        if len(tasks) < len(train):
            left_out = f"{len(train) - len(tasks):,} of {len(train):,} train tasks have none that can be fulfilled"
            run.log("targets", f"{kind} conditions: {left_out}")
        if len(tasks):
            yield f"train-{kind}", tasks


def _mine(
    run: Run,
    dataset: OutfitDataset,
    scorer: FrozenScorer,
    name: str,
    tasks: CompletionTasks,
    two_stage: TwoStage | None = None,
    student: str | None = None,
) -> Targets:
    """Targets of tasks, exact or in two stages; in two stages with the digest of the student."""
    config, catalogue = run.config.targets, dataset.catalogue
    manifest: dict[str, Any] = {
        "scorer_sha256": scorer.sha256,
        "embeddings": catalogue.require_embeddings.key,
        "categories": content_key(catalogue.categories.tolist()),
        "precision": run.search_precision(),
    }
    if two_stage is not None:
        manifest |= {"student": student, "two_stage_candidates": two_stage.candidates}
    key = content_key(manifest, tasks.digest(), config.candidates, config.shard_size)
    store = TargetStore(run.cache / "targets" / f"{name}-{key}", manifest, tasks, config.shard_size, config.candidates)
    missing = len(store.pending())
    wait_for_all_ranks()  # nobody mines before everybody has looked
    left_out = f"; {tasks.left_out} outfits are too small for k={tasks.removed.shape[1]}" if tasks.left_out else ""
    if missing:
        run.require("targets", wanted_by="the generator")
        run.log("targets", f"mining {missing} of {store.shards} shards, {len(tasks):,} {name} tasks{left_out}")
        run_shards(TargetMining(store, scorer.module, catalogue, config, two_stage), run.config.trainer)
    else:
        run.log("targets", f"reusing {len(tasks):,} {name} targets in {store.folder}{left_out}")
    return store.load()


def _mine_in_two_stages(
    run: Run, dataset: OutfitDataset, scorer: FrozenScorer, kinds: Mapping[str, CompletionTasks]
) -> dict[str, Targets]:
    """Targets of every kind of task, and the metrics of the audit in ``RUN_DIR/targets.json``."""
    taught = train_student(run, dataset, scorer)
    mined, metrics = {}, {}
    for name, tasks in kinds.items():
        mined[name], metrics[name] = _mine_audited(run, dataset, scorer, taught, name, tasks)
    exactly = sum(kind["calls"]["exact_mining"] for kind in metrics.values())
    taken = taught.calls + sum(kind["calls"]["audit"] + kind["calls"]["mining"] for kind in metrics.values())
    calls = {"teaching": taught.calls, "in_all": taken, "exact_mining": exactly, "times_fewer": exactly / taken}
    run.log(
        "targets",
        f"{taken:,} calls of S in all, {taught.calls:,} of them to teach the student; mining exactly takes about "
        f"{exactly:,}: {exactly / taken:.1f} times as many",
    )
    if is_rank_zero():
        described = {"student": taught.digest, "calls": calls, "kinds": metrics}
        write_text(run.folder / run_files.TARGETS, json.dumps(described, indent=2) + "\n")
    wait_for_all_ranks()
    return mined


def _mine_audited(
    run: Run, dataset: OutfitDataset, scorer: FrozenScorer, taught: TaughtStudent, name: str, tasks: CompletionTasks
) -> tuple[Targets, dict[str, Any]]:
    """Targets of one kind of task, the audited ones exact, and what the audit found."""
    audited = np.isin(tasks.outfits, taught.split.audited)
    if audited.sum() < 2:
        run.log("targets", f"{name}: {audited.sum()} audited tasks can bound no regret; all are mined exactly")
        exact = _mine(run, dataset, scorer, name, tasks)
        taken = int(exact.trace.calls.sum())
        return exact, {"audits": [], "candidates": None, "calls": {"audit": 0, "mining": taken, "exact_mining": taken}}
    rows, others = np.flatnonzero(audited), np.flatnonzero(~audited)
    exact = _mine(run, dataset, scorer, f"{name}-audit", tasks.take(rows))
    audits, audit_calls, candidates = _audits(run, dataset, scorer, taught, name, exact)
    two_stage = None if candidates is None else TwoStage(taught.module, candidates)
    rest = _mine(run, dataset, scorer, name, tasks.take(others), two_stage, taught.digest)
    calls = {
        "audit": int(exact.trace.calls.sum()) + audit_calls,
        "mining": int(rest.trace.calls.sum()),
        "exact_mining": round(float(exact.trace.calls.mean()) * len(tasks)),  # as the audited tasks go
    }
    described = {"audits": [audit.to_json() for audit in audits], "candidates": candidates, "calls": calls}
    return Targets.joined(tasks, [(rows, exact), (others, rest)]), described


def _audits(
    run: Run, dataset: OutfitDataset, scorer: FrozenScorer, taught: TaughtStudent, name: str, exact: Targets
) -> tuple[list[AuditMetrics], int, int | None]:
    """Audits of longer and longer shortlists, their calls of S, and the length that holds the bound.

    None stands for the whole catalogue: exact mining.

    Raises:
        ArtifactError: if the regret passes the bound and shortlists must not grow.
    """
    config, options = run.config.targets, run.config.targets.two_stage
    audits: list[AuditMetrics] = []
    calls, candidates = 0, options.candidates
    while candidates < len(dataset.catalogue):
        digests = [scorer.sha256, taught.digest, exact.tasks.digest(), dataset.catalogue.require_embeddings.key]
        key = content_key(digests, [candidates, config.candidates, config.shard_size, run.search_precision()])
        two_stage = TwoStage(taught.module, candidates)
        folder = run.cache / "audits" / f"{name}-{key}"
        audit = Audit(folder, exact, scorer.module, dataset.catalogue, config, two_stage)
        missing = len(audit.pending())
        wait_for_all_ranks()  # nobody writes before everybody has looked
        if missing:
            run.require("targets", wanted_by="two-stage mining")
            run_shards(audit, run.config.trainer)
        metrics, taken = audit.metrics()
        audits.append(metrics)
        calls += taken
        run.log("targets", f"{name}: {metrics}")
        if metrics.bound <= options.max_regret:
            return audits, calls, candidates
        if options.on_regret == "stop":
            raise ArtifactError(
                f"two-stage mining of {name} targets may lose {metrics.bound:.4f} on average, more than "
                f"targets.two_stage.max_regret={options.max_regret:g}: {metrics}; raise targets.two_stage.candidates, "
                "share, scored or steps, set targets.two_stage.on_regret=widen, or set targets.search=exact"
            )
        candidates *= 2
        run.log(
            "targets", f"{name}: that passes max_regret={options.max_regret:g}; shortlists of {candidates} are next"
        )
    run.log("targets", f"{name}: shortlists would hold the whole catalogue; mining is exact")
    return audits, calls, None
