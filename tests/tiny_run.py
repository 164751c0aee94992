"""A finished run made by hand from untrained models, for tests of what is done with one."""

import json
from pathlib import Path

import numpy as np
import torch

from outfits import run_files
from outfits.config.load import load_config
from outfits.config.schema.imaging_conditional import ConditionalArchitecture
from outfits.config.schema.model import GeneratorArchitecture
from outfits.config.schema.retrieval import RetrievalConfig
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.config.schema.targets import StudentArchitecture
from outfits.data.load import load_dataset
from outfits.imaging.conditional import ConditionalGenerator
from outfits.imaging.decoder import save_decoder
from outfits.models.compatibility import OutfitTransformer
from outfits.models.generator import Generator
from outfits.models.retrieval import build_transformer
from outfits.models.student import TwoTower
from outfits.storage import write_text
from outfits.stylist import StyledOutfit
from outfits.weights import save_network
from pipeline.embeddings import embed_dataset
from pipeline.run import open_run
from pipeline.targets import save_selected

RECIPE = Path(__file__).parent / "runs" / "tiny.yaml"


def make_run(root: Path, *options: str) -> Path:
    """Writes data, cache and run folder under ``root``; models have random weights, large enough that scores differ."""
    place = [f"data.root={root / 'data'}", f"cache_dir={root / 'cache'}", f"run_dir={root / 'run'}"]
    run = open_run(load_config([f"experiment={RECIPE}", *place, *options]))
    dataset = embed_dataset(run, load_dataset(run.config.data))
    features, model = dataset.catalogue.require_embeddings, run.config.model
    torch.manual_seed(0)
    scorer = OutfitTransformer(
        ScorerArchitecture(width=16, layers=1, heads=2, feedforward=16), features.image_dim, features.text_dim
    )
    small = GeneratorArchitecture(k_max=model.k_max, width=16, layers=1, retrieval_dim=8)
    maker = Generator(small, features.image_dim, features.text_dim, len(dataset.catalogue.category_names))
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter.mul_(2.5)
    sha256 = save_network(scorer, run.folder / run_files.SCORER)
    write_text(run.folder / run_files.COMPATIBILITY, json.dumps({"sha256": sha256, "judge_sha256": None}))
    save_network(maker, run.folder / run_files.GENERATOR, scorer_sha256=sha256)
    save_network(
        TwoTower(StudentArchitecture(width=8, hidden=12), 16), run.folder / run_files.STUDENT, scorer_sha256=sha256
    )
    retriever = build_transformer(scorer, len(dataset.catalogue.category_names), RetrievalConfig(dim=6))
    save_network(retriever, run.folder / run_files.RETRIEVER, scorer_sha256=sha256)
    decoder = ConditionalGenerator(
        ConditionalArchitecture(width=8, hidden=8), maker.latent_dim + maker.num_categories, 16
    )
    save_decoder(decoder, run.folder / run_files.DECODER, maker)
    save_selected(run, dataset, np.arange(len(dataset.catalogue)) % 3)
    return run.folder


def added_ids(outfit: StyledOutfit) -> list[str]:
    """Ids of the items that were added to an outfit."""
    return [item.name for item in outfit.added]
