"""Stage ``test``: completes the same outfits by every method and writes the report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from numpy.typing import NDArray

from callbacks.loggers import log_to_boards
from lightning_modules.trainer import before_writing, on_rank_zero
from outfits import run_files
from outfits.completion.completion import MethodOutcome
from outfits.completion.context import MethodContext
from outfits.completion.tasks import CompletionTasks, make_tasks
from outfits.config.load import save_config
from outfits.config.method_calls import resolve_call
from outfits.config.schema.methods import METHODS, spec_of
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits
from outfits.errors import ArtifactError
from outfits.metrics.method_evaluation import PROTOCOL, collected, evaluation_store, evaluation_work
from outfits.mining.mined import fulfillable
from outfits.mining.targets import read_selected
from outfits.models.frozen import load_generator
from outfits.models.generator import Generator
from outfits.models.retrieval import RetrievalTransformer
from outfits.models.student import TwoTower
from outfits.report.comparison.gallery import gallery_outfits
from outfits.report.comparison.page import write_report
from outfits.report.comparison.results import (
    EvaluationResult,
    score_table,
    summarise,
    summarise_conditions,
    summarise_sweeps,
)
from outfits.report.comparison.table import results_table
from outfits.storage import writing
from outfits.weights import weights_digest
from pipeline.compatibility import Scorers, load_scorers
from pipeline.embeddings import embed_dataset
from pipeline.generator import test_generator
from pipeline.imagine import learn_decoder
from pipeline.retrieval import retriever_of
from pipeline.run import Run, content_key, wants
from pipeline.shards import compute_shards
from pipeline.student import student_of


def evaluate_finished(run: Run, dataset: OutfitDataset) -> EvaluationResult:
    """Runs the experiment with the models in a finished run's folder, without its training products.

    Raises:
        ArtifactError: if the run is not finished, a file of it was changed, or the data are no longer those of the run.
    """
    missing = [name for name in (run_files.COMPATIBILITY, run_files.SELECTED) if not (run.folder / name).exists()]
    if missing:
        way_out = f"finish it with train.py resume={run.folder}, naming what it lacks in stages=[…]"
        raise ArtifactError(f"run {run.folder} lacks {', '.join(missing)}; {way_out}")
    dataset = embed_dataset(run, dataset)
    scorers = load_scorers(run, dataset)
    generator = load_generator(run.folder / run_files.GENERATOR, scorers.scorer.sha256)
    result = run_experiment(run, dataset, scorers, generator)
    if run.config.evaluate.imagine:
        learn_decoder(run, dataset, scorers, generator)
    return result


def run_experiment(run: Run, dataset: OutfitDataset, scorers: Scorers, generator: Generator) -> EvaluationResult:
    """Completes the split's outfits by every configured method, writes ``RUN_DIR/report`` and returns the metrics.

    The run's folder holds the counts of selected items; the data set has embeddings. Every rank returns the same.
    """
    config = run.config.evaluate
    selected = read_selected(run.folder / run_files.SELECTED, dataset.catalogue)
    evaluator = MethodEvaluator(run, dataset, scorers, generator, selected)
    tasks = evaluator.tasks(run.config.model.k, config.outfits)
    run.log("test", f"{len(tasks):,} {config.split} outfits; {tasks.left_out} are too small for k={tasks.k}")
    for k in config.sweep.k:
        evaluator.tasks(k, config.sweep.outfits)  # fails here, not after hours, if all outfits are too small
    outcomes = evaluator.compare(tasks)
    conditions = evaluator.with_conditions(tasks)
    sweeps = evaluator.sweeps()
    test_generator(run, dataset, scorers.scorer, generator, tasks)
    if not scorers.scorer.unchanged():
        raise RuntimeError("the frozen scorer's weights changed during the evaluation")
    result = EvaluationResult(
        dataset=dataset.name,
        split=config.split,
        k=tasks.k,
        catalogue=len(dataset.catalogue),
        seed=run.config.seed,
        scorer_sha256=scorers.scorer.sha256,
        compatibility=scorers.metrics,
        methods=summarise(outcomes, dataset.catalogue, seed=run.config.seed, resamples=config.resamples),
        split_facts=dataset.split_facts,
        counts={**dataset.counts, f"{config.split} outfits too small for k={tasks.k}": tasks.left_out},
        resamples=config.resamples,
        calibration=scorers.calibration,
        sweeps=summarise_sweeps(sweeps),
        conditions=summarise_conditions(conditions),
        scores=score_table(outcomes, dataset.catalogue),
    )
    on_rank_zero(lambda: _report(run, dataset, outcomes, result))
    return result


@dataclass
class MethodEvaluator:
    """Completes any tasks by any method with one set of models, under the same protocol.

    ``dataset`` has embeddings; ``selected`` counts how often greedy search selected each item for training outfits,
    shape ``[N]``.
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
            retriever=self.retriever,
            selected=self.selected,
            occurrences=np.bincount(self.dataset.outfits.of("train").items, minlength=len(catalogue)),
            search=self.run.config.targets,
            index_config=self.run.config.index,
            planned_calls=self._planned_calls(),
            seed=self.run.config.seed,
        )

    @cached_property
    def student(self) -> TwoTower | None:
        """The run's student, taught now if the run has none; None where no method asked for needs it."""
        return student_of(self.run, self.dataset, self.scorers.scorer) if wants(self.run, "student") else None

    @cached_property
    def retriever(self) -> RetrievalTransformer | None:
        """The run's retriever, trained now if the run has none; None where no method asked for needs it."""
        if not wants(self.run, "retriever"):
            return None
        return retriever_of(self.run, self.dataset, self.scorers.scorer)

    def _planned_calls(self) -> int:
        """Estimates the calls of S of the compared searches over the whole catalogue."""
        config = self.run.config
        outfits = len(self.outfits) if config.evaluate.outfits is None else config.evaluate.outfits
        searches = sum(spec_of(text).scans_catalogue for text in config.evaluate.methods)
        return searches * outfits * config.model.k * len(self.dataset.catalogue)

    def tasks(self, k: int, limit: int | None) -> CompletionTasks:
        """Removes ``k`` items from outfits; the tasks of a smaller limit are among those of a larger one."""
        config = self.run.config
        if config.trainer.fast_dev_run:
            limit = config.evaluate.shard_size
        return make_tasks(self.outfits, k, 1, limit, config.seed)

    def compare(self, tasks: CompletionTasks) -> dict[str, MethodOutcome]:
        """Runs every method of ``evaluate.methods`` on the same tasks, slow ones on some of them."""
        config = self.run.config.evaluate
        few = self.tasks(tasks.k, min(config.slow_outfits, len(tasks)))
        outcomes = {}
        # slow methods first: one that raises does so at once
        for text in sorted(config.methods, key=lambda text: not spec_of(text).slow):
            slow = {text, text.partition(":")[0]} & set(config.slow_methods)
            outcomes[text] = self.outcome(text, few if slow else tasks)
        return outcomes

    def with_conditions(self, tasks: CompletionTasks) -> dict[str, dict[str, MethodOutcome]]:
        """Runs ``evaluate.condition_methods`` with the removed items' categories or texts as conditions."""
        config = self.run.config.evaluate
        done = {}
        for kind in config.conditions:
            conditioned = self._conditioned(kind, tasks, config.alpha)
            if conditioned is not None:
                methods = [
                    text
                    for text in config.condition_methods
                    if kind != "categories" or "texts" not in spec_of(text).needs
                ]
                done[kind] = self._outcomes(methods, conditioned)
        return done

    def sweeps(self) -> dict[str, dict[float, dict[str, MethodOutcome]]]:
        """Runs the methods of ``evaluate.sweep`` at every value of every parameter, with greedy search beside them."""
        config, k = self.run.config.evaluate.sweep, self.run.config.model.k
        tasks = self.tasks(k, config.outfits)
        conditioned = {alpha: self._conditioned("texts", tasks, alpha) for alpha in config.alpha}
        return {
            "k": {value: self._outcomes(config.methods, self.tasks(value, config.outfits)) for value in config.k},
            "width": {
                width: self._outcomes([*_calls_with("width", width), "greedy_k"], tasks) for width in config.width
            },
            "candidates": {
                r: self._outcomes([*_calls_with("candidates", r), "greedy_k"], tasks) for r in config.candidates
            },
            "alpha": {
                alpha: self._outcomes(config.methods, each) for alpha, each in conditioned.items() if each is not None
            },
        }

    def outcome(self, text: str, tasks: CompletionTasks) -> MethodOutcome:
        """Runs one method on tasks, reusing shards of an earlier run."""
        run, config = self.run, self.run.config.evaluate
        call = resolve_call(text, config)
        needs = set(spec_of(text).needs)
        judge, taught = self.scorers.judge, {"student": self.student, "retriever": self.retriever}
        key = content_key(
            tasks.digest(),
            self.scorers.scorer.sha256,
            None if judge is None else judge.sha256,
            weights_digest(self.generator),
            self.dataset.catalogue.require_embeddings.key,
            [call.name, None if call.options is None else asdict(call.options)],
            [PROTOCOL, config.shard_size, run.search_precision(), run.config.seed],
            asdict(run.config.index) if {"generator", "student"} & needs else None,
            *[weights_digest(model) for need, model in taught.items() if need in needs and model is not None],
        )
        folder = run.folder / run_files.SHARDS / f"{call.name}-{key}"
        store = evaluation_store(folder, call, tasks, config.shard_size)
        missing = before_writing(store.pending)
        if missing:
            run.log("test", f"{text}: {len(missing)} of {len(store)} shards{_what(tasks)}")
            work = evaluation_work(store, call, tasks, self.context)
            compute_shards(run, "test", store, work, together=run.config.targets.states == "dealt")
        else:
            run.log("test", f"{text}: reusing {folder}{_what(tasks)}")
        names = [self.outfits.outfit_ids[position] for position in tasks.outfits]
        return replace(collected(store, tasks), outfit_ids=np.array(names))

    def _outcomes(self, methods: Sequence[str], tasks: CompletionTasks) -> dict[str, MethodOutcome]:
        return {text: self.outcome(text, tasks) for text in methods}

    def _conditioned(self, kind: str, tasks: CompletionTasks, alpha: float) -> CompletionTasks | None:
        return fulfillable(tasks, kind, self.dataset.catalogue, alpha, partial(self.run.log, "test"))


def _calls_with(option: str, value: int) -> list[str]:
    """Lists the calls with a value of a swept option."""
    return [f"{name}:{option}={value}" for name, spec in METHODS.items() if option in spec.swept]


def _what(tasks: CompletionTasks) -> str:
    """Names the conditions of tasks, for one line of progress."""
    conditions = tasks.conditions
    if conditions is None:
        return ""
    what = ["categories"] if not conditions.allowed.all() else []
    what += [f"texts, alpha {conditions.alpha:g}"] if conditions.has_text.any() else []
    return f" (conditions: {', '.join(what)})"


def _report(run: Run, dataset: OutfitDataset, outcomes: Mapping[str, MethodOutcome], result: EvaluationResult) -> None:
    gallery = gallery_outfits(outcomes, result.methods, dataset.catalogue, run.config.evaluate.gallery)
    folder = run.folder / run_files.REPORT
    save_config(run.config, folder / run_files.CONFIG)  # evaluate.py may have other evaluate.* than the run
    with writing(folder):
        paths = write_report(result, gallery, folder, (folder / run_files.CONFIG).read_text(encoding="utf-8"))
    print(f"\n{results_table(result)}\n")
    for name, path in paths.items():
        print(f"{name.replace('_', ' '):>16}: {path}")
    _log_to_wandb(run, result, paths)


def _log_to_wandb(run: Run, result: EvaluationResult, paths: Mapping[str, Path]) -> None:
    def log(board: Any) -> None:
        board.log(
            {
                "test/results": wandb.Table(dataframe=result.frame()),
                **{f"test/{name}": wandb.Table(dataframe=table) for name, table in result.tables().items()},
                **{f"test/{name}": wandb.Image(str(path)) for name, path in paths.items() if path.suffix == ".png"},
                **{
                    f"test/scores/{name}": wandb.Histogram(rows["score"].tolist())
                    for name, rows in result.scores.groupby("method")
                },
            }
        )
        board.summary.update({"test": json.loads(json.dumps(result.to_json()))})

    log_to_boards(run.loggers("test"), log)
