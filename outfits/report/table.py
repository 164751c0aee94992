"""The results as a table for the terminal."""

from outfits.report.results import RECALL_AT, EvaluationResult


def results_table(result: EvaluationResult) -> str:
    """All methods side by side, one line each, with a line above that says what was measured.

    A dash stands for a figure that a method does not have.
    """
    header = ["method", "mean S", "5%", "median", "95%", "/greedy_k"]
    header += ["judge"] if result.judged else []
    header += ["calls of S", "ms", "distinct", *(f"found@{n}" for n in RECALL_AT), "valid"]
    rows = []
    for name, method in result.methods.items():
        scores = [method.score_mean, *(method.score_quantiles[part] for part in ("0.05", "0.5", "0.95"))]
        row = [name, *map(_figure, scores), _figure(method.ratio_to_greedy_k)]
        row += [_figure(method.judge_mean)] if result.judged else []
        row += [f"{method.scorer_calls_per_outfit:,.0f}", milliseconds(method.ms_per_outfit)]
        row += [f"{method.distinct_share:.1%}"]
        row += ["–" if share is None else f"{share:.1%}" for share in method.removed_recall.values()]
        rows.append([*row, f"{method.valid_share:.1%}"])
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = "  ".join("─" * width for width in widths)
    removed = "1 item" if result.k == 1 else f"{result.k} items"
    title = (
        f"{result.dataset}, {result.split} split: {result.outfits:,} outfits, {removed} removed from each, "
        f"{result.catalogue:,} items to choose from (seed {result.seed})"
    )
    return "\n".join([title, "", _line(header, widths), rule, *(_line(row, widths) for row in rows)])


def milliseconds(value: float) -> str:
    """A time in milliseconds with some three significant digits and no exponent."""
    if value < 0.005:
        return "0"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _line(cells: list[str], widths: list[int]) -> str:
    name, *figures = cells
    padded = [cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True)]
    return "  ".join([name.ljust(widths[0]), *padded])
