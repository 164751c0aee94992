"""Paired statistics against values by hand, SciPy, and laws that hold for any scores."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from outfits.metrics.paired import optimality_gap, paired_interval, win_rate


def scores(seed: int, outfits: int = 80, gain: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """A method and a reference whose scores differ far less than the outfits do."""
    rng = np.random.default_rng(seed)
    reference = rng.uniform(0.1, 0.8, outfits)
    return reference + rng.normal(gain, 0.05, outfits), reference


def test_win_rate_by_hand_counts_a_tie_as_half() -> None:
    assert win_rate(np.array([0.5, 0.2, 0.9, 0.4]), np.array([0.4, 0.3, 0.9, 0.1])) == 2.5 / 4
    assert win_rate(np.ones(3), np.ones(3)) == 0.5


def test_win_rates_of_two_methods_against_each_other_add_up_to_one() -> None:
    method, reference = (np.round(values, 1) for values in scores(0))
    assert win_rate(method, reference) + win_rate(reference, method) == pytest.approx(1)


def test_the_interval_is_the_percentile_interval_of_resampled_outfits() -> None:
    method, reference = scores(1, outfits=50)
    found = paired_interval(method, reference, resamples=4000, seed=0)
    differences = method - reference
    rows = np.random.default_rng(99).integers(0, 50, (4000, 50))
    low, high = np.quantile(differences[rows].mean(axis=1), [0.025, 0.975])
    assert found["mean"] == pytest.approx(differences.mean(), abs=1e-15)
    assert [found["low"], found["high"]] == pytest.approx([low, high], abs=0.0015)  # two draws of the same interval


def test_the_interval_of_many_outfits_is_nearly_that_of_a_t_test() -> None:
    method, reference = scores(2, outfits=1000)
    found = paired_interval(method, reference, resamples=4000, seed=0)
    expected = ttest_1samp(method - reference, 0).confidence_interval(0.95)
    assert [found["low"], found["high"]] == pytest.approx([expected.low, expected.high], abs=4e-4)


def test_the_interval_covers_the_true_difference_as_often_as_it_says() -> None:
    repeats = 300
    found = [paired_interval(*scores(seed, outfits=60), resamples=400, seed=seed) for seed in range(repeats)]
    covered = sum(interval["low"] <= 0.05 <= interval["high"] for interval in found) / repeats
    assert 0.90 <= covered <= 0.98  # 95% within three standard errors, and the percentile interval is a little narrow


def test_pairing_leaves_out_what_the_outfits_differ_in() -> None:
    method, reference = scores(3)
    paired = paired_interval(method, reference, resamples=500, seed=0)
    shuffled = paired_interval(method, np.random.default_rng(0).permutation(reference), resamples=500, seed=0)
    assert shuffled["mean"] == pytest.approx(paired["mean"])
    assert shuffled["high"] - shuffled["low"] > 3 * (paired["high"] - paired["low"])


def test_swapping_the_methods_turns_the_interval_round_and_a_constant_moves_it() -> None:
    method, reference = scores(4)
    straight = paired_interval(method, reference, resamples=500, seed=0)
    turned = paired_interval(reference, method, resamples=500, seed=0)
    assert [-turned["mean"], -turned["high"], -turned["low"]] == pytest.approx(list(straight.values()))
    moved = paired_interval(method + 0.125, reference, resamples=500, seed=0)
    assert list(moved.values()) == pytest.approx([value + 0.125 for value in straight.values()])


def test_the_interval_depends_on_its_seed_alone() -> None:
    method, reference = scores(5)
    first = paired_interval(method, reference, resamples=200, seed=3)
    assert paired_interval(method, reference, resamples=200, seed=3) == first
    assert paired_interval(method, reference, resamples=200, seed=4) != first


@pytest.mark.parametrize("outfits", [1, 2, 50])
def test_equal_differences_give_an_interval_of_no_width(outfits: int) -> None:
    reference = np.arange(outfits) / 64
    found = paired_interval(reference + 0.25, reference, resamples=100, seed=0)
    assert found == {"mean": 0.25, "low": 0.25, "high": 0.25}


def test_differences_equal_but_for_rounding_still_enclose_their_mean() -> None:
    rng = np.random.default_rng(1)
    for outfits in rng.integers(2, 60, 300):
        method = np.full(outfits, rng.random())
        method[: max(1, outfits // 3)] = np.nextafter(method[0], 1)
        found = paired_interval(method, np.zeros(outfits), resamples=100, seed=0)
        assert found["low"] <= found["mean"] <= found["high"]


def test_the_optimality_gap_by_hand() -> None:
    optimum, found = np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.9, 0.7, 0.7 - 5e-7, 0.3])
    gap = optimality_gap(optimum, found)
    assert gap["mean"] == pytest.approx(0.1, abs=1e-6)
    assert gap["median"] == pytest.approx(0.05, abs=1e-6)
    assert gap["max"] == pytest.approx(0.3)
    assert gap["optimal_share"] == 0.5
    assert optimality_gap(optimum, optimum) == {"mean": 0, "median": 0, "max": 0, "optimal_share": 1}


def test_scores_of_other_outfits_are_refused() -> None:
    for first, second in ((np.ones(2), np.ones(3)), (np.ones(0), np.ones(0)), (np.ones((2, 1)), np.ones((2, 1)))):
        for call in (
            lambda a, b: win_rate(a, b),
            lambda a, b: optimality_gap(a, b),
            lambda a, b: paired_interval(a, b, resamples=100, seed=0),
        ):
            with pytest.raises(ValueError, match="equal lengths"):
                call(first, second)
