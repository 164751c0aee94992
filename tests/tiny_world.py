"""A tiny catalogue with a random scorer, and tasks on it, for tests of completion methods."""

import numpy as np
import torch

from outfits.completion.context import MethodContext
from outfits.completion.search.expansion import SearchQuery
from outfits.completion.tasks import CompletionTasks
from outfits.config.method_calls import resolve_call
from outfits.config.schema.evaluate import EvaluateConfig
from outfits.config.schema.methods import (
    BeamTwoStageConfig,
    GeneratorBeamConfig,
    GradientConfig,
    GreedyTwoStageConfig,
    RerankConfig,
)
from outfits.config.schema.retrieval import RetrievalConfig
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.config.schema.targets import StudentArchitecture, TargetsConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.index.category_index import CategoryIndex
from outfits.models.compatibility import OutfitTransformer
from outfits.models.retrieval import build_transformer
from outfits.models.student import TwoTower

ITEMS, CATEGORIES, IMAGE, TEXT = 48, 6, 5, 4


class World:
    """A tiny catalogue with a scorer of random weights, large enough that scores differ clearly."""

    def __init__(self, items=ITEMS, block=7, precision="fp32"):
        rng = np.random.default_rng(0)
        self.vectors = rng.normal(size=(ITEMS, IMAGE + TEXT)).astype(np.float32)[:items]
        for part in (slice(IMAGE), slice(IMAGE, None)):
            self.vectors[:, part] /= np.linalg.norm(self.vectors[:, part], axis=1, keepdims=True)
        self.present = (rng.random((ITEMS, 2)) < 0.9)[:items]
        self.features = ItemEmbeddings(self.vectors, self.present, IMAGE, TEXT)
        self.categories = (np.arange(ITEMS) % CATEGORIES)[:items]
        torch.manual_seed(0)
        module = OutfitTransformer(ScorerArchitecture(width=16, layers=2, heads=2, feedforward=24), IMAGE, TEXT)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(2.5)
        self.module = module.eval().requires_grad_(False)
        self.index = CategoryIndex(self.vectors, self.categories)
        torch.manual_seed(1)
        self.student = TwoTower(StudentArchitecture(width=8, hidden=12), 16).eval().requires_grad_(False)
        torch.manual_seed(2)
        retriever = build_transformer(module, CATEGORIES, RetrievalConfig(dim=6))
        self.retriever = retriever.eval().requires_grad_(False)
        self.search = TargetsConfig(precision=precision, candidate_block=block)
        ids, names = [str(n) for n in range(items)], [f"category-{n}" for n in range(CATEGORIES)]
        self.catalogue = Catalogue(
            ids, self.categories.astype(np.int32), names, ["text"] * items, [None] * items, self.features
        )
        self.context = self.context_of(scorer_module=self.module, student=self.student, retriever=self.retriever)
        self.scorer, self.similarity = self.context.scorer, self.context.similarity
        self.shortlists = self.context.shortlists

    def query(self, outfits, k, **options):
        """What a search with this world's scorer is asked."""
        return SearchQuery(self.scorer, torch.as_tensor(outfits), k, **options)

    def context_of(self, **options):
        """What methods may use of this world."""
        return MethodContext(self.catalogue, search=self.search, **options)

    def logit(self, items):
        items = list(items)
        vectors, present = torch.from_numpy(self.vectors[items]), torch.from_numpy(self.present[items])
        return self.module(vectors[None], present[None]).item()

    def allowed(self, items):
        taken = set(self.categories[list(items)])
        return [item for item in range(len(self.categories)) if self.categories[item] not in taken]


GIVEN = [[0, 7, 14], [1, 2], [9, 4, 11], [20, 33], [0, 6, 13]]  # the last breaks the rule among its own items
REMOVED = [[3, 4], [3, 5], [0, 2], [1, 4], [2, 3]]


def tasks_of(given=GIVEN, removed=REMOVED):
    positions = np.arange(len(given), dtype=np.int64)
    return CompletionTasks(
        [np.array(items, dtype=np.int32) for items in given],
        np.array(removed, dtype=np.int32),
        positions,
        np.zeros(len(given), dtype=np.int64),
    )


def latents_by_seed(tasks):
    """Latents that only the given items of a task decide."""
    return torch.stack(
        [
            torch.from_numpy(np.random.default_rng([5, *sorted(g.tolist())]).normal(size=(tasks.k, 9))).float()
            for g in tasks.given
        ]
    )


def context_with(world, **parts):
    """What methods may use, with an index and latents that no generator made, and the world's own scorer."""
    rng = np.random.default_rng(1)
    context = world.context_of(
        scorer_module=world.module,
        student=world.student,
        retriever=world.retriever,
        selected=rng.integers(5, size=len(world.categories)),
        occurrences=rng.integers(9, size=len(world.categories)),
    )
    made = {"scorer": world.scorer, "shortlists": world.shortlists, "index": world.index, "latents": latents_by_seed}
    for name, part in (made | parts).items():
        setattr(context, name, part)
    return context


OPTIONS = EvaluateConfig(
    greedy_two_stage=GreedyTwoStageConfig(candidates=5),
    beam_two_stage=BeamTwoStageConfig(candidates=5, width=3),
    gradient=GradientConfig(steps=6, restarts=2),
    generator_rerank=RerankConfig(candidates=3),
    generator_beam=GeneratorBeamConfig(candidates=3, width=3),
)


def call(text):
    """A method with options small enough for tests."""
    return resolve_call(text, OPTIONS)
