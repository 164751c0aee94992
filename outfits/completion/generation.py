r"""Generation: from one text to an outfit of any size.

It maximises :math:`\alpha S(O) + (1 - \alpha) \sum_{X \in O} S_X(X, T)`. S is trained on sets of two items and more;
an item alone has nothing to be incompatible with, so :math:`S(\{X\})` counts as 1. With size 1 generation is thus
text-to-item search; with :math:`\alpha = 1` no outfit scores above a single item, unless the size is fixed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from outfits.completion.conditions import Conditions
from outfits.completion.context import MethodContext
from outfits.completion.methods import complete
from outfits.completion.search.beam import expansions_needed, extend
from outfits.completion.search.expansion import Hypothesis, OutfitConditions, SearchQuery, expand
from outfits.completion.tasks import CompletionTasks
from outfits.config.method_calls import MethodCall
from outfits.errors import DataError
from outfits.scoring.candidates import CandidateScorer

SINGLE_ITEM_LOGIT = float("inf")  # S of an item alone is 1


@dataclass(frozen=True)
class GeneratedOutfit:
    """An outfit generated for a text.

    Attributes:
        items: catalogue positions in the order of selection.
        score: S of the outfit; 1 for a single item.
        similarity: summed similarity of its items to the text.
        objective: what generation maximises.
    """

    items: tuple[int, ...]
    score: float
    similarity: float
    objective: float


@dataclass(frozen=True)
class Generation:
    """Different outfits for one text, best first, and the calls of S that they took.

    Of equal objectives the smaller outfit comes first, then the more similar one.
    """

    outfits: Sequence[GeneratedOutfit]
    calls: int


def generate(
    scorer: CandidateScorer,
    similarity: NDArray[np.float32],
    max_items: int,
    *,
    size: int | None = None,
    alpha: float = 0.5,
    width: int = 4,
    top: int = 1,
) -> Generation:
    """Beam search over sizes: expands the ``width`` best outfits of every size to those of the next.

    It starts from the ``width`` items most similar to the text. At most ``(max_items - 1) · width · N`` calls of S.

    Args:
        scorer: S over the catalogue.
        similarity: similarity of every catalogue item to the text, shape ``[N]``.
        max_items: largest size; a catalogue of fewer categories has no larger outfits than these.
        size: the only size wanted; None: the size with the best objective.
        alpha: weight of S against the text.
        width: outfits kept at every size.
        top: best outfits to return, of all sizes or of the wanted one.

    Raises:
        DataError: if the wanted size is larger than the number of categories with items.
        ValueError: if a number is out of range.
    """
    sizes = wanted_sizes(scorer, max_items, size)
    if width < 1 or top < 1 or not 0 <= alpha <= 1:
        raise ValueError(f"width {width}, top {top} or alpha {alpha} is out of range")
    largest = sizes[-1]
    conditions = OutfitConditions(
        allowed=np.ones((largest, scorer.num_categories), dtype=np.bool_),
        slot_groups=np.zeros(largest, dtype=np.int64),
        similarity=np.broadcast_to(similarity, (largest, len(scorer))),
        alpha=alpha,
    )
    query = SearchQuery(scorer, torch.empty((1, 0), dtype=torch.int64), largest)
    before = scorer.calls
    # The last size may need more hypotheses than the beam keeps.
    hypotheses = nearest_items(similarity, max(width, top) if largest == 1 else width, alpha)
    found = list(hypotheses)
    for grown in range(2, largest + 1):
        kept = max(width, top) if grown == largest else width
        needed = expansions_needed(kept, grown - 1, conditions.slot_groups)
        expansions = expand(query, 0, conditions, hypotheses, needed)
        hypotheses = extend(hypotheses, expansions, conditions.slot_groups, kept)
        found += hypotheses
    outfits = [_generated(hypothesis) for hypothesis in found if len(hypothesis.items) in sizes]
    return Generation(best_first(outfits)[:top], scorer.calls - before)


def generate_with_generator(
    call: MethodCall,
    context: MethodContext,
    text: NDArray[np.float32],
    max_items: int,
    *,
    size: int | None = None,
    alpha: float = 0.5,
    top: int = 1,
) -> Generation:
    """Generates by a method of the generator: it completes the item most similar to the text, conditioned on the text.

    Every size from 2 on takes one pass; beyond ``k_max`` missing items, the pass starts from the last full outfit.

    Args:
        call: a method of the generator, or another one that takes conditions.
        text: embedded text of unit length, shape ``[text_dim]``.
        max_items: as in :func:`generate`, as are ``size`` and ``alpha``.
        top: outfits to return; there is one of every size.

    Raises:
        ArtifactError: if a model is missing.
        DataError: if the wanted size is larger than the number of categories with items.
        ValueError: if a number is out of range.
    """
    scorer, k_max = context.scorer, context.require_generator().config.k_max
    sizes = wanted_sizes(scorer, max_items, size)
    if context.similarity is None:
        raise ValueError("generation needs the catalogue's text embeddings")
    similarity = context.similarity(text[None])[0]
    before = scorer.calls
    base = nearest_items(similarity, 1, alpha)[0].items
    outfits = {1: base}
    for grown in range(2, sizes[-1] + 1):
        missing = grown - len(base)
        if grown in sizes or missing == k_max:
            outfits[grown] = (*base, *_emitted(call, context, base, missing, text, alpha))
        if missing == k_max:
            base = outfits[grown]
    kept = [items for number, items in outfits.items() if number in sizes]
    logits = [
        SINGLE_ITEM_LOGIT if len(items) == 1 else float(scorer.set_logits(torch.tensor([items]))) for items in kept
    ]
    found = [_generated(_partial(items, logit, similarity, alpha)) for items, logit in zip(kept, logits, strict=True)]
    return Generation(best_first(found)[:top], scorer.calls - before)


def wanted_sizes(scorer: CandidateScorer, max_items: int, size: int | None) -> range:
    """Sizes of outfits to generate: the wanted one alone, or all that the catalogue's categories allow.

    Raises:
        DataError: if the wanted size is larger than the number of categories with items.
        ValueError: if a size is less than 1.
    """
    if max_items < 1 or (size is not None and size < 1):
        raise ValueError(f"an outfit has at least 1 item, not {max_items if size is None else size}")
    has_items = int(scorer.has_items.sum())
    if size is not None and size > has_items:
        raise DataError(
            f"an outfit of {size} items needs as many categories, and the catalogue has items of {has_items}; "
            f"set size to at most {has_items}"
        )
    if size is not None:
        return range(size, size + 1)
    return range(1, min(max_items, has_items) + 1)


def nearest_items(similarity: NDArray[np.float32], n: int, alpha: float) -> list[Hypothesis]:
    """The ``n`` items most similar to a text as outfits of one item, ties by the smaller catalogue position."""
    order = np.argsort(-similarity, kind="stable")[:n]
    return [_partial((int(item),), SINGLE_ITEM_LOGIT, similarity, alpha) for item in order]


def best_first(outfits: Sequence[GeneratedOutfit]) -> list[GeneratedOutfit]:
    """Outfits by objective; equal ones by size, then by similarity, which ranks single items if alpha is 1."""
    return sorted(outfits, key=lambda one: (-one.objective, len(one.items), -one.similarity, sorted(one.items)))


def _emitted(
    call: MethodCall,
    context: MethodContext,
    base: tuple[int, ...],
    missing: int,
    text: NDArray[np.float32],
    alpha: float,
) -> list[int]:
    conditions = Conditions.none(1, missing, context.num_categories, len(text), alpha)
    conditions.texts[:] = text
    nothing = np.zeros(1, dtype=np.int64)
    tasks = CompletionTasks(
        [np.array(base, dtype=np.int32)],
        np.empty((1, 0), dtype=np.int32),
        outfits=nothing,
        removals=nothing,
        missing=missing,
        conditions=conditions,
    )
    return [int(item) for item in complete(call, tasks, context).chosen[0]]


def _partial(items: tuple[int, ...], logit: float, similarity: NDArray[np.float32], alpha: float) -> Hypothesis:
    text = float(similarity[list(items)].astype(np.float64).sum())
    value = alpha * float(expit(logit)) + (1 - alpha) * text
    return Hypothesis(items, tuple(range(len(items))), value, (logit,) * len(items), text)


def _generated(hypothesis: Hypothesis) -> GeneratedOutfit:
    return GeneratedOutfit(
        hypothesis.items, float(expit(hypothesis.logits[-1])), hypothesis.similarity, hypothesis.value
    )
