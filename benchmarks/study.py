"""The README's tables over several seeds, with intervals over seeds and outfits.

``python benchmarks/study.py experiment=mango data.root=DIR``

For every seed: the whole recipe on its own split, from S to the report; and S alone with all training outfits, on the
recipe's split and on a random one. Every part is a run of ``train.py`` under ``--out``; a finished one is not
repeated, an interrupted one goes on, and embeddings, scorers and targets are shared through one cache. Writes the
tables to ``study.md`` and their numbers to ``study.json``.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from training import key_values, train

from outfits import run_files

RESAMPLES = 2000
INTERVAL = (2.5, 97.5)
REFERENCE = "greedy_k"
OF_METHODS = {
    "score_mean": "mean S",
    "judge_mean": "judge",
    "ratio_to_greedy_k": "of greedy",
    "distinct_share": "distinct",
    "scorer_calls_per_outfit": "calls",
}
OF_SCORER = {
    "auc_same_category": "AUC",
    "fitb_same_category": "FITB",
    "auc_random": "AUC, any item",
    "fitb_random": "FITB, any item",
    "fitb_frequency_control": "frequency control",
    "error": "calibration error",
    "copies_raised": "raised by a near-copy",
}
SCORER_ALONE = ("judge.share=0", "stages=[embeddings,compatibility]")


@dataclass(frozen=True)
class Part:
    """One run of the study: its name, its seed, and the keys beside the configuration."""

    name: str
    seed: int
    keys: tuple[str, ...]
    leaves: str

    def run(self, out: Path, configuration: Sequence[str], threads: int) -> Path:
        """Runs ``train.py`` unless the run has finished, and returns its folder."""
        folder = out / f"{self.name}-{self.seed}"
        if not (folder / self.leaves).is_file():
            place = f"resume={folder}" if (folder / run_files.CONFIG).is_file() else f"run_dir={folder}"
            fixed = [f"seed={self.seed}", "wandb.mode=off", "trainer.enable_progress_bar=false"]
            print(f"{folder.name}: {'going on' if place.startswith('resume') else 'starting'}", flush=True)
            train(folder.name, [*configuration, *self.keys, *fixed, f"cache_dir={out / 'cache'}", place], threads)
        return folder


def parts(seeds: Sequence[int]) -> list[Part]:
    """Lists the runs of a study, those of one seed side by side."""
    random = ("data.split.mode=random",)
    report = f"{run_files.REPORT}/{run_files.RESULTS}"
    return [
        part
        for seed in seeds
        for part in (
            Part("recipe", seed, (), report),
            Part("scorer", seed, SCORER_ALONE, run_files.COMPATIBILITY),
            Part("scorer-random", seed, (*SCORER_ALONE, *random), run_files.COMPATIBILITY),
        )
    ]


def keep_configuration(out: Path, configuration: Sequence[str]) -> None:
    """Writes the keys of a study beside its runs; raises SystemExit if there are runs with other keys."""
    path = out / "configuration.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != list(configuration):
        raise SystemExit(f"{path}: the runs there have other keys; name another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(configuration)), encoding="utf-8")


def interval_of_mean(scores: Sequence[pd.Series], *, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Computes a 95 % bootstrap interval of the mean over seeds and outfits.

    Seeds are drawn with replacement, and outfits too, one draw for all seeds, since the seeds of a study share a test
    split: an outfit that is hard is so for all of them. An outfit counts with the seeds that have it.

    Args:
        scores: of each seed scores, or paired differences, by outfit id.
        resamples: number of resamples.

    Returns:
        The percentiles of :data:`INTERVAL`.
    """
    table = pd.concat(scores, axis=1).to_numpy()  # [outfits, seeds], NaN where a seed has not drawn an outfit
    there, values = np.isfinite(table), np.nan_to_num(table)
    draw = np.random.default_rng(0)
    means = []
    for _ in range(resamples):
        times = np.bincount(draw.integers(0, len(table), len(table)), minlength=len(table))
        seeds = draw.integers(0, table.shape[1], table.shape[1])
        counted = times @ there[:, seeds]
        means.append(float(np.mean((times @ values[:, seeds])[counted > 0] / counted[counted > 0])))
    low, high = np.percentile(means, INTERVAL)
    return float(low), float(high)


def methods_table(folders: Sequence[Path]) -> pd.DataFrame:
    """Tabulates the methods of whole runs: means over seeds, and the interval of the difference to greedy search."""
    results = [_results(folder) for folder in folders]
    scores = [pd.read_parquet(folder / run_files.REPORT / "scores.parquet") for folder in folders]
    by_method = [table.pivot(index="outfit_id", columns="method", values="score") for table in scores]
    rows = []
    for method in results[0]["methods"]:
        found = [result["methods"][method] for result in results]
        row: dict[str, Any] = {"method": method, **_means(found, OF_METHODS)}
        if method != REFERENCE and all(REFERENCE in table for table in by_method):
            apart = [(table[method] - table[REFERENCE]).dropna() for table in by_method]
            row["difference"] = float(np.mean([difference.mean() for difference in apart]))
            row["low"], row["high"] = interval_of_mean(apart)
        rows.append(row)
    return pd.DataFrame(rows).set_index("method")


def conditions_table(folders: Sequence[Path]) -> pd.DataFrame:
    """Tabulates how often a removed item is among the first ten, by conditions and method: mean and range."""
    found = [
        {"conditions": kind, "method": method, "seed": number, "recall": metrics["removed_recall"]["10"]}
        for number, folder in enumerate(folders)
        for kind, methods in _results(folder)["wishes"].items()
        for method, metrics in methods.items()
        if metrics["removed_recall"] is not None
    ]
    table = pd.DataFrame(found, columns=["conditions", "method", "seed", "recall"])
    return table.groupby(["conditions", "method"], sort=False)["recall"].agg(["mean", "min", "max"])


def scorer_table(folders: Mapping[str, Sequence[Path]]) -> pd.DataFrame:
    """Tabulates the metrics of S by kind of run: mean and range over seeds."""
    rows = []
    for name, runs in folders.items():
        for folder in runs:
            metrics = json.loads((folder / run_files.COMPATIBILITY).read_text(encoding="utf-8"))
            metrics |= metrics["calibration"] or {}
            found = {label: metrics.get(key) for key, label in OF_SCORER.items()}
            rows += [{"runs": name, "metric": label, "value": value} for label, value in found.items()]
    table = pd.DataFrame(rows).dropna()
    return table.groupby(["runs", "metric"], sort=False)["value"].agg(["mean", "min", "max"])


def _results(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((folder / run_files.REPORT / run_files.RESULTS).read_text(encoding="utf-8"))
    return results


def _means(found: Sequence[Mapping[str, Any]], named: Mapping[str, str]) -> dict[str, float]:
    return {
        label: float(np.mean([metrics[name] for metrics in found]))
        for name, label in named.items()
        if all(metrics.get(name) is not None for metrics in found)
    }


def markdown(table: pd.DataFrame) -> str:
    """Renders a table, shares to three digits and calls as whole numbers."""
    shown = table.astype(object)
    for column in table.columns:
        digits = 0 if column == OF_METHODS["scorer_calls_per_outfit"] else 3
        shown[column] = [f"{value:,.{digits}f}" if np.isfinite(value) else "–" for value in table[column]]
    shown = shown.reset_index()
    lines = [shown.columns, ["---"] * len(shown.columns), *shown.to_numpy()]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def main() -> None:
    """Runs what is missing, prints the tables and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of models and tasks")
    parser.add_argument("--threads", type=int, default=2, help="threads of a run")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/study"), help="folder of the runs, their cache and tables"
    )
    arguments, configuration = parser.parse_known_args()
    wrong = key_values(configuration)
    if wrong is not None:
        parser.error(f"{wrong}: not of the form KEY=VALUE")
    keep_configuration(arguments.out, configuration)
    folders: dict[str, list[Path]] = {}
    for part in parts(arguments.seeds):
        folders.setdefault(part.name, []).append(part.run(arguments.out, configuration, arguments.threads))
    tables = {
        "methods": methods_table(folders["recipe"]),
        "conditions": conditions_table(folders["recipe"]),
        "scorer": scorer_table(folders),
    }
    text = "\n\n".join(f"## {name}\n\n{markdown(table)}" for name, table in tables.items())
    (arguments.out / "study.md").write_text(text + "\n", encoding="utf-8")
    numbers = {name: json.loads(table.reset_index().to_json(orient="records")) for name, table in tables.items()}
    (arguments.out / "study.json").write_text(
        json.dumps({"seeds": arguments.seeds, **numbers}, indent=2), encoding="utf-8"
    )
    print(f"\n{text}\n\n{arguments.out / 'study.md'}, {arguments.out / 'study.json'}")


if __name__ == "__main__":
    main()
