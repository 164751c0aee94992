"""Which item of an outfit is wrong: every effect against enumeration."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.special import expit

from outfits import Garment, Stylist
from outfits.errors import DataError
from outfits.scoring.candidates import CandidateScorer
from outfits.stylist.explaining import best_replacements, explain_set, leave_one_out, pair_scores, task_attention
from outfits.stylist.results import ItemRef
from tests.tiny_run import make_run
from tests.tiny_world import CATEGORIES, ITEMS, World

OUTFIT = np.array([0, 7, 14, 21])


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def item_at(position: int) -> ItemRef:
    return ItemRef(str(position), f"category-{position % CATEGORIES}", "", None)


def score(world: World, items: list[int]) -> float:
    return float(expit(world.logit(items)))


def test_s_without_each_item_is_that_of_the_rest(world: World) -> None:
    expected = [score(world, [item for item in OUTFIT.tolist() if item != left_out]) for left_out in OUTFIT.tolist()]
    assert leave_one_out(world.scorer, OUTFIT) == pytest.approx(expected, abs=1e-5)
    assert leave_one_out(world.scorer, OUTFIT[:2]).tolist() == [1.0, 1.0]  # an item alone has nothing to clash with


def test_the_best_replacement_is_that_of_enumeration(world: World) -> None:
    scores, best = best_replacements(world.scorer, OUTFIT)
    for place, item in enumerate(OUTFIT.tolist()):
        rest = [other for other in OUTFIT.tolist() if other != item]
        rivals = [one for one in range(ITEMS) if one % CATEGORIES == item % CATEGORIES and one != item]
        values = {one: score(world, [*rest, one]) for one in rivals}
        assert int(best[place]) == max(values, key=lambda one: values[one])
        assert scores[place] == pytest.approx(max(values.values()), abs=1e-5)


def test_an_item_whose_category_another_has_has_no_replacement(world: World) -> None:
    scores, best = best_replacements(world.scorer, np.array([0, 6, 13]))  # 0 and 6 are of one category
    assert best[:2].tolist() == [-1, -1]
    assert scores[:2].tolist() == [0.0, 0.0]
    assert best[2] >= 0


def test_pairs_come_with_the_worst_first(world: World) -> None:
    found = pair_scores(world.scorer, OUTFIT)
    assert len(found) == 6
    assert [pair.score for pair in found] == sorted(pair.score for pair in found)
    expected = {pair: score(world, OUTFIT[list(pair)].tolist()) for pair in combinations(range(4), 2)}
    for pair in found:
        assert pair.score == pytest.approx(expected[pair.first, pair.second], abs=1e-5)


def test_attention_is_that_of_the_task_token_in_the_last_layer(world: World) -> None:
    """Without the values of one item, the output of the last attention changes by exactly that item's share."""
    vectors, present = torch.from_numpy(world.vectors[OUTFIT]), torch.from_numpy(world.present[OUTFIT])
    weights = task_attention(world.module, vectors, present)
    assert weights.shape == (4,)
    assert (weights > 0).all()
    assert weights.sum() < 1  # the rest is the task token's attention to itself
    captured = {}
    last = world.module.blocks[-1]
    original = torch.nn.functional.scaled_dot_product_attention

    def spying(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **options: object) -> torch.Tensor:
        if query.shape[2] == 1:
            captured["weights"] = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
        return original(query, key, value, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("outfits.models.compatibility.F.scaled_dot_product_attention", spying)
        world.module(vectors[None], present[None])
    assert last.heads == captured["weights"].shape[1]
    assert weights == pytest.approx(captured["weights"][0, :, 0, 1:].mean(0).numpy(), abs=1e-6)


def test_the_suspect_is_the_item_without_which_s_is_largest(world: World) -> None:
    found = explain_set(world.scorer, OUTFIT, [item_at(int(item)) for item in OUTFIT], item_at)
    assert found.suspect == int(np.argmax([effect.without for effect in found.items]))
    assert found.score == pytest.approx(score(world, OUTFIT.tolist()), abs=1e-5)
    only = explain_set(world.scorer, np.array([0, 6]), [item_at(0), item_at(6)], item_at)
    assert [effect.replaced for effect in only.items] == [None, None]
    assert only.suspect == 0
    pair = explain_set(world.scorer, np.array([0, 7]), [item_at(0), item_at(7)], item_at)
    assert pair.suspect == int(np.argmax([effect.replaced for effect in pair.items]))
    categories = np.where(np.arange(ITEMS) == 0, CATEGORIES, world.categories)
    scorer = CandidateScorer(world.module, world.vectors, world.present, categories)
    pair = explain_set(scorer, np.array([0, 7]), [item_at(0), item_at(7)], item_at)  # item 0 has no other of its kind
    assert [effect.alternative is None for effect in pair.items] == [True, False]
    assert pair.suspect == 1


def test_order_of_items_changes_the_order_of_effects_alone(world: World) -> None:
    order = [2, 0, 3, 1]
    one = explain_set(world.scorer, OUTFIT, [item_at(int(item)) for item in OUTFIT], item_at)
    other = explain_set(world.scorer, OUTFIT[order], [item_at(int(item)) for item in OUTFIT[order]], item_at)
    assert other.score == one.score
    assert [other.items[order.index(place)].replaced for place in range(4)] == [item.replaced for item in one.items]
    assert order[other.suspect] == one.suspect


def test_a_stylist_explains_garments_of_ones_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("explained")
    make_run(root)
    stylist = Stylist.load(root / "run")
    first, *others = stylist.item_ids
    second = next(item for item in others if stylist.item(item).category != stylist.item(first).category)
    garment = Garment(stylist.item(second).category, "red wool")
    found = stylist.explain([first, garment])
    assert [effect.item.id for effect in found.items] == [first, None]
    assert found.score == pytest.approx(stylist.score([first, garment]), abs=1e-6)
    alternative = found.items[1].alternative
    assert alternative is not None
    assert alternative.category == garment.category
    assert found.items[1].replaced == pytest.approx(stylist.score([first, str(alternative.id)]), abs=1e-6)
    with pytest.raises(DataError, match="at least two"):
        stylist.explain([first])
