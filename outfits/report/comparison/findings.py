"""Writes the main metrics of an evaluation as sentences."""

from outfits.config.schema.methods import methods_needing
from outfits.report.comparison.method import MethodResult
from outfits.report.comparison.results import EvaluationResult
from outfits.report.style import family, label

_CHEAP = 0.1  # of greedy search's calls of S
_REPAIRS = ("start", "penalty", "sequential", "choose")  # options of gradient that reduce the loss in projection


def findings(result: EvaluationResult) -> list[str]:
    """Writes the main metrics as sentences; what was not evaluated is not mentioned."""
    sentences = [*_against_greedy(result), *_highest(result), *_gap(result), *_relaxation(result), *_conditions(result)]
    greedy = result.methods.get("greedy_k")
    if greedy is not None:
        picks = result.k * greedy.outfits
        sentences.append(f"Greedy search in k steps chose {greedy.distinct_items:,} distinct items in {picks:,} picks.")
    return sentences


def _against_greedy(result: EvaluationResult) -> list[str]:
    """Compares with greedy search the generator alone, and the best method with a tenth of its calls or fewer."""
    methods = result.methods
    if "greedy_k" not in methods:
        return []
    informed = {*methods_needing("scorer", "generator")} - {"greedy_k"}
    most = _CHEAP * methods["greedy_k"].scorer_calls_per_outfit
    cheap = [
        name
        for name, method in methods.items()
        if method.scorer_calls_per_outfit <= most and method.ratio_to_greedy_k is not None and family(name) in informed
    ]
    if not cheap:
        return []
    best = max(cheap, key=lambda name: methods[name].ratio_to_greedy_k or 0.0)
    shown = ["generator"] if "generator" in cheap and best != "generator" else []
    return [_ratio(result, name) for name in [*shown, best]]


def _ratio(result: EvaluationResult, name: str) -> str:
    method, greedy = result.methods[name], result.methods["greedy_k"].scorer_calls_per_outfit
    calls = method.scorer_calls_per_outfit
    cost = "no call of S"
    if calls > 0:
        number = f"{calls:,.0f}" if calls >= 10 else f"{calls:.2g}"
        cost = f"{_share(calls / greedy)} of its calls of S ({number} of {greedy:,.0f} per outfit)"
    if method.gradients_per_outfit > 0:
        cost += f" and {method.gradients_per_outfit:,.0f} gradients"
    subject = "The generator" if name == "generator" else f"“{label(name)}”"
    return f"{subject} reaches {method.ratio_to_greedy_k:.1%} of greedy search's mean S with {cost}."


def _highest(result: EvaluationResult) -> list[str]:
    """Names the highest mean S of the methods that completed every outfit, and that of the original outfits."""
    whole = {name: method for name, method in result.methods.items() if method.outfits == result.outfits}
    best = max(whole, key=lambda name: whole[name].score_mean)
    sentences = [f"Highest mean S: {_means(whole[best])}, by “{label(best)}”."]
    if "original" in result.methods and best != "original":
        sentences.append(f"Mean S of the original outfits: {_means(result.methods['original'])}.")
    return sentences


def _gap(result: EvaluationResult) -> list[str]:
    gaps = {name: method.gap_to_exhaustive for name, method in result.methods.items() if name != "original"}
    known = {name: gap for name, gap in gaps.items() if gap is not None}
    if not known:
        return []
    best = min(known, key=lambda name: known[name]["mean"])
    shown = ["greedy_k", best] if "greedy_k" in known and best != "greedy_k" else [best]
    parts = [
        f"“{label(name)}” finds an optimum for {_share(known[name]['optimal_share'])} of the outfits and misses "
        f"{known[name]['mean']:.4f} of S on average"
        for name in shown
    ]
    return [f"Measured against exhaustive search, {'; '.join(parts)}."]


def _relaxation(result: EvaluationResult) -> list[str]:
    relaxed = {name: method for name, method in result.methods.items() if method.relaxation is not None}
    if not relaxed:
        return []
    repaired = [name for name in relaxed if any(f":{option}=" in name for option in _REPAIRS)]
    sentences = []
    for which, names in (
        ("The best plain", [name for name in relaxed if name not in repaired]),
        ("The best repaired", repaired),
    ):
        if names:
            best = max(names, key=lambda name: relaxed[name].score_mean)
            metrics = relaxed[best].relaxation or {}
            sentences.append(
                f"{which} gradient call, “{label(best)}”, reaches mean S {metrics['relaxed_mean']:.3f} at its relaxed "
                f"optimum and {metrics['projected_mean']:.3f} once projected to real items."
            )
    return sentences


def _conditions(result: EvaluationResult) -> list[str]:
    """Compares recall of the removed items by the best of the generator's methods, greedy search and the controls."""
    sentences = []
    for kind, methods in result.conditions.items():
        recall = {name: share for name in methods if (share := methods[name].removed_recall["10"]) is not None}
        generators = [name for name in recall if family(name) in methods_needing("generator")]
        best = max(generators, key=lambda name: recall[name], default="")
        shown = [name for name in (best, "greedy_k", "most_similar", "most_frequent") if name in recall]
        if shown and best:
            parts = [f"{recall[name]:.1%} by “{label(name)}”" for name in shown]
            sentences.append(
                f"Given the removed items' {kind.replace('_', ' and ')}, recall of them at 10: {', '.join(parts)}."
            )
    return sentences


def _share(value: float) -> str:
    return f"{value:.2%}" if 0 < value < 0.001 else f"{value:.1%}"


def _means(method: MethodResult) -> str:
    judge = "" if method.judge_mean is None else f" ({method.judge_mean:.3f} under the judge)"
    return f"{method.score_mean:.3f}{judge}"
