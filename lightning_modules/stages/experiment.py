"""Stage ``test``: every method completes the same outfits, and the report says what came of it."""

import json
from typing import Any

import numpy as np
import wandb
from lightning.pytorch.loggers import WandbLogger
from numpy.typing import NDArray

from lightning_modules.sharded import run_shards
from lightning_modules.stages.compatibility import Scorers
from lightning_modules.stages.generator import test_generator
from lightning_modules.stages.run import CONFIG_FILE, Run, content_key
from lightning_modules.trainer import is_rank_zero, wait_for_all_ranks
from outfits.completion.prepared import PreparedRun
from outfits.completion.tasks import CompletionTasks, make_tasks
from outfits.config.load import save_config
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits
from outfits.metrics.experiment import MethodExperiment
from outfits.models.frozen import weights_digest
from outfits.models.generator import Generator
from outfits.report.gallery import gallery_outfits
from outfits.report.page import ReportPaths, write_report
from outfits.report.records import MethodRecord
from outfits.report.results import EvaluationResult, summarise
from outfits.report.table import results_table


def run_experiment(
    run: Run, dataset: OutfitDataset, scorers: Scorers, generator: Generator, selected: NDArray[np.int64]
) -> EvaluationResult:
    """Completes the split's outfits by every configured method and writes ``RUN_DIR/report``.

    Args:
        run: the run.
        dataset: data set with embeddings.
        scorers: S and the judge.
        generator: trained generator.
        selected: how often greedy search selected each item for training outfits, shape ``[N]``.

    Returns:
        The figures; on every rank the same.
    """
    config = run.config.evaluate
    outfits = dataset.outfits.of(config.split)
    limit = config.outfits if not run.config.trainer.fast_dev_run else config.shard_size
    tasks = make_tasks(outfits, run.config.model.k, 1, limit, run.config.seed)
    run.say("test", f"{len(tasks):,} {config.split} outfits; {tasks.left_out} are too small for k={tasks.k}")
    prepared = PreparedRun(
        dataset.catalogue,
        scorers.scorer.module,
        None if scorers.judge is None else scorers.judge.module,
        generator,
        selected,
        run.config.targets,
        run.config.seed,
        config.rerank_candidates,
    )
    records = [_record(run, name, outfits, tasks, prepared, scorers, dataset) for name in config.methods]
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
        compatibility=scorers.figures,
        split_facts=dataset.split_facts,
        counts={**dataset.counts, f"{config.split} outfits too small for k={tasks.k}": tasks.left_out},
    )
    if is_rank_zero():
        _report(run, dataset, outfits, tasks, records, result)
    wait_for_all_ranks()
    return result


def _record(
    run: Run,
    method: str,
    outfits: Outfits,
    tasks: CompletionTasks,
    prepared: PreparedRun,
    scorers: Scorers,
    dataset: OutfitDataset,
) -> MethodRecord:
    config = run.config.evaluate
    generator = prepared.models[2]
    key = content_key(
        tasks.digest(),
        scorers.scorer.sha256,
        None if scorers.judge is None else scorers.judge.sha256,
        None if generator is None else weights_digest(generator),
        dataset.catalogue.features.key,
        [config.rerank_candidates, config.shard_size, run.config.targets.precision, run.config.seed],
    )
    experiment = MethodExperiment(method, tasks, prepared, run.folder / "shards" / f"{method}-{key}", config.shard_size)
    missing = len(experiment.pending())
    wait_for_all_ranks()  # nobody writes before everybody has looked
    if missing:
        run.say("test", f"{method}: {missing} of {experiment.shards} shards")
        run_shards(experiment, run.config.trainer)
    else:
        run.say("test", f"{method}: reusing {experiment.folder}")
    fields: dict[str, Any] = {"judge": None, "removed_ranks": None, **experiment.collect()}
    return MethodRecord(method, [outfits.outfit_ids[position] for position in tasks.outfits], **fields)


def _report(
    run: Run,
    dataset: OutfitDataset,
    outfits: Outfits,
    tasks: CompletionTasks,
    records: list[MethodRecord],
    result: EvaluationResult,
) -> None:
    names = [outfits.outfit_ids[position] for position in tasks.outfits]
    whole = {name: outfits[int(position)].tolist() for name, position in zip(names, tasks.outfits, strict=True)}
    removed = {name: items.tolist() for name, items in zip(names, tasks.removed, strict=True)}
    gallery = gallery_outfits(records, dataset.catalogue, whole, removed, run.config.evaluate.gallery)
    folder = run.folder / "report"
    save_config(run.config, folder / CONFIG_FILE)  # evaluate.py may have been given other evaluate.* than the run
    paths = write_report(result, gallery, folder, (folder / CONFIG_FILE).read_text(encoding="utf-8"))
    print(f"\n{results_table(result)}\n")
    for name, path in vars(paths).items():
        print(f"{name.replace('_', ' '):>16}: {path}")
    _log_to_wandb(run, result, paths)


def _log_to_wandb(run: Run, result: EvaluationResult, paths: ReportPaths) -> None:
    for logger in run.loggers("test"):
        if isinstance(logger, WandbLogger):
            board = logger.experiment
            board.log(
                {
                    "test/results": wandb.Table(dataframe=result.frame()),
                    **{f"test/{name}": wandb.Image(str(path)) for name, path in _pictures(paths).items()},
                    **{
                        f"test/scores/{name}": wandb.Histogram(rows["score"].tolist())
                        for name, rows in result.scores.groupby("method")
                    },
                }
            )
            board.summary.update({"test": json.loads(json.dumps(result.to_json()))})


def _pictures(paths: ReportPaths) -> dict[str, Any]:
    pictures = {"distributions": paths.distributions, "trade_off": paths.trade_off, "completions": paths.completions}
    return {name: path for name, path in pictures.items() if path is not None}
