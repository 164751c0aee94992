"""Measures how often a planted stranger is named: by attention, by leaving one out, by the best replacement.

In each test outfit of a finished run one item is replaced by another of its category. On the drawn data the stranger
matches none of the outfit's other garments by the hidden rules; elsewhere it is any other item.

    python benchmarks/explain.py --run RUN_DIR [--outfits 200]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from outfits.config.load import read_config
from outfits.data.load import load_dataset
from outfits.data.outfits import SPLITS
from outfits.data.synthetic.rules import go_together
from outfits.data.synthetic.wardrobe import COLOURS, Garment
from outfits.stylist.explaining import best_replacements, leave_one_out, task_attention
from outfits.stylist.loading import load_run

COLOUR = {colour.name: colour for colour in COLOURS}


def main() -> None:
    """Prints a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, type=Path, help="folder of a finished run")
    parser.add_argument("--outfits", type=int, default=200, help="test outfits")
    parser.add_argument("--seed", type=int, default=0, help="seed of the strangers")
    asked = parser.parse_args()
    run = load_run(asked.run, "cpu", None, None)
    garments = _garments(asked.run)
    categories, scorer = run.catalogue.categories, run.context.scorer
    items = run.catalogue.require_embeddings
    named = {"attention": 0, "least attention": 0, "leave one out": 0, "best replacement": 0}
    planted = chance = 0.0
    tests = [outfit for outfit, split in zip(run.outfits, run.outfits.split, strict=True) if SPLITS[split] == "test"]
    for number, outfit in enumerate(tests):
        if planted == asked.outfits or len(outfit) < 3 or len(np.unique(categories[outfit])) < len(outfit):
            continue
        rng = np.random.default_rng([asked.seed, number])
        place = int(rng.integers(len(outfit)))
        strangers = _strangers(outfit, place, categories, garments)
        if not len(strangers):
            continue
        spoilt = outfit.astype(np.int64)
        spoilt[place] = int(rng.choice(strangers))
        of_items = items.take(spoilt)
        attention = task_attention(
            run.context.require_scorer_module(), torch.from_numpy(of_items.vectors), torch.from_numpy(of_items.present)
        )
        replaced, _ = best_replacements(scorer, spoilt)
        planted += 1
        chance += 1 / len(outfit)
        named["attention"] += attention.argmax() == place
        named["least attention"] += attention.argmin() == place
        named["leave one out"] += leave_one_out(scorer, spoilt).argmax() == place
        named["best replacement"] += replaced.argmax() == place
    shares = {name: round(float(count / planted), 3) for name, count in named.items()}
    print(json.dumps({"outfits": int(planted), "chance": round(chance / planted, 3), **shares}))


def _garments(run_dir: Path) -> list[Garment] | None:
    """The drawn garments of a run on the built-in data, by catalogue position; None for other data."""
    config = read_config(run_dir / "config.yaml")
    if config.data.format != "synthetic":
        return None
    attributes = load_dataset(config.data).catalogue.attributes
    rows = zip(*(attributes[name] for name in ("style", "formality", "warmth", "colour", "pattern")), strict=True)
    return [Garment(0, style, int(f), int(w), COLOUR[colour], "", pattern, 0) for style, f, w, colour, pattern in rows]


def _strangers(
    outfit: NDArray[np.int32], place: int, categories: NDArray[np.int32], garments: list[Garment] | None
) -> NDArray[np.int64]:
    """Items of the category of the one at ``place`` that do not belong to the outfit."""
    others = np.setdiff1d(np.flatnonzero(categories == categories[outfit[place]]), outfit)
    if garments is None:
        return others
    rest = [garments[item] for item in np.delete(outfit, place)]
    return np.array([item for item in others if not any(go_together(garments[item], one) for one in rest)], np.int64)


if __name__ == "__main__":
    main()
