"""Disentanglement metrics of latents made to be modular, compact or informative, or not, and against values by hand."""

import json
import warnings
from math import log

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from outfits.errors import DataError
from outfits.metrics.disentanglement import Disentanglement, disentanglement

ITEMS = 700
NAMES = ("colour", "shape", "pattern")


def worlds(seed: int, values: int = 4, items: int = ITEMS) -> tuple[np.ndarray, dict[str, list[str]]]:
    """Independent factors, as numbers of shape ``[N, 3]`` and as what the metric is given."""
    numbers = np.random.default_rng(seed).integers(0, values, (items, len(NAMES)))
    return numbers, named(numbers)


def named(numbers: np.ndarray) -> dict[str, list[str]]:
    return {name: [f"value {number}" for number in column] for name, column in zip(NAMES, numbers.T, strict=True)}


def noisy(latent: np.ndarray, seed: int, noise: float = 0.03) -> np.ndarray:
    return latent + np.random.default_rng(seed).normal(0, noise, latent.shape)


def entangled(seed: int) -> tuple[np.ndarray, dict[str, list[str]]]:
    """A latent of five coordinates that is neither modular nor compact, nor free of noise."""
    numbers, factors = worlds(seed)
    mixing = np.random.default_rng(seed).normal(size=(3, 5))
    return noisy(numbers @ mixing, seed, 0.3), factors


def means(found: Disentanglement) -> list[float]:
    return [found.modularity, found.compactness, found.informativeness, found.mig]


def test_one_coordinate_per_factor_gets_everything() -> None:
    numbers, factors = worlds(0)
    latent = np.hstack([noisy(numbers, 1), np.random.default_rng(2).normal(size=(ITEMS, 4))])  # and four of noise
    found = disentanglement(latent, factors)
    assert found.modularity > 0.97
    assert found.compactness > 0.97
    assert found.informativeness > 0.95
    assert found.mig > 0.9
    assert found.importance[:3] == pytest.approx(np.eye(3), abs=0.03)
    assert found.coordinate_modularity[:3] == pytest.approx(1, abs=0.03)
    assert {name: (metrics.values, metrics.items) for name, metrics in found.factors.items()} == dict.fromkeys(
        NAMES, (4, ITEMS)
    )


def test_a_rotation_keeps_a_linear_map_and_loses_the_axes() -> None:
    numbers, factors = worlds(1)
    straight = noisy(numbers, 1, 0.05)
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    before, after = disentanglement(straight, factors), disentanglement(straight @ rotation, factors)
    assert after.informativeness > 0.9
    assert after.informativeness == pytest.approx(before.informativeness, abs=0.05)
    assert after.modularity < before.modularity - 0.4
    assert after.compactness < before.compactness - 0.4
    assert after.mig < before.mig - 0.4


def test_a_linear_map_learns_nothing_from_noise() -> None:
    _, factors = worlds(2)
    found = disentanglement(np.random.default_rng(0).normal(size=(ITEMS, 6)), factors)
    assert found.informativeness == pytest.approx(0, abs=0.12)
    assert found.modularity < 0.1
    assert found.compactness < 0.1
    assert found.mig < 0.05


def test_what_no_linear_map_decodes_is_not_informative() -> None:
    latent = np.random.default_rng(0).uniform(-1, 1, (ITEMS, 2))
    found = disentanglement(latent, {"same sign": [str(same) for same in latent[:, 0] * latent[:, 1] > 0]})
    assert found.informativeness < 0.2
    metrics = found.factors["same sign"]
    assert metrics.accuracy == pytest.approx(metrics.majority, abs=0.1)


def test_a_factor_in_many_coordinates_costs_compactness_alone() -> None:
    numbers, factors = worlds(3)
    latent = noisy(numbers[:, [0, 0, 0, 0, 1, 2]], 1, 0.15)
    found = disentanglement(latent, factors)
    assert found.factors["colour"].compactness < 0.4
    assert found.factors["colour"].mig < 0.1
    assert found.factors["shape"].compactness > 0.9
    assert found.modularity > 0.9


def test_two_factors_in_one_coordinate_cost_modularity_alone() -> None:
    numbers, factors = worlds(4)
    latent = noisy(np.stack([4 * numbers[:, 0] + numbers[:, 1], numbers[:, 2]], axis=1), 1, 0.05)
    found = disentanglement(latent, factors)
    assert found.compactness > 0.9
    assert found.modularity == pytest.approx((2 * (1 - log(2, 3)) + 1) / 3, abs=0.05)
    assert found.coordinate_modularity == pytest.approx([1 - log(2, 3), 1], abs=0.05)


def test_correlated_factors_lower_the_modularity_of_the_same_code() -> None:
    numbers, factors = worlds(5)
    correlated = numbers.copy()
    copied = np.random.default_rng(0).random(ITEMS) < 0.8
    correlated[copied, 1] = numbers[copied, 0]
    independent = disentanglement(noisy(numbers, 1, 0.4), factors)
    bound = disentanglement(noisy(correlated, 1, 0.4), named(correlated))
    assert bound.modularity < independent.modularity - 0.1
    assert bound.mig < independent.mig - 0.1


def test_modularity_and_compactness_are_the_entropies_of_the_importances() -> None:
    found = disentanglement(*entangled(0))
    importance = found.importance
    assert importance.shape == (5, 3)
    assert importance.sum(axis=0) == pytest.approx(1)

    def rest(shares: np.ndarray) -> float:
        return 1 + sum(share * log(share, len(shares)) for share in shares / shares.sum() if share > 0)

    rows, columns = [rest(row) for row in importance], [rest(column) for column in importance.T]
    assert found.coordinate_modularity == pytest.approx(rows)
    assert found.modularity == pytest.approx(np.average(rows, weights=importance.sum(axis=1)))
    assert [metrics.compactness for metrics in found.factors.values()] == pytest.approx(columns)
    assert means(found)[1:] == pytest.approx(
        [
            np.mean([getattr(metrics, field) for metrics in found.factors.values()])
            for field in ("compactness", "informativeness", "mig")
        ]
    )


def test_the_gap_by_hand() -> None:
    """One coordinate is the factor; another agrees in six of eight items: it lacks the entropy of 3/4."""
    factor = np.repeat([0, 1], 8)
    other = np.tile([0, 0, 0, 0, 0, 0, 1, 1], 2)
    latent = np.stack([factor, np.abs(factor - other), np.tile([0, 1], 8)], axis=1).astype(float)
    found = disentanglement(latent, {"factor": [str(value) for value in factor]}, min_count=8)
    lacking = -(0.75 * log(0.75, 2) + 0.25 * log(0.25, 2))
    assert found.mutual_information == pytest.approx(np.array([[1], [1 - lacking], [0]]), abs=1e-12)
    assert found.mig == pytest.approx(lacking)


def test_the_gap_sees_twenty_bins_of_equal_width() -> None:
    line = np.tile(np.arange(40), 5)
    factors = {"parity": [str(number % 2) for number in line], "pair": [str(number // 2) for number in line]}
    found = disentanglement(line[:, None].astype(float), factors)
    assert found.mutual_information == pytest.approx(np.array([[0, 1]]), abs=1e-12)
    skewed = np.append(line, 10_000)[:, None].astype(float)  # one item far away leaves the others one bin
    factors = {name: [*values, values[0]] for name, values in factors.items()}
    assert disentanglement(skewed, factors).mutual_information.max() < 0.01


def test_mutual_information_of_a_code_of_few_values_is_that_of_sklearn() -> None:
    numbers, factors = worlds(6, items=200)
    latent = (numbers @ np.array([[1, 0], [1, 2], [0, 1]])).astype(float)
    found = disentanglement(latent, factors)
    for j, values in enumerate(factors.values()):
        entropy = mutual_info_score(values, values)
        for i in range(2):
            expected = mutual_info_score(values, latent[:, i].astype(int)) / entropy
            assert found.mutual_information[i, j] == pytest.approx(expected)


def test_one_coordinate_is_compact_and_its_gap_is_all_it_knows() -> None:
    numbers, factors = worlds(7)
    found = disentanglement(noisy(numbers[:, :1], 0), factors)
    assert [metrics.compactness for metrics in found.factors.values()] == [1, 1, 1]
    assert [metrics.mig for metrics in found.factors.values()] == found.mutual_information[0].tolist()
    assert found.factors["colour"].mig > 0.95


def test_one_factor_is_modular_wherever_it_has_importance() -> None:
    numbers, factors = worlds(8)
    latent = np.hstack([noisy(numbers[:, [0, 0]], 0, 0.2), np.zeros((ITEMS, 1))])
    found = disentanglement(latent, {"colour": factors["colour"]})
    assert found.coordinate_modularity.tolist() == [1, 1, 0]
    assert found.modularity == pytest.approx(1)
    assert found.compactness < 0.6


def test_the_order_of_factors_and_coordinates_does_not_matter() -> None:
    latent, factors = entangled(1)
    found = disentanglement(latent, factors)

    turned = disentanglement(latent, dict(reversed(factors.items())))
    assert turned.factors == found.factors
    assert (turned.importance == found.importance[:, ::-1]).all()
    assert (turned.mutual_information == found.mutual_information[:, ::-1]).all()
    assert means(turned) == pytest.approx(means(found))

    order = [3, 0, 4, 2, 1]
    moved = disentanglement(latent[:, order], factors)
    assert moved.mutual_information == pytest.approx(found.mutual_information[order])
    assert moved.importance == pytest.approx(found.importance[order], abs=0.02)  # trees settle ties by position
    assert moved.coordinate_modularity == pytest.approx(found.coordinate_modularity[order], abs=0.02)
    assert means(moved) == pytest.approx(means(found), abs=0.01)


def test_the_scale_of_a_coordinate_does_not_matter() -> None:
    latent, factors = entangled(2)
    scaled = disentanglement(latent * [1000, 0.001, -1, 1, 8] + [5, 0, 0, -3, 1], factors)
    assert means(scaled) == pytest.approx(means(disentanglement(latent, factors)), abs=0.02)


def test_coordinates_that_do_not_move_are_harmless_and_not_active() -> None:
    numbers, factors = worlds(9)
    still = np.stack([np.full(ITEMS, 0.1), np.random.default_rng(0).normal(0, 0.005, ITEMS)], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = disentanglement(np.hstack([numbers, still]), factors)
        nothing = disentanglement(np.full((ITEMS, 2), 0.1), factors)
    assert found.active == 3
    assert found.importance[3].tolist() == [0, 0, 0]
    assert found.modularity > 0.97
    assert means(nothing) == [0, 0, 0, 0]
    assert nothing.active == 0


def test_unknown_and_rare_values_are_left_out_of_their_factor_alone() -> None:
    latent, factors = entangled(3)
    colour = ["" if row < 100 else "rare" if row < 109 else value for row, value in enumerate(factors["colour"])]
    found = disentanglement(latent, factors | {"colour": colour, "alone": ["one"] * ITEMS, "none": [""] * ITEMS})
    full = disentanglement(latent, factors)
    assert list(found.factors) == list(NAMES)
    assert (found.factors["colour"].items, found.factors["colour"].values) == (ITEMS - 109, 4)
    assert found.factors["shape"] == full.factors["shape"]
    rest = disentanglement(latent[109:], {"colour": factors["colour"][109:]})
    assert found.factors["colour"] == rest.factors["colour"]
    assert found.importance[:, 0].tolist() == rest.importance[:, 0].tolist()
    colour[0] = "rare"  # the tenth
    assert disentanglement(latent, {"colour": colour}).factors["colour"].values == 5


def test_majority_is_the_commonest_value_and_accuracy_above_it_counts() -> None:
    numbers = np.repeat([0, 1], [800, 200])
    factors = {"colour": [str(number) for number in numbers]}
    metrics = disentanglement(noisy(numbers[:, None].astype(float), 0, 0.4), factors).factors["colour"]
    assert metrics.majority == 0.8
    assert metrics.informativeness == pytest.approx((metrics.accuracy - 0.8) / 0.2)
    assert 0.2 < metrics.informativeness < 0.9


def test_copies_stay_on_one_side() -> None:
    """A latent that knows each garment by heart and nothing else decodes copies, and no garment it has not seen."""
    rng = np.random.default_rng(0)
    garments = rng.permutation(np.repeat(np.arange(150), 4))
    latent = rng.normal(size=(150, 120))[garments]
    factors = {"colour": [str(value) for value in rng.integers(0, 2, 150)[garments]]}
    assert disentanglement(latent, factors).informativeness > 0.8
    apart = disentanglement(latent, factors, groups=garments.tolist())
    assert apart.informativeness < 0.4  # of 50 garments: a standard error of 0.14
    assert apart.factors["colour"].items == 600
    again = [
        disentanglement(latent[:, :4], factors, groups=garments.tolist(), seed=seed).to_json() for seed in (1, 1, 2)
    ]
    assert again[0] == again[1] != again[2]


def test_groups_of_one_item_lose_nothing() -> None:
    numbers, factors = worlds(10)
    latent = noisy(numbers, 0)
    alone = disentanglement(latent, factors, groups=list(range(ITEMS)))
    assert means(alone) == pytest.approx(means(disentanglement(latent, factors)), abs=0.05)


def test_copies_count_once_towards_the_fewest_items() -> None:
    numbers, factors = worlds(11, values=2)
    factors["colour"][:40] = ["rare"] * 40
    copies = np.arange(ITEMS)
    copies[:40] = copies[:40] % 9
    found = disentanglement(noisy(numbers, 0), factors)
    assert found.factors["colour"].values == 3
    assert disentanglement(noisy(numbers, 0), factors, groups=copies.tolist()).factors["colour"].values == 2


def test_a_factor_that_groups_leave_one_value_on_a_side_is_left_out() -> None:
    mixed = {"mixed": [str(value) for value in (0, 0, 1, 1, 1, 0, 1, 0, 0, 0)]}
    groups = [2, 2, 0, 4, 3, 5, 2, 5, 1, 0]
    latent = np.arange(10)[:, None].astype(float)
    outcomes = set()
    for seed in range(20):
        try:
            outcomes.add(len(disentanglement(latent, mixed, groups=groups, min_count=4, seed=seed).factors))
        except DataError:
            outcomes.add(0)
    assert outcomes == {0, 1}


def test_a_seed_draws_the_items_and_settles_everything() -> None:
    latent, factors = entangled(4)
    first = disentanglement(latent, factors, max_items=300, seed=3)
    other = disentanglement(latent, factors, max_items=300, seed=4)
    assert {metrics.items for metrics in first.factors.values()} == {300}
    assert disentanglement(latent, factors, max_items=300, seed=3).to_json() == first.to_json()
    assert (other.mutual_information != first.mutual_information).all()  # of other items
    every, again = (disentanglement(noisy(latent, 0, 2), factors, max_items=ITEMS, seed=seed) for seed in (3, 4))
    assert (again.mutual_information == every.mutual_information).all()  # of the same items, split otherwise
    assert again.informativeness != every.informativeness


def test_the_figures_can_be_written() -> None:
    found = disentanglement(*entangled(5))
    written = json.loads(json.dumps(found.to_json()))
    assert written == found.to_json()
    assert written["factors"]["shape"]["mig"] == found.factors["shape"].mig
    assert np.array(written["importance"]).shape == np.array(written["mutual_information"]).shape == (5, 3)
    assert len(written["coordinate_modularity"]) == 5


@pytest.mark.parametrize("latent", [np.ones(4), np.ones((4, 0)), np.ones((4, 2, 1)), np.full((4, 2), np.nan)])
def test_codes_of_another_shape_or_not_finite_are_refused(latent: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite and of shape"):
        disentanglement(latent, {"colour": ["red", "blue"] * 2})


def test_lengths_that_differ_are_named() -> None:
    latent, factors = entangled(6)
    with pytest.raises(ValueError, match="700 latents: shape 699"):
        disentanglement(latent, factors | {"shape": factors["shape"][1:]})
    with pytest.raises(ValueError, match="groups 3"):
        disentanglement(latent, factors | {"groups": factors["shape"]}, groups=[0, 1, 2])
    with pytest.raises(ValueError, match="at least 4, not 3"):
        disentanglement(latent, factors, min_count=3)


@pytest.mark.parametrize("values", [["red"] * 30, [""] * 30, [str(row // 9) for row in range(30)]])
def test_without_two_values_to_tell_apart_the_error_says_what_to_do(values: list[str]) -> None:
    with pytest.raises(DataError, match="colour has two values with 10 items each; set min_count lower"):
        disentanglement(np.random.default_rng(0).normal(size=(30, 2)), {"colour": values})
