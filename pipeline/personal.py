"""Stage ``personal``: trains HFGN and its peers on what users like, and measures all by the same rankings."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch_geometric.data import HeteroData

from datamodules.personal import PersonalDataModule
from lightning_modules.personal import PersonalModule
from lightning_modules.trainer import before_writing, on_rank_zero
from outfits import run_files
from outfits.config.schema.personal import RECOMMENDERS
from outfits.data.dataset import OutfitDataset
from outfits.data.users import UserOutfits
from outfits.errors import DataError
from outfits.graphs.user_graph import user_graph
from outfits.metrics.personal import Evaluation
from outfits.models.frozen import load_recommender
from outfits.models.hfgn import Hfgn
from outfits.report.personal.report import PersonalResult, examples, write_report
from outfits.storage import copy_file, write_atomically
from outfits.weights import save_network
from pipeline.cached import fit_into_cache, to_be_made
from pipeline.dataset import record_dataset
from pipeline.embeddings import embed_dataset
from pipeline.reports import leave_report
from pipeline.run import Run, content_key

NOT_LEARNING = ("peers", "beta", "cold_users")  # keys that no model depends on


def learn_personal(run: Run, dataset: OutfitDataset) -> Hfgn:
    """Trains HFGN and its peers, or finds them finished, and writes the report on them.

    Raises:
        DataError: if the data set has no users, or no pair of a user and an outfit in a split that is needed.
    """
    dataset, users = _prepared(run, dataset)
    graph = user_graph(dataset.catalogue, dataset.outfits, users)
    path = run.folder / run_files.RECOMMENDER
    if not before_writing(path.exists):
        trained = _trained(run, dataset, users, graph, "hfgn") / run_files.RECOMMENDER
        on_rank_zero(lambda: copy_file(trained, path))
    recommender = load_recommender(path)
    models: dict[str, Any] = {"hfgn": recommender}
    models |= {name: _peer(run, dataset, users, graph, name) for name in run.config.personal.peers}
    split, seed = run.config.evaluate.split, run.config.seed
    evaluation = Evaluation(graph, dataset, split, run.config.personal.cold_users, seed)
    result = PersonalResult.of(
        {name: evaluation.measure(model) for name, model in models.items()}, dataset, split, seed
    )
    with torch.no_grad():
        of_users, of_outfits = (part.numpy() for part in recommender.vectors(graph))

    def write() -> None:
        shown = examples(dataset, split, of_users, of_outfits)
        leave_report(run, run_files.PERSONAL, result.table(), partial(write_report, result, shown))

    on_rank_zero(write)
    return recommender


def evaluate_personal(run: Run, dataset: OutfitDataset) -> None:
    """Measures a finished run again."""
    learn_personal(run, dataset)


def _prepared(run: Run, dataset: OutfitDataset) -> tuple[OutfitDataset, UserOutfits]:
    """The data set with what HFGN sees of items, and its users."""
    users = dataset.users
    if users is None:
        raise DataError(
            f"{dataset.name} has no users, for whom stage personal recommends; set data.tables.users, "
            "data.synthetic.users or data.format=polyvore_u"
        )
    for split in ("train", "valid", run.config.evaluate.split):
        if not users.pairs(split).shape[1]:
            way_out = "raise its share in data.split.shares"
            if run.config.data.split.users != "per_user":
                way_out = "set data.split.users=per_user"
            raise DataError(f"no user likes an outfit of the {split} split; {way_out}")
    if run.config.personal.embeddings:
        return embed_dataset(run, dataset), users
    record_dataset(run, dataset)
    return dataset, users


def _peer(run: Run, dataset: OutfitDataset, users: UserOutfits, graph: HeteroData, name: str) -> Any:
    """Builds a peer and, if it learns, loads its weights from the cache or trains it."""
    model = RECOMMENDERS[name].load()(graph, run.config.personal)
    if isinstance(model, nn.Module):
        weights = _trained(run, dataset, users, graph, name) / run_files.PEER
        model.load_state_dict(torch.load(weights, weights_only=True))
        model.eval().requires_grad_(False)
    return model


def _trained(run: Run, dataset: OutfitDataset, users: UserOutfits, graph: HeteroData, name: str) -> Path:
    """Trains a model into the cache, or finds it there; returns its folder."""
    config, seed = run.config.personal, run.config.seed
    embeddings = dataset.catalogue.embeddings
    key = content_key(
        {name: value for name, value in asdict(config).items() if name not in NOT_LEARNING},
        None if embeddings is None else embeddings.key,
        dataset.catalogue.categories.tolist(),
        [dataset.outfits.items.tolist(), dataset.outfits.offsets.tolist()],
        [users.users.tolist(), users.outfits.tolist(), users.split.tolist()],
        seed,
        *run.training_facts(),
    )
    folder = run.cache / "recommenders" / f"{name}-{key}"
    path = folder / (run_files.RECOMMENDER if name == "hfgn" else run_files.PEER)

    def save(model: nn.Module) -> None:
        if isinstance(model, Hfgn):
            save_network(model, path)
        else:
            write_atomically(path, lambda file: torch.save(model.state_dict(), file))

    with to_be_made(run, path, "personal", f"the {name}") as missing:
        if missing:
            run.log("personal", f"training the {name} on {users.pairs('train').shape[1]:,} liked outfits → {folder}")
            build = partial(RECOMMENDERS[name].load(), graph, config)
            data = PersonalDataModule(
                dataset, graph.category_weights, config, num_workers=run.config.data.num_workers, seed=seed
            )
            fit_into_cache(
                run, folder, name, "ndcg", config, lambda: PersonalModule(graph, users, build, config, name), data, save
            )
    return folder
