"""Stage ``test``: every method completes the same outfits, and the report says what came of it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import wandb
from lightning.pytorch.loggers import WandbLogger
from numpy.typing import NDArray

from lightning_modules.sharded import run_shards
from lightning_modules.trainer import before_writing, on_rank_zero
from outfits import run_files
from outfits.completion.context import MethodContext
from outfits.completion.tasks import CompletionTasks, make_tasks
from outfits.config.load import save_config
from outfits.config.method_calls import resolve_call
from outfits.config.schema.methods import METHODS, spec_of
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits
from outfits.errors import ArtifactError
from outfits.metrics.method_evaluation import PROTOCOL, MethodExperiment
from outfits.models.frozen import load_generator
from outfits.models.generator import Generator
from outfits.models.student import TwoTower
from outfits.report.comparison.conditions import summarise_conditions
from outfits.report.comparison.gallery import gallery_outfits
from outfits.report.comparison.page import ReportPaths, write_report
from outfits.report.comparison.records import MethodRecord
from outfits.report.comparison.results import EvaluationResult, summarise
from outfits.report.comparison.sweeps import SweepPoint, sweep_point
from outfits.report.comparison.table import results_table
from outfits.weights import weights_digest
from pipeline.compatibility import Scorers, load_scorers
from pipeline.embeddings import embed_dataset
from pipeline.generator import test_generator
from pipeline.run import Run, content_key
from pipeline.student import student_of, wants_student
from pipeline.targets import fulfillable, read_selected


def evaluate_finished(run: Run, dataset: OutfitDataset) -> EvaluationResult:
    """Runs the experiment with the models that a finished run left in its folder, without its training products.

    Raises:
        ArtifactError: if the run is not finished, a file of it was changed, or the data are no longer those of the run.
    """
    missing = [name for name in (run_files.COMPATIBILITY, run_files.SELECTED) if not (run.folder / name).exists()]
    if missing:
        raise ArtifactError(f"run {run.folder} lacks {', '.join(missing)}; finish it with train.py resume={run.folder}")
    dataset = embed_dataset(run, dataset)
    scorers = load_scorers(run, dataset)
    generator = load_generator(run.folder / run_files.GENERATOR, scorers.scorer.sha256)
    return run_experiment(run, dataset, scorers, generator)


def run_experiment(run: Run, dataset: OutfitDataset, scorers: Scorers, generator: Generator) -> EvaluationResult:
    """Completes the split's outfits by every configured method and writes ``RUN_DIR/report``.

    Args:
        run: the run, with the counts of selected items in its folder.
        dataset: data set with embeddings.
        scorers: S and the judge.
        generator: trained generator.

    Returns:
        The metrics; on every rank the same.
    """
    config = run.config.evaluate
    evaluator = MethodEvaluator(run, dataset, scorers, generator, read_selected(run, dataset))
    tasks = evaluator.tasks(run.config.model.k, config.outfits)
    run.log("test", f"{len(tasks):,} {config.split} outfits; {tasks.left_out} are too small for k={tasks.k}")
    for k in config.sweep.k:
        evaluator.tasks(k, config.sweep.outfits)  # before hours of work: are there outfits large enough?
    records = evaluator.compare(tasks)
    conditions = dict(evaluator.with_conditions(tasks))
    sweeps = evaluator.sweeps()
    test_generator(run, dataset, scorers.scorer, generator, tasks)
    if not scorers.scorer.unchanged():
        raise RuntimeError("the frozen scorer's weights changed during the evaluation")
    result = summarise(
        records,
        catalogue=dataset.catalogue,
        dataset=dataset.name,
        split=config.split,
        seed=run.config.seed,
        scorer_sha256=scorers.scorer.sha256,
        compatibility=scorers.metrics,
        split_facts=dataset.split_facts,
        counts={**dataset.counts, f"{config.split} outfits too small for k={tasks.k}": tasks.left_out},
        removed=dict(zip(evaluator.names(tasks), tasks.removed, strict=True)),
        resamples=config.resamples,
        sweeps=sweeps,
        conditions=summarise_conditions(conditions, config.alpha),
    )
    on_rank_zero(lambda: _report(run, dataset, evaluator, tasks, records, result))
    return result


@dataclass
class MethodEvaluator:
    """One set of models, on which any method completes any tasks under the same protocol.

    Attributes:
        run: the run.
        dataset: data set with embeddings.
        scorers: S and the judge.
        generator: trained generator.
        selected: how often greedy search selected each item for training outfits, shape ``[N]``.
    """

    run: Run
    dataset: OutfitDataset
    scorers: Scorers
    generator: Generator
    selected: NDArray[np.int64]

    def __post_init__(self) -> None:
        self.outfits: Outfits = self.dataset.outfits.of(self.run.config.evaluate.split)
        catalogue = self.dataset.catalogue
        self.context = MethodContext(
            catalogue,
            scorer_module=self.scorers.scorer.module,
            judge_module=None if self.scorers.judge is None else self.scorers.judge.module,
            generator=self.generator,
            student=self.student,
            selected=self.selected,
            occurrences=np.bincount(self.dataset.outfits.of("train").items, minlength=len(catalogue)),
            search=self.run.config.targets,
            index_config=self.run.config.index,
            planned_calls=self._planned_calls(),
            seed=self.run.config.seed,
        )

    @cached_property
    def student(self) -> TwoTower | None:
        """The run's student where a method that needs it is asked for, taught now if the run has none; else None."""
        return student_of(self.run, self.dataset, self.scorers.scorer) if wants_student(self.run) else None

    def _planned_calls(self) -> int:
        """About how many calls of S the compared searches over the whole catalogue will make."""
        config = self.run.config
        outfits = len(self.outfits) if config.evaluate.outfits is None else config.evaluate.outfits
        searches = sum(spec_of(text).scans_catalogue for text in config.evaluate.methods)
        return searches * outfits * config.model.k * len(self.dataset.catalogue)

    def tasks(self, k: int, limit: int | None) -> CompletionTasks:
        """Outfits with ``k`` items removed; those of a smaller limit are among those of a larger one."""
        config = self.run.config
        if config.trainer.fast_dev_run:
            limit = config.evaluate.shard_size
        return make_tasks(self.outfits, k, 1, limit, config.seed)

    def names(self, tasks: CompletionTasks) -> list[str]:
        """The data set's names of the tasks' outfits."""
        return [self.outfits.outfit_ids[position] for position in tasks.outfits]

    def compare(self, tasks: CompletionTasks) -> list[MethodRecord]:
        """Every method of ``evaluate.methods`` on the same tasks, slow ones on some of them."""
        config = self.run.config.evaluate
        few = self.tasks(tasks.k, min(config.slow_outfits, len(tasks)))
        records = {}
        # slow methods first: one may refuse, and then at once
        for text in sorted(config.methods, key=lambda text: not spec_of(text).slow):
            slow = {text, text.partition(":")[0]} & set(config.slow_methods)
            records[text] = self.record(text, few if slow else tasks)
        return [records[text] for text in config.methods]

    def with_conditions(self, tasks: CompletionTasks) -> list[tuple[str, list[MethodRecord]]]:
        """The methods of ``evaluate.condition_methods`` with the removed items' categories or texts as conditions."""
        config = self.run.config.evaluate
        done = []
        for kind in config.conditions:
            conditioned = self._conditioned(kind, tasks, config.alpha)
            if conditioned is not None:
                methods = [
                    text
                    for text in config.condition_methods
                    if kind != "categories" or "texts" not in spec_of(text).needs
                ]
                done.append((kind, [self.record(text, conditioned) for text in methods]))
        return done

    def sweeps(self) -> list[SweepPoint]:
        """The points of ``evaluate.sweep``, one per parameter, value and method."""
        config, k = self.run.config.evaluate.sweep, self.run.config.model.k
        points: list[SweepPoint] = []
        for value in config.k:
            points += self._point("k", value, self.tasks(value, config.outfits), config.methods)
        tasks = self.tasks(k, config.outfits)
        for width in config.width:
            points += self._point("width", width, tasks, _calls_with("width", width), reference="greedy_k")
        for candidates in config.candidates:
            texts = _calls_with("candidates", candidates)
            points += self._point("candidates", candidates, tasks, texts, reference="greedy_k")
        for alpha in config.alpha:
            conditioned = self._conditioned("texts", tasks, alpha)
            if conditioned is not None:
                points += self._point("alpha", alpha, conditioned, config.methods)
        return points

    def record(self, text: str, tasks: CompletionTasks) -> MethodRecord:
        """What one method does with tasks; shards that an earlier run left are used again."""
        run, config = self.run, self.run.config.evaluate
        call = resolve_call(text, config)
        needs = set(spec_of(text).needs)
        judge = self.scorers.judge
        key = content_key(
            tasks.digest(),
            self.scorers.scorer.sha256,
            None if judge is None else judge.sha256,
            weights_digest(self.generator),
            self.dataset.catalogue.require_embeddings.key,
            [call.name, None if call.options is None else asdict(call.options)],
            [PROTOCOL, config.shard_size, run.search_precision(), run.config.seed],
            asdict(run.config.index) if {"generator", "student"} & needs else None,
            *([] if self.student is None or "student" not in needs else [weights_digest(self.student)]),
        )
        folder = run.folder / run_files.SHARDS / f"{call.name}-{key}"
        experiment = MethodExperiment(call, tasks, self.context, folder, config.shard_size)
        missing = before_writing(experiment.store.pending)
        if missing:
            run.log("test", f"{text}: {len(missing)} of {len(experiment.store)} shards{_what(tasks)}")
            run_shards(missing, experiment.start, run.config.trainer)
        else:
            run.log("test", f"{text}: reusing {folder}{_what(tasks)}")
        fields: dict[str, Any] = {"judge": None, "removed_ranks": None, **experiment.collect()}
        return MethodRecord(text, self.names(tasks), **fields)

    def _point(
        self,
        parameter: str,
        value: float,
        tasks: CompletionTasks,
        methods: Sequence[str],
        reference: str | None = None,
    ) -> list[SweepPoint]:
        """The methods at one value, each beside greedy search where that is among them or named as the reference."""
        records = {text: self.record(text, tasks) for text in methods}
        greedy = records.get("greedy_k") if reference is None else self.record(reference, tasks)
        return [sweep_point(parameter, value, record, greedy) for record in records.values()]

    def _conditioned(self, kind: str, tasks: CompletionTasks, alpha: float) -> CompletionTasks | None:
        return fulfillable(self.run, "test", self.dataset.catalogue, kind, tasks, alpha)


def _calls_with(option: str, value: int) -> list[str]:
    """Calls with a value of a swept option of their own."""
    return [f"{name}:{option}={value}" for name, spec in METHODS.items() if option in spec.swept]


def _what(tasks: CompletionTasks) -> str:
    """How tasks differ from those of the comparison, for one line of progress."""
    conditions = tasks.conditions
    if conditions is None:
        return ""
    what = ["categories"] if not conditions.allowed.all() else []
    what += [f"texts, alpha {conditions.alpha:g}"] if conditions.has_text.any() else []
    return f" (conditions: {', '.join(what)})"


def _report(
    run: Run,
    dataset: OutfitDataset,
    evaluator: MethodEvaluator,
    tasks: CompletionTasks,
    records: list[MethodRecord],
    result: EvaluationResult,
) -> None:
    names = evaluator.names(tasks)
    whole = {
        name: evaluator.outfits[int(position)].tolist() for name, position in zip(names, tasks.outfits, strict=True)
    }
    removed = {name: items.tolist() for name, items in zip(names, tasks.removed, strict=True)}
    gallery = gallery_outfits(records, dataset.catalogue, whole, removed, run.config.evaluate.gallery)
    folder = run.folder / run_files.REPORT
    save_config(run.config, folder / run_files.CONFIG)  # evaluate.py may have been given other evaluate.* than the run
    paths = write_report(result, gallery, folder, (folder / run_files.CONFIG).read_text(encoding="utf-8"))
    print(f"\n{results_table(result)}\n")
    for name, path in vars(paths).items():
        if path is not None:
            print(f"{name.replace('_', ' '):>16}: {path}")
    _log_to_wandb(run, result, paths)


def _log_to_wandb(run: Run, result: EvaluationResult, paths: ReportPaths) -> None:
    for logger in run.loggers("test"):
        if isinstance(logger, WandbLogger):
            board = logger.experiment
            board.log(
                {
                    "test/results": wandb.Table(dataframe=result.frame()),
                    **{f"test/{name}": wandb.Table(dataframe=table) for name, table in result.tables().items()},
                    **{f"test/{name}": wandb.Image(str(path)) for name, path in paths.images.items()},
                    **{
                        f"test/scores/{name}": wandb.Histogram(rows["score"].tolist())
                        for name, rows in result.scores.groupby("method")
                    },
                }
            )
            board.summary.update({"test": json.loads(json.dumps(result.to_json()))})
