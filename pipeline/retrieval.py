"""Stage ``retrieval``: trains complementary retrieval and its peers, and measures all on the same pools."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from datamodules.retrieval import RetrievalDataModule
from lightning_modules.retrieval import RetrievalModule
from lightning_modules.trainer import before_writing, on_rank_zero
from outfits import run_files
from outfits.completion.context import MethodContext
from outfits.config.schema.retrieval import RETRIEVERS
from outfits.data.dataset import OutfitDataset
from outfits.metrics.retrieval import (
    by_chance,
    by_compatibility,
    by_frequency,
    by_mean_cosine,
    by_retriever,
    make_pools,
    pool_recall,
)
from outfits.models.frozen import FrozenScorer, load_retriever
from outfits.models.retrieval import RetrievalTransformer, Retriever
from outfits.report.retrieval.report import RetrievalResult, write_report
from outfits.storage import copy_file
from outfits.weights import load_network, save_network
from pipeline.cached import fit_into_cache, to_be_made
from pipeline.compatibility import Scorers, load_scorers, scorer_and_judge_outfits
from pipeline.embeddings import embed_dataset
from pipeline.reports import leave_report
from pipeline.run import Run, content_key

MOST_CALLS = 5_000_000  # of S beside the retriever, about a minute on two cores
NOT_LEARNING = ("peers", "pool", "min_pool")  # keys that no model depends on


def learn_retrieval(run: Run, dataset: OutfitDataset, scorers: Scorers) -> RetrievalTransformer:
    """Trains the retriever and its peers, or finds them finished, and writes the report on them."""
    retriever = retriever_of(run, dataset, scorers.scorer)
    report_retrieval(run, dataset, scorers, retriever)
    return retriever


def evaluate_retrieval(run: Run, dataset: OutfitDataset) -> None:
    """Measures a finished run again."""
    embedded = embed_dataset(run, dataset)
    scorers = load_scorers(run, embedded)
    report_retrieval(run, embedded, scorers, retriever_of(run, embedded, scorers.scorer))


def retriever_of(run: Run, dataset: OutfitDataset, scorer: FrozenScorer) -> RetrievalTransformer:
    """Loads the run's retriever, or trains it now if the run has none.

    Raises ArtifactError also if it began from another S.
    """
    path = run.folder / run_files.RETRIEVER
    if not before_writing(path.exists):
        trained = _trained(run, dataset, scorer, "transformer")
        on_rank_zero(lambda: copy_file(trained, path))
    return load_retriever(path, scorer.sha256)


def report_retrieval(run: Run, dataset: OutfitDataset, scorers: Scorers, retriever: RetrievalTransformer) -> None:
    """Measures the retriever, its peers, controls and S on the pools of the evaluated split."""
    config, catalogue, split = run.config.retrieval, dataset.catalogue, run.config.evaluate.split
    train, _ = scorer_and_judge_outfits(run, dataset)
    pools = make_pools(catalogue, dataset.outfits.of(split), config.pool, config.min_pool, run.config.seed)
    run.log("retrieval", f"{split} split: {sum(len(pool.given) for pool in pools):,} questions, {len(pools)} pools")
    embeddings, device = catalogue.require_embeddings, torch.device("cpu")
    context = MethodContext(catalogue, scorers.scorer.module, search=run.config.targets)
    rows = {
        "chance": by_chance,
        "most_frequent": by_frequency(np.bincount(train.items, minlength=len(catalogue))),
        "mean_cosine": by_mean_cosine(embeddings),
        "retrieval": by_retriever(retriever, catalogue, device),
    }
    calls = sum(len(pool.given) * len(pool.items) for pool in pools)
    if calls <= MOST_CALLS:
        rows["compatibility"] = by_compatibility(context.scorer)
    else:
        run.log("retrieval", f"S itself is left out of the comparison: it would be called {calls:,} times")
    if embeddings.text_dim:
        rows["retrieval_text"] = by_retriever(retriever, catalogue, device, np.array(embeddings.text))
    for name in config.peers:
        rows[name] = by_retriever(_peer(run, dataset, scorers.scorer, name), catalogue, device)
    result = RetrievalResult(
        dataset=dataset.name,
        split=split,
        seed=run.config.seed,
        scorer_sha256=scorers.scorer.sha256,
        pools=pools,
        recall={name: pool_recall(pools, scores) for name, scores in rows.items()},
    )
    write = partial(write_report, result, catalogue, rows["retrieval"])
    on_rank_zero(lambda: leave_report(run, run_files.RETRIEVAL, result.table(), write))


def _peer(run: Run, dataset: OutfitDataset, scorer: FrozenScorer, name: str) -> Retriever:
    """Loads a peer from the cache, or trains it."""
    path = _trained(run, dataset, scorer, name)
    built = RETRIEVERS[name].load()(scorer.module, len(dataset.catalogue.category_names), run.config.retrieval)
    module: Retriever = load_network(type(built), type(built.config), path, name, "delete it and train it again")[0]
    return module


def _trained(run: Run, dataset: OutfitDataset, scorer: FrozenScorer, name: str) -> Path:
    """Trains a model into the cache, or finds it there; returns its file."""
    config, catalogue, seed = run.config.retrieval, dataset.catalogue, run.config.seed
    train, _ = scorer_and_judge_outfits(run, dataset)
    valid = dataset.outfits.of("valid")
    key = content_key(
        {name: value for name, value in asdict(config).items() if name not in NOT_LEARNING},
        scorer.sha256,
        catalogue.require_embeddings.key,
        catalogue.categories.tolist(),
        [train.items.tolist(), train.offsets.tolist(), valid.items.tolist(), valid.offsets.tolist()],
        seed,
        *run.training_facts(),
    )
    folder = run.cache / "retrievers" / f"{name}-{key}"
    path = folder / run_files.RETRIEVER
    with to_be_made(run, path, "retrieval", f"the {name}") as missing:
        if missing:
            run.log("retrieval", f"training the {name} on {len(train):,} outfits → {folder}")
            build = partial(RETRIEVERS[name].load(), scorer.module, len(catalogue.category_names), config)
            fit_into_cache(
                run,
                folder,
                name,
                "recall",
                config,
                lambda: RetrievalModule(catalogue, build, config, name),
                RetrievalDataModule(dataset, config, train, num_workers=run.config.data.num_workers, seed=seed),
                lambda model: save_network(model, path, scorer_sha256=scorer.sha256),
            )
    return path
