"""The models, the catalogue and the counts of a run that completion methods use, on a device."""

from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Self, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from outfits.completion.gradient.projection import ItemSpace
from outfits.completion.search import expansion
from outfits.completion.search.shortlists import Shortlists
from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.index import IndexConfig
from outfits.config.schema.targets import TargetsConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.errors import ArtifactError
from outfits.graphs.completion_graph import completion_graph
from outfits.index.catalogue_index import MappedVectors, index_catalogue, index_items
from outfits.index.category_index import GPU_MAX_NEIGHBOURS, CategoryIndex
from outfits.index.changed_index import ChangedIndex
from outfits.index.item_index import ItemIndex
from outfits.models.compatibility import OutfitTransformer
from outfits.models.generator import Generator, latents_of
from outfits.models.retrieval import RetrievalTransformer
from outfits.models.similarity import TextSimilarity
from outfits.models.student import TwoTower
from outfits.scoring.candidates import CandidateScorer
from outfits.scoring.ranks import DealtScorer, ProcessGroupRanks

T = TypeVar("T")

COMPILE_FROM = 5_000_000
"""Number of calls of S from which compiling it saves more time than it takes."""
PARTS = ("scorer", "judge", "index", "retrieval_index", "similarity", "shortlists", "space")
"""Properties that are built on the device."""


class _Shared(cached_property[T]):
    """A part that has nothing to do with external items: built once for a context and its copies that hold such."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        return super().__get__(None if instance is None else instance.root, owner)


@dataclass
class MethodContext:
    """Models, catalogue and counts of a run for methods to use; each takes what it needs.

    Scorers, index and the like are built on the device at their first use, so a method reads them before its stopwatch
    starts.

    Attributes:
        catalogue: items with embeddings, ``N`` of them.
        scorer_module: frozen S.
        judge_module: the second scorer, which no method may use.
        generator: trained generator in evaluation mode.
        student: ranks the catalogue for two-stage search.
        retriever: maps outfits and wishes to queries near the items that complete them.
        selected: how often greedy search selected each item for training outfits, shape ``[N]``.
        occurrences: how often each item occurs in a training outfit, shape ``[N]``.
        index_store: replaces the index, as a vector store outside this process does.
        search: arithmetic and block size of S.
        index_config: how the items nearest to latents are found; None: exactly.
        planned_calls: about how many calls of S there will be, which decides whether it is compiled.
        seed: seed of the experiment.
        external: embeddings of external items, which stand in outfits but cannot be chosen, see :meth:`with_external`.
        categories: category of every item and, after them, of every external item, int64, shape ``[N + m]``.
        base: the context that this one is a copy of, for external items; None: it is no copy.
        origin: the context whose catalogue was changed for this one, and the positions in it of the items that stayed;
            None: the catalogue is as it was.
    """

    catalogue: Catalogue
    scorer_module: OutfitTransformer | None = None
    judge_module: OutfitTransformer | None = None
    generator: Generator | None = None
    student: TwoTower | None = None
    retriever: RetrievalTransformer | None = None
    selected: NDArray[np.integer] | None = None
    occurrences: NDArray[np.integer] | None = None
    index_store: ItemIndex | None = None
    search: TargetsConfig = field(default_factory=TargetsConfig)
    index_config: IndexConfig | None = None
    planned_calls: int = 0
    seed: int = 0
    device: torch.device = torch.device("cpu")
    external: ItemEmbeddings | None = field(default=None, init=False)
    categories: NDArray[np.int64] = field(init=False)
    base: "MethodContext | None" = field(default=None, init=False)
    origin: "tuple[MethodContext, NDArray[np.int64]] | None" = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.categories = self.catalogue.categories.astype(np.int64)

    def to(self, device: torch.device | str) -> "MethodContext":
        """Moves to a device, as :meth:`torch.nn.Module.to` does, and drops what was built on another."""
        device = torch.device(device)
        if device != self.device:
            self.device = device
            for part in PARTS:
                vars(self).pop(part, None)
        return self

    def with_external(self, external: ItemEmbeddings, categories: NDArray[np.integer]) -> "MethodContext":
        """Copies the context for outfits that hold ``m`` external items, at the positions from ``N`` on."""
        hosting = copy(self)
        vars(hosting).pop("scorer", None)
        hosting.base, hosting.external = self.base or self, external
        hosting.categories = np.concatenate([self.catalogue_categories, np.asarray(categories, dtype=np.int64)])
        return hosting

    def over(self, catalogue: Catalogue, kept: NDArray[np.int64]) -> "MethodContext":
        """The same models over a changed catalogue: this one's items at positions ``kept``, then further ones.

        What S and the generator's index know of items that stay is not computed again.
        """
        changed = copy(self)
        for part in PARTS:
            vars(changed).pop(part, None)
        changed.catalogue, changed.categories = catalogue, catalogue.categories.astype(np.int64)
        joined = len(catalogue) - len(kept)
        for name in ("selected", "occurrences"):
            counts = getattr(self, name)
            setattr(changed, name, None if counts is None else np.concatenate([counts[kept], np.zeros(joined, int)]))
        changed.origin = self, kept
        return changed

    @property
    def root(self) -> "MethodContext":
        """The context whose parts this one uses: its base, while that is on the same device, else itself."""
        return self if self.base is None or self.base.device != self.device else self.base

    @property
    def num_categories(self) -> int:
        """``C``, the number of categories."""
        return len(self.catalogue.category_names)

    @property
    def catalogue_categories(self) -> NDArray[np.int64]:
        """Category of every item that can be chosen, shape ``[N]``."""
        return self.categories[: len(self.catalogue)]

    @cached_property
    def scorer(self) -> CandidateScorer:
        """S over the catalogue; raises :class:`ArtifactError` without S."""
        if self.root is not self:
            scorer = self.root.scorer
        else:
            scorer = self._over_catalogue("scorer", self.require_scorer_module(), self.planned_calls)
        if self.external is None:
            return scorer
        own = self.categories[len(self.catalogue) :]
        return scorer.with_external(self.external.vectors, self.external.present, own)

    @_Shared
    def judge(self) -> CandidateScorer | None:
        """The judge over the catalogue; None without one."""
        return None if self.judge_module is None else self._over_catalogue("judge", self.judge_module)

    @_Shared
    def index(self) -> ItemIndex:
        """The catalogue in the generator's retrieval space; raises :class:`ArtifactError` without a generator."""
        if self.index_store is not None:
            return self.index_store
        before = self._before
        if before is not None:
            origin, kept, further = before
            joined = None
            if len(further.vectors):
                own, count, model = self.categories[len(kept) :], self.num_categories, self.require_generator()
                # few items: no table of their own
                kind = self.index_config and replace(self.index_config, kind="flat")
                joined = index_items(model, further, own, count, self.device, kind)
            changed = ChangedIndex(origin.index, kept, joined, self.categories)
            if self.device.type != "cuda" or changed.most_left <= GPU_MAX_NEIGHBOURS // 2:
                return changed
        return index_catalogue(self.require_generator(), self.catalogue, self.device, self.index_config)

    @_Shared
    def retrieval_index(self) -> CategoryIndex:
        """The catalogue in the retriever's space, exactly; raises :class:`ArtifactError` without a retriever."""
        model, embeddings = self.require_retriever(), self.catalogue.require_embeddings
        vectors = MappedVectors(model.item_features, embeddings, model.config.dim, self.device)
        return CategoryIndex(vectors, self.catalogue.categories, self.device, num_categories=self.num_categories)

    @_Shared
    def similarity(self) -> TextSimilarity | None:
        """Similarity of the catalogue to texts; None without text embeddings."""
        embeddings = self.catalogue.require_embeddings
        return TextSimilarity(embeddings, self.device) if embeddings.text_dim else None

    @_Shared
    def shortlists(self) -> Shortlists:
        """The catalogue as the student ranks it; raises :class:`ArtifactError` without a student."""
        student = _needed(
            self.student,
            "a student of S, and the run has none; name the method in evaluate.methods of train.py or evaluate.py, "
            "which teach one",
        )
        return Shortlists(student, self.scorer, self.index_config)

    @_Shared
    def space(self) -> ItemSpace:
        """The catalogue as points of the embedding space, for the gradient method."""
        embeddings = self.catalogue.require_embeddings
        return ItemSpace(embeddings, self.catalogue_categories, self.num_categories, self.device)

    def require_scorer_module(self) -> OutfitTransformer:
        """S on the device; raises :class:`ArtifactError` without S."""
        module = _needed(self.scorer_module, "the compatibility model S; run train.py with stages=[compatibility]")
        return module.to(self.device)

    def require_generator(self) -> Generator:
        """The generator on the device; raises :class:`ArtifactError` without one."""
        generator = _needed(self.generator, "a trained generator; run train.py with stages=[generator]")
        return generator.to(self.device)

    def require_retriever(self) -> RetrievalTransformer:
        """The retriever on the device; raises :class:`ArtifactError` without one."""
        model = _needed(
            self.retriever,
            "a retriever, and the run has none; name the method in evaluate.methods of train.py or evaluate.py, which "
            "train one",
        )
        return model.to(self.device)

    def require_selected(self) -> NDArray[np.integer]:
        """Selection counts; raises :class:`ArtifactError` without mined targets."""
        return _needed(self.selected, "mined targets; run train.py with stages=[targets]")

    def require_occurrences(self) -> NDArray[np.integer]:
        """Occurrence counts; raises :class:`ArtifactError` without training outfits."""
        return _needed(self.occurrences, "to know the training outfits; run it through evaluate.py")

    def embedded(self, positions: NDArray[np.integer]) -> ItemEmbeddings:
        """Embeddings of catalogue and external items at positions ``[n]``."""
        is_external = positions >= len(self.catalogue)
        found = self.catalogue.require_embeddings.take(np.where(is_external, 0, positions))
        if self.external is not None and is_external.any():
            rows = positions[is_external] - len(self.catalogue)
            found.vectors[is_external] = self.external.vectors[rows]
            found.present[is_external] = self.external.present[rows]
        return found

    def latents(self, tasks: CompletionTasks) -> Tensor:
        """The generator's latents ``[B, k, r]`` in one pass; raises :class:`ArtifactError` without a generator."""
        return latents_of(self.require_generator(), self.graphs(tasks), tasks.k, self.device)

    def graphs(self, tasks: CompletionTasks) -> list[Data]:
        """The given items of tasks, with the conditions, as graphs for the generator."""
        graphs = []
        for row, given in enumerate(tasks.given):
            found, conditions = self.embedded(given), None
            if tasks.conditions is not None:
                conditions = (tasks.conditions.allowed[row], tasks.conditions.texts[row])
            graphs.append(completion_graph(found.vectors, found.present, self.categories[given], conditions=conditions))
        return graphs

    @property
    def _before(self) -> "tuple[MethodContext, NDArray[np.int64], ItemEmbeddings] | None":
        """The context before the change, the positions that stay, and what joined; None: no change, another device."""
        if self.origin is None or self.origin[0].device != self.device:
            return None
        origin, kept = self.origin
        return origin, kept, self.catalogue.require_embeddings.take(np.arange(len(kept), len(self.catalogue)))

    def _over_catalogue(self, part: str, module: OutfitTransformer, planned_calls: int = 0) -> CandidateScorer:
        """A scorer with the configured arithmetic and block size, compiled if the planned calls are worth it.

        ``part`` is its property, which a changed catalogue takes it from.
        """
        embeddings, search = self.catalogue.require_embeddings, self.search
        before = self._before
        if before is not None:
            origin, kept, further = before
            scorer: CandidateScorer = getattr(origin, part)
            return scorer.over(kept, further.vectors, further.present, self.catalogue.categories)
        ranks = ProcessGroupRanks.here() if search.states == "dealt" else None
        build = CandidateScorer if ranks is None else partial(DealtScorer, ranks, expansion.CATALOGUE_PART)
        return build(
            module,
            embeddings.vectors,
            embeddings.present,
            self.catalogue.categories,
            device=self.device,
            precision=search.precision,
            block=search.candidate_block,
            num_categories=self.num_categories,
            compile=search.compile == "always" or (search.compile == "auto" and planned_calls >= COMPILE_FROM),
        )


def _needed(value: T | None, what: str) -> T:
    if value is None:
        raise ArtifactError(f"this method needs {what}")
    return value
