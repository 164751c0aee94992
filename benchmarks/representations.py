"""Which representation of images serves compatibility best? The same S trained on each, over several seeds.

``python benchmarks/representations.py --run vae=runs/vae --run ae=runs/ae experiment=mango data.root=DIR``

Trains S on classical image features and on every named run's, once beside texts and once on images alone, and prints
AUC and fill-in-the-blank accuracy on test outfits, distractors of the answer's own category. Every training is a run of
``train.py`` under ``--out``; a finished one is not repeated, so an interrupted comparison goes on where it stopped.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from training import key_values, train

CLASSICAL = "classical"
FIGURES = ("auc_same_category", "fitb_same_category")
TEXTS = {"with texts": (), "images only": ("encoder.text=none",)}


@dataclass(frozen=True)
class Training:
    """One S: which images it sees, whether it sees texts, and its seed."""

    name: str
    run: str | None
    texts: str
    seed: int

    def folder(self, out: Path) -> Path:
        """Where the run goes."""
        return out / f"{self.name}-{self.texts.replace(' ', '-')}-{self.seed}"

    def arguments(self, out: Path, configuration: Sequence[str]) -> list[str]:
        """Command line of ``train.py``; S gets all training outfits, since no judge is asked."""
        learned = (
            (f"encoder.image={CLASSICAL}",)
            if self.run is None
            else ("encoder.image=learned", f"encoder.image.run={self.run}")
        )
        fixed = (f"seed={self.seed}", "judge.share=0", "stages=[embeddings,compatibility]", "wandb.mode=off")
        quiet = ("trainer.enable_progress_bar=false", f"cache_dir={out / 'cache'}", f"run_dir={self.folder(out)}")
        return [*configuration, *learned, *TEXTS[self.texts], *fixed, *quiet]


def figures_of(training: Training, out: Path, configuration: Sequence[str], threads: int) -> dict[str, float]:
    """Trains S, unless that is done, and reads its metrics."""
    path = training.folder(out) / "compatibility.json"
    if not path.is_file():
        train(training.folder(out).name, training.arguments(out, configuration), threads)
    metrics: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    shown = ", ".join(f"{name} {metrics[name]:.3f}" for name in FIGURES)
    print(f"{training.name}, {training.texts}, seed {training.seed}: {shown}", flush=True)
    return metrics


def table_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds by representation and texts, and the paired difference to classical.

    Args:
        rows: columns ``representation``, ``texts``, ``seed`` and :data:`FIGURES`.
    """
    keys = ["texts", "representation"]
    table = rows.groupby(keys, sort=False)[list(FIGURES)].agg(["mean", "std"])
    table.columns = [f"{figure} {statistic}" for figure, statistic in table.columns]
    by_seed = rows.set_index([*keys, "seed"])["auc_same_category"].unstack("representation")
    if CLASSICAL in by_seed:
        apart = by_seed.sub(by_seed[CLASSICAL], axis=0).stack().groupby(keys, sort=False).agg(["mean", "std"])
        table[["auc - classical mean", "auc - classical std"]] = apart.reindex(table.index)
    return table


def main() -> None:
    """Trains, prints the table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="append", default=[], metavar="NAME=RUN_DIR", help="a representation run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of S and of the test questions")
    parser.add_argument("--texts", nargs="+", choices=list(TEXTS), default=list(TEXTS), help="what S sees")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    parser.add_argument("--out", type=Path, default=Path("runs/representations"), help="folder of runs and table")
    arguments, configuration = parser.parse_known_args()
    wrong = key_values(arguments.run) or key_values(configuration)
    if wrong is not None:
        parser.error(f"{wrong}: not of the form --run NAME=RUN_DIR or KEY=VALUE")
    named: list[tuple[str, str | None]] = [(CLASSICAL, None)]
    for run in arguments.run:
        name, _, folder = run.partition("=")
        named.append((name, folder))
    trainings = [
        Training(name, run, texts, seed)
        for seed in arguments.seeds
        for name, run in named
        for texts in TEXTS
        if texts in arguments.texts
    ]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        found = list(
            pool.map(lambda training: figures_of(training, arguments.out, configuration, arguments.threads), trainings)
        )
    rows = pd.DataFrame(
        [
            {"representation": training.name, "texts": training.texts, "seed": training.seed, **metrics}
            for training, metrics in zip(trainings, found, strict=True)
        ]
    )
    table = table_of(rows)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows.to_csv(arguments.out / "seeds.csv", index=False)
    table.to_csv(arguments.out / "table.csv")
    print()
    print(table.round(4).to_string())
    print(f"\n{arguments.out / 'table.csv'}, {arguments.out / 'seeds.csv'}")


if __name__ == "__main__":
    main()
