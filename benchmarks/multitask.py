"""One multi-task model beside a model for each task and the CLIP model alone, over seeds; and how fast it refines.

``python benchmarks/multitask.py`` trains on drawn garments, or on other data with ``key=value`` arguments. Finished
seeds are not repeated. ``--query RUN_DIR`` instead measures a refinement on a catalogue of 10,000 items with the model
of a run: the time beyond the network's own pass over image and text.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from training import key_values, train

from outfits.data.catalogue import Catalogue
from outfits.encoders.multitask.encoder import Multitask
from outfits.report.multitask.report import ROWS
from outfits.storage import write_json
from outfits.stylist.refining import Refiner

HEADLINE = {
    "retrieval": ("image_to_text_r@10", "text_to_image_r@10"),
    "refinement": ("refined_split_r@10", "refined_split_r@50"),
    "recognition": ("image_alone_accuracy", "with_text_accuracy"),
    "captioning": ("cider", "bleu4"),
}
"""Measures of a task in the table."""
BASELINES = ("sum_split_r@10", "image_alone_split_r@10", "text_alone_split_r@10")


def main(argv: Sequence[str] | None = None) -> None:
    """Trains what is missing and prints the tables, or measures a query."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("runs/multitask"), help="runs, cache and tables")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--query", type=Path, default=None, metavar="RUN_DIR", help="measure a refinement instead")
    parser.add_argument("--items", type=int, default=10_000, help="--query: items of the catalogue")
    options, arguments = parser.parse_known_args(argv)
    if (wrong := key_values(arguments)) is not None:
        parser.error(f"{wrong} is no KEY=VALUE")
    if options.query is not None:
        print(json.dumps(query_times(options.query, options.items)))
        return
    check_arguments(options.folder, arguments)
    results = [results_of(options.folder, seed, arguments, options.threads) for seed in range(options.seeds)]
    frame = table(results)
    frame.to_csv(options.folder / "multitask.csv", index=False)
    print(frame.to_string(index=False, float_format="{:.3f}".format))


def check_arguments(folder: Path, arguments: Sequence[str]) -> None:
    """Ends the program if the folder's runs have other arguments, whose results would stand for those of these."""
    path, given = folder / "arguments.json", sorted(arguments)
    if not path.exists():
        write_json(path, given)
    elif (before := json.loads(path.read_text(encoding="utf-8"))) != given:
        raise SystemExit(f"--folder {folder} holds runs with {' '.join(before) or 'no arguments'}; give another folder")


def results_of(
    folder: Path, seed: int, arguments: Sequence[str], threads: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Results of the run of a seed, which is trained if it is not there."""
    run = folder / f"seed-{seed}"
    path = run / "report" / "multitask" / "results.json"
    if not path.exists():
        own = [f"run_dir={run}", f"cache_dir={folder / 'cache'}", f"seed={seed}", "multitask.single_tasks=true"]
        started = time.time()
        train(f"seed {seed}", ["experiment=multitask", *own, "trainer.enable_progress_bar=false", *arguments], threads)
        print(f"seed {seed}: {(time.time() - started) / 60:.1f} min", flush=True)
    found: dict[str, dict[str, dict[str, float]]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def table(results: Sequence[dict[str, dict[str, dict[str, float]]]]) -> pd.DataFrame:
    """Means over seeds, with the smallest and the largest, by measure and model."""
    rows = []
    for task, measures in HEADLINE.items():
        models = ["multitask", task, "plain"]
        wanted = [(measure, model) for measure in measures for model in models]
        if task == "refinement":
            wanted += [(measure, model) for measure in BASELINES for model in ("multitask", "plain")]
        for measure, model in wanted:
            values = [one["values"][model][measure] for one in results if measure in one["values"].get(model, {})]
            if values:
                spread = {"mean": np.mean(values), "least": min(values), "most": max(values), "seeds": len(values)}
                rows.append({"task": task, "measure": measure, "model": ROWS[model], **spread})
    sizes = results[0]["parameters"]
    alone = sum(sizes[task]["total"] for task in HEADLINE if task in sizes)
    for name, value in (("one model", sizes["multitask"]["total"]), ("a model for each task", alone)):
        rows.append({"task": "all", "measure": "parameters", "model": name, "mean": value})
    return pd.DataFrame(rows)


def query_times(run: Path, items: int, repeats: int = 50) -> dict[str, float]:
    """Milliseconds of a refinement with the model of a run on a catalogue of random vectors, medians of two clocks."""
    torch.set_num_threads(1)
    model = Multitask(run)
    rng = np.random.default_rng(0)
    ids = [f"item-{item}" for item in range(items)]
    catalogue = Catalogue(ids, np.zeros(items, np.int32), ["any"], [""] * items, [None] * items)
    refiner = Refiner(model, catalogue, None)
    vectors = rng.normal(size=(items, model.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    refiner.__dict__["gallery"] = (vectors, np.ones(items, dtype=np.bool_))  # stands in for embedded images
    size = model.stored.network.clip_settings.image_size
    image = rng.integers(0, 255, (size, size, 3)).astype(np.uint8)
    word = model.stored.tokens.text([len(model.stored.tokens.vocabulary) // 2])
    found = {}
    for name, clock in (("wall", time.perf_counter), ("cpu", time.process_time)):
        whole, network = [], []
        for _ in range(repeats):
            started = clock()
            similarity = refiner.refine(image, word)
            np.argsort(-similarity, kind="stable")[:10]
            whole.append(clock() - started)
            started = clock()
            refiner.query(image, word)
            network.append(clock() - started)
        times = [1000 * float(np.median(values)) for values in (whole, network)]
        found |= {f"{name}_whole": times[0], f"{name}_network": times[1], f"{name}_beyond": times[0] - times[1]}
    return {**found, "items": items, "dim": model.dim}


if __name__ == "__main__":
    main()
