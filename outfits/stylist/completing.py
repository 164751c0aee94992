"""Makes conditions of a request, and answers of what a method found."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from outfits.completion.completion import MethodOutcome
from outfits.completion.conditions import Conditions
from outfits.completion.context import MethodContext
from outfits.completion.generation import GeneratedOutfit, Generation
from outfits.completion.tasks import CompletionTasks
from outfits.data.category_rule import is_outfit
from outfits.errors import ConfigError
from outfits.stylist.garments import embed_text
from outfits.stylist.parser import OutfitParser, PartialOutfit
from outfits.stylist.requests import AllowedCategories, ConditionTexts, category_lists
from outfits.stylist.results import StyledOutfit


def conditions_of(
    parser: OutfitParser, k: int, categories: AllowedCategories, texts: ConditionTexts, alpha: float
) -> Conditions | None:
    """Conditions for one outfit, None where there are none.

    Raises:
        ConfigError: if there are more or fewer texts, or lists of categories, than missing items.
        DataError: if there is no such category, or the encoder knows no word of a text.
    """
    texts_of_items = [texts] * k if isinstance(texts, str) else [""] * k if texts is None else list(texts)
    if len(texts_of_items) != k:
        raise ConfigError([f"texts: {len(texts_of_items)} texts for k={k} missing items; give one, or one for each"])
    texts_of_items = ["" if text is None else text for text in texts_of_items]
    lists = category_lists(categories, k)
    if not any(str(text).strip() for text in texts_of_items) and all(names is None for names in lists):
        return None
    catalogue = parser.catalogue
    text_dim = catalogue.require_embeddings.text_dim
    conditions = Conditions.none(1, k, len(catalogue.category_names), text_dim, alpha)
    for slot, names in enumerate(lists):
        if names is not None:
            conditions.allowed[0, slot] = parser.allowed(names)
    for slot, text in enumerate(texts_of_items):
        if str(text).strip():
            conditions.texts[0, slot] = embed_text(parser.encoder, text)
    return conditions


def completed_outfits(
    parser: OutfitParser,
    partial_outfit: PartialOutfit,
    completions: MethodOutcome,
    place: int,
    tasks: CompletionTasks,
    context: MethodContext,
) -> list[StyledOutfit]:
    """The outfits that a method found for the partial outfit at a place of its tasks, best first."""
    conditions = tasks.conditions
    answers = [completions.chosen[place]]
    if completions.alternatives is not None:
        others = completions.alternatives[place]
        answers = [answer for answer in others if (answer >= 0).all()] or answers
    similarity: NDArray[np.float32] | None = None
    if conditions is not None and conditions.has_text[place].any() and context.similarity is not None:
        similarity = context.similarity(conditions.texts[place])  # [k, N]
    wholes = [np.concatenate([partial_outfit.positions, answer]) for answer in answers]
    scores = expit(context.scorer.ragged_logits(wholes).double().cpu().numpy())
    preferences: Sequence[float | None] = [None] * len(answers)
    beta = 0.0
    if tasks.preference is not None:
        beta = tasks.preference.beta
        preferences = replace(tasks.preference, beta=1.0)(place, np.stack(wholes)).tolist()
    found = []
    for number, (answer, whole, score, preference) in enumerate(
        zip(answers[: tasks.alternatives], wholes, scores.tolist(), preferences, strict=False)
    ):
        texts = None if similarity is None else float(similarity[np.arange(len(answer)), answer].sum())
        alpha = 1.0 if conditions is None else conditions.alpha
        objective = score if texts is None else alpha * score + (1 - alpha) * texts
        if preference is not None:
            objective += beta * preference
        added = tuple(parser.item(int(item)) for item in answer)
        steps = completions.step_scores
        found.append(
            StyledOutfit(
                items=(*partial_outfit.items, *added),
                added=added,
                score=score,
                rule_kept=is_outfit(context.categories[whole]),
                objective=objective,
                similarity=texts,
                step_scores=() if steps is None or number else tuple(steps[place].tolist()),
                calls=int(completions.calls[place]),
                preference=preference,
            )
        )
    return found


def generated_outfit(parser: OutfitParser, outfit: GeneratedOutfit, generation: Generation) -> StyledOutfit:
    """A generated outfit by its items."""
    items = tuple(parser.item(item) for item in outfit.items)
    return StyledOutfit(items, items, outfit.score, True, outfit.objective, outfit.similarity, calls=generation.calls)
