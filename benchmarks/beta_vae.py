"""What does the weight on the divergence do to a latent? Beta-VAEs of several weights on drawn garments, as a plot.

``python benchmarks/beta_vae.py`` trains a VAE with beta 1, 4 and 16 and one whose beta falls from 16 to 1, measures how
far each latent falls apart into the factors that the garments were drawn from, and draws modularity, compactness,
informativeness and the quality of reconstruction side by side. Every training is a run of ``train.py`` under
``--out``; a finished one is not repeated.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from training import key_values, train

BETA = "model.representation.vae.beta"
SCHEDULES: dict[str, tuple[str, ...]] = {
    "beta 1": (f"{BETA}=1", f"{BETA}_start=null"),
    "beta 4": (f"{BETA}=4", f"{BETA}_start=null"),
    "beta 16": (f"{BETA}=16", f"{BETA}_start=null"),
    "falling 16 to 1": (f"{BETA}=1", f"{BETA}_start=16"),
}
SCORES = ("modularity", "compactness", "mig", "informativeness")
PANELS = {
    "modularity": "Modularity (DCI)\na coordinate carries one factor",
    "compactness": "Compactness (DCI)\na factor sits in few coordinates",
    "mig": "Mutual information gap\nthe best coordinate against the next",
    "informativeness": "Informativeness\nfactors decoded linearly",
    "psnr": "Reconstruction of unseen garments\nPSNR over their pixels, dB",
    "active": "Active coordinates\nof 16",
}


def results_of(name: str, seed: int, out: Path, configuration: Sequence[str], threads: int) -> dict[str, Any]:
    """Trains one model, unless that is done, and reads the metrics of its report."""
    folder = out / f"{name.replace(' ', '-')}-{seed}"
    path = folder / "report" / "results.json"
    if not path.is_file():
        arguments = [
            "experiment=disentanglement",
            f"data.root={out / 'data'}",
            *configuration,
            *SCHEDULES[name],
            *(f"seed={seed}", f"run_dir={folder}", f"cache_dir={out / 'cache'}"),
            *("wandb.mode=off", "trainer.enable_progress_bar=false"),
        ]
        train(folder.name, arguments, threads)
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    print(f"{name}, seed {seed}: done", flush=True)
    return results


def row_of(name: str, seed: int, results: dict[str, Any]) -> dict[str, Any]:
    """The metrics of one run that are compared."""
    latent = results["disentanglement"]
    return {
        "schedule": name,
        "seed": seed,
        **{score: latent[score] for score in SCORES},
        "psnr": results["reconstruction"]["model"]["garment_psnr"],
        "kl": results["kl"]["total"],
        "active": results["kl"]["active"],
        **{f"informativeness {factor}": metrics["informativeness"] for factor, metrics in latent["factors"].items()},
        **{f"compactness {factor}": metrics["compactness"] for factor, metrics in latent["factors"].items()},
    }


def drawn(rows: pd.DataFrame, path: Path) -> None:
    """One panel per score: every seed a dot, the mean a bar."""
    names = list(dict.fromkeys(rows["schedule"]))
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 6.4), layout="constrained")
    for axis, (score, title) in zip(axes.flat, PANELS.items(), strict=True):
        means = rows.groupby("schedule")[score].mean()
        places = np.arange(len(names))
        axis.bar(places, [means[name] for name in names], width=0.62, color=["#9ecae1"] * 3 + ["#fdae6b"])
        for place, name in zip(places, names, strict=True):
            values = rows.loc[rows["schedule"] == name, score]
            axis.plot([place] * len(values), values, "o", color="#1f2328", markersize=4)
            axis.annotate(f"{means[name]:.3g}", (place, 0), (0, 3), textcoords="offset points", ha="center", size=9)
        axis.set_title(title, loc="left", size=10)
        axis.set_xticks(places, [name.replace("falling ", "falling\n") for name in names], size=9)
        if score == "psnr":
            axis.set_ylim(bottom=np.floor(rows[score].min()) - 2)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Trains, prints the table and writes table and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="seeds of weights and batches")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    parser.add_argument("--out", type=Path, default=Path("runs/beta_vae"), help="folder of runs, table and plot")
    arguments, configuration = parser.parse_known_args()
    wrong = key_values(configuration)
    if wrong is not None:
        parser.error(f"{wrong}: not of the form KEY=VALUE")
    jobs = [(name, seed) for seed in arguments.seeds for name in SCHEDULES]
    first, *others = jobs  # the first makes the data set and prepares the images, which the others share
    made = {first: results_of(*first, arguments.out, configuration, arguments.threads)}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        more = pool.map(lambda job: results_of(*job, arguments.out, configuration, arguments.threads), others)
        made |= dict(zip(others, more, strict=True))
    rows = pd.DataFrame([row_of(name, seed, made[name, seed]) for name, seed in jobs])
    rows.to_csv(arguments.out / "beta_vae.csv", index=False)
    drawn(rows, arguments.out / "beta_vae.png")
    print()
    print(rows.drop(columns="seed").groupby("schedule", sort=False).mean().T.round(3).to_string())
    print(f"\n{arguments.out / 'beta_vae.csv'}, {arguments.out / 'beta_vae.png'}")


if __name__ == "__main__":
    main()
