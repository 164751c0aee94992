"""What a method costs and what it reaches, with and without the correction for hubs, as a table and a plot.

``python benchmarks/tradeoff.py --run RUN_DIR --hubness 0,0.3`` evaluates a finished run once for every weight of the
correction; further arguments are ``key=value`` of evaluate.py. Methods that do not search the generator's space are the
same each time and drawn once. Mean S, the judge's mean and the share of distinct items, against calls of S per outfit.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from training import key_values, run_program

from outfits import run_files
from outfits.config.schema.methods import METHODS
from outfits.report.drawing import SIZE, image_bytes, plain
from outfits.report.style import PRINT, colours, family, in_order, label

MEASURES = {"score_mean": "mean S", "judge_mean": "mean of the judge", "distinct_share": "distinct items among picks"}
CALLS = "scorer_calls_per_outfit"
MARKERS = "osD^vP"


def measured(results: Mapping[float, Mapping[str, Any]]) -> pd.DataFrame:
    """Tabulates methods by weight of the correction; those that do not use the generator once, without a weight.

    Args:
        results: ``methods`` of ``results.json`` by weight.
    """
    rows: dict[tuple[str, float], dict[str, Any]] = {}
    for weight, methods in results.items():
        for name, metrics in methods.items():
            corrected = "generator" in METHODS[family(name)].needs
            key = (name, weight if corrected else np.nan)
            found = {measure: metrics[measure] for measure in (CALLS, *MEASURES) if metrics[measure] is not None}
            rows.setdefault(key, {"method": name, "hubness": key[1], **found})
    table = pd.DataFrame(rows.values()).set_index(["method", "hubness"])
    order = {name: place for place, name in enumerate(in_order(name for name, _ in rows))}
    return table.sort_index(level=0, key=lambda names: names.map(order), sort_remaining=False)


def draw(table: pd.DataFrame) -> Figure:
    """Draws one panel per measure, calls of S on an axis that is linear up to 1."""
    shown = [measure for measure in MEASURES if measure in table]
    figure = Figure(figsize=(5.2 * len(shown), 5.6), layout="constrained")
    shades = colours(table.index.get_level_values("method"), PRINT)
    weights = sorted(table.index.get_level_values("hubness").dropna().unique())
    marker_of = dict(zip(weights, cycle(MARKERS[1:]), strict=False))
    for axis, measure in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
        _panel(axis, table[measure], table[CALLS], shades, marker_of)
        axis.set_title(MEASURES[measure], loc="left", size=SIZE + 1, color=PRINT.ink)
    handles: dict[str, Any] = {}
    for axis in figure.axes:
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=3, frameon=False, fontsize=SIZE - 1)
    return figure


def _panel(
    axis: Axes, values: pd.Series, calls: pd.Series, shades: Mapping[str, str], marker_of: Mapping[float, str]
) -> None:
    plain(axis, PRINT)
    axis.set_xscale("symlog", linthresh=1, linscale=0.6)
    for method, of_method in values.groupby(level="method", sort=False):
        places = calls[method]
        axis.plot(places, of_method, color=shades[str(method)], linewidth=0.8)
        for (_, weight), value in of_method.items():
            known = not np.isnan(weight)
            axis.plot(
                calls[method, weight] if known else places.iloc[0],
                value,
                marker_of[weight] if known else MARKERS[0],
                color=shades[str(method)],
                markersize=8,
                label=f"{label(str(method))}{f' (hubs {weight:g})' if known else ''}",
                linestyle="none",
                clip_on=False,
            )
    axis.set_xlim(-0.2, calls.max() * 2)
    axis.set_xlabel("calls of S per outfit", size=SIZE)
    axis.yaxis.grid(True, color=PRINT.faint, linewidth=0.6)


def evaluate(run: Path, weight: float, configuration: Sequence[str], threads: int) -> Mapping[str, Any]:
    """Evaluates the run with this weight of the correction and returns its methods' metrics."""
    keys = [f"run={run}", f"index.hubness={weight:g}", "wandb.mode=off", *configuration]
    run_program("evaluate.py", f"hubness {weight:g}", keys, threads)
    results: dict[str, Any] = json.loads((run / run_files.REPORT / run_files.RESULTS).read_text(encoding="utf-8"))
    methods: Mapping[str, Any] = results["methods"]
    return methods


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluates, prints the table and writes it with its plot; the last weight's report stays with the run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a finished run")
    parser.add_argument("--hubness", default="0,0.3", help="weights of the correction")
    parser.add_argument("--threads", type=int, default=2, help="threads of an evaluation")
    parser.add_argument("--out", type=Path, default=Path("tradeoff.png"), help="plot, beside its table")
    options, configuration = parser.parse_known_args(argv)
    wrong = key_values(configuration)
    if wrong is not None:
        parser.error(f"{wrong}: not of the form KEY=VALUE")
    weights = [float(weight) for weight in options.hubness.split(",")]
    table = measured({weight: evaluate(options.run, weight, configuration, options.threads) for weight in weights})
    table.to_csv(options.out.with_suffix(".csv"))
    print(table.to_string(float_format="{:.4g}".format))
    options.out.write_bytes(image_bytes(draw(table)))


if __name__ == "__main__":
    main()
