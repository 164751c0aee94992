"""A finished run made by hand from untrained models, for tests of what is done with one."""

import json
from pathlib import Path

import numpy as np
import torch

from outfits import run_files
from outfits.config.load import load_config
from outfits.data.load import load_dataset
from outfits.models.compatibility import OutfitTransformer
from outfits.models.frozen import save_generator, save_scorer, save_student
from outfits.models.generator import Generator
from outfits.models.student import TwoTower
from outfits.storage import write_text
from outfits.stylist import StyledOutfit
from pipeline.embeddings import embed_catalogue
from pipeline.finished import record_dataset, save_selected
from pipeline.run import open_run

RECIPE = Path(__file__).parent / "runs" / "tiny.yaml"


def make_run(root: Path, *options: str) -> Path:
    """Writes data, cache and run folder under ``root``; models have random weights, large enough that scores differ."""
    place = [f"data.root={root / 'data'}", f"cache_dir={root / 'cache'}", f"run_dir={root / 'run'}"]
    run = open_run(load_config([f"experiment={RECIPE}", *place, *options]))
    dataset = embed_catalogue(run, load_dataset(run.config.data))
    record_dataset(run, dataset)
    features, model = dataset.catalogue.require_embeddings, run.config.model
    torch.manual_seed(0)
    scorer = OutfitTransformer(features.image_dim, features.text_dim, width=16, layers=1, heads=2, feedforward=16)
    maker = Generator(
        features.image_dim,
        features.text_dim,
        len(dataset.catalogue.category_names),
        model.k_max,
        width=16,
        layers=1,
        retrieval_dim=8,
    )
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter.mul_(2.5)
    sha256 = save_scorer(scorer, run.folder / run_files.SCORER)
    write_text(run.folder / run_files.COMPATIBILITY, json.dumps({"sha256": sha256, "judge_sha256": None}))
    save_generator(maker, run.folder / run_files.GENERATOR, sha256)
    save_student(TwoTower(16, width=8, hidden=12), run.folder / run_files.STUDENT, sha256)
    save_selected(run, dataset, np.arange(len(dataset.catalogue)) % 3)
    return run.folder


def added_ids(outfit: StyledOutfit) -> list[str]:
    """Ids of the items that were added to an outfit."""
    return [item.name for item in outfit.added]
