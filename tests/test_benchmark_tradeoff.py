"""benchmarks/tradeoff.py: methods that do not use the generator stand once, the others once per weight."""

import numpy as np
import tradeoff


def metrics(score: float, calls: float, judge: float | None = 0.5) -> dict[str, float | None]:
    return {"score_mean": score, "judge_mean": judge, "distinct_share": 0.3, "scorer_calls_per_outfit": calls}


RESULTS = {
    0.0: {"greedy_k": metrics(0.8, 100), "generator": metrics(0.7, 0), "generator_beam:width=3": metrics(0.79, 9)},
    0.3: {"greedy_k": metrics(0.8, 100), "generator": metrics(0.6, 0), "generator_beam:width=3": metrics(0.78, 9)},
}


def test_only_methods_of_the_generator_stand_once_per_weight() -> None:
    table = tradeoff.measured(RESULTS)
    assert [name for name, _ in table.index] == ["greedy_k", *["generator"] * 2, *["generator_beam:width=3"] * 2]
    assert np.isnan(table.loc["greedy_k"].index).all()
    assert table.loc["greedy_k", "score_mean"].tolist() == [0.8]
    assert table.loc[("generator", 0.3), "score_mean"] == 0.6


def test_many_weights_share_marks() -> None:
    many = {0.1 * number: RESULTS[0.3] for number in range(9)}
    assert len(tradeoff.draw(tradeoff.measured(many)).axes) == 3


def test_a_run_without_a_judge_has_two_panels() -> None:
    unjudged = {weight: {name: m | {"judge_mean": None} for name, m in of.items()} for weight, of in RESULTS.items()}
    assert len(tradeoff.draw(tradeoff.measured(unjudged)).axes) == 2
    axes = tradeoff.draw(tradeoff.measured(RESULTS)).axes
    assert len(axes) == 3
    assert {line.get_label() for line in axes[0].lines if line.get_marker() != "None"} >= {"Generator (hubs 0.3)"}
