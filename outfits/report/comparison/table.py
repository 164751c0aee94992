"""Prints the results as a table for the terminal."""

from collections.abc import Mapping

from outfits.report.comparison.results import EvaluationResult

_NAME_WIDTH = 26  # a longer name, of a call with many options, goes on in lines below


def results_table(result: EvaluationResult) -> str:
    """Formats all methods side by side, one line each, below a line that names what was measured.

    A dash stands for a metric that a method does not have; ``wins`` is the share of outfits with a larger S than the
    original's, ``vs greedy`` the mean difference in S to ``greedy_k`` with half the width of its 95% interval,
    ``calls`` and ``grads`` are calls and gradients of S per outfit, ``n`` the outfits completed where that differs, and
    ``found`` the share of removed items among the first 1, 10 and 50 of the method's ranking.
    """
    methods = result.methods
    some = any(method.outfits < result.outfits for method in methods.values())
    steep = any(method.gradients_per_outfit > 0 for method in methods.values())
    header = ["method", *(["n"] if some else []), "mean S", "5%", "median", "/greedy", "vs greedy", "wins"]
    header += ["judge"] if result.judged else []
    header += ["calls", *(["grads"] if steep else []), "ms", "distinct", "found@1/10/50", "valid"]
    rows = []
    for name, method in methods.items():
        row = [name, *([f"{method.outfits:,}"] if some else [])]
        row += map(_figure, [method.score_mean, method.score_quantiles["0.05"], method.score_quantiles["0.5"]])
        row += [_figure(method.ratio_to_greedy_k), _difference(method.difference_to_greedy_k)]
        row += ["–" if method.win_rate is None else f"{method.win_rate:.0%}"]
        row += [_figure(method.judge_mean)] if result.judged else []
        row += [f"{method.scorer_calls_per_outfit:,.0f}"]
        row += [f"{method.gradients_per_outfit:,.0f}"] if steep else []
        row += [milliseconds(method.ms_per_outfit), f"{method.distinct_share:.1%}"]
        found = [share for share in method.removed_recall.values() if share is not None]
        row += ["/".join(f"{100 * share:.0f}" for share in found) + "%" if found else "–"]
        rows.append([*row, f"{method.valid_share:.0%}"])
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    widths[0] = max(len(line) for row in rows for line in _name_lines(row[0]))
    rule = "  ".join("─" * width for width in widths)
    removed = "1 item" if result.k == 1 else f"{result.k} items"
    title = (
        f"{result.dataset}, {result.split} split: {result.outfits:,} outfits, {removed} removed from each, "
        f"{result.catalogue:,} items to choose from (seed {result.seed})"
    )
    lines = [line for row in rows for line in _lines(row, widths)]
    return "\n".join([title, "", *_lines(header, widths), rule, *lines])


def milliseconds(value: float) -> str:
    """Formats milliseconds with some three significant digits and no exponent."""
    if value < 0.005:
        return "0"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _difference(interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return "–"
    return f"{interval['mean']:+.3f}±{(interval['high'] - interval['low']) / 2:.3f}"


def _name_lines(name: str) -> list[str]:
    """Breaks a name into lines before the colon of an option."""
    if len(name) <= _NAME_WIDTH:
        return [name]
    parts = name.replace(":", " :").split(" ")
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1] + part) <= _NAME_WIDTH:
            lines[-1] += part
        else:
            lines.append(f"  {part}")
    return lines


def _lines(cells: list[str], widths: list[int]) -> list[str]:
    name, *metrics = cells
    first, *further = _name_lines(name)
    padded = [cell.rjust(width) for cell, width in zip(metrics, widths[1:], strict=True)]
    return ["  ".join([first.ljust(widths[0]), *padded]), *further]
