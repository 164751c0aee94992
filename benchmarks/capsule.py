"""A capsule wardrobe beside random and most frequent items of the same number.

    python benchmarks/capsule.py --run RUN_DIR [--size 12] [--starts 10] [--picture capsule.png]

From each of several first items, drawn from the test outfits, ``Stylist.capsule`` chooses the others. Its rivals are
random items and the items most frequent in training outfits, over all, and with as many items of each category as the
capsule has. All have the first item too. Counted are the outfits of three and four items with S from the threshold on;
the judge, which chose none, is asked about them as well.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from outfits import Stylist
from outfits.data.dataset import Item
from outfits.report.comparison.gallery import item_thumbnail
from outfits.report.drawing import image_bytes
from outfits.report.style import PRINT
from outfits.stylist.capsule import CapsuleGoal, outfits_within
from outfits.stylist.loading import LoadedRun, load_run

SIZES = (3, 4)  # of outfits
JUDGED = 500  # outfits of a wardrobe that the judge is asked about
PIXELS = (150, 200)


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Prints a table and returns its figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", required=True, type=Path, help="folder of a finished run")
    parser.add_argument("--size", type=int, default=12, help="items of a wardrobe")
    parser.add_argument("--starts", type=int, default=10, help="first items")
    parser.add_argument(
        "--threshold", type=float, default=None, help="S of a good outfit; by default the median of real ones"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, help="PNG with the wardrobes of the first start")
    asked = parser.parse_args(arguments)
    run = load_run(asked.run, "cpu", None, None)
    threshold = median_of_real(run) if asked.threshold is None else asked.threshold
    goal = CapsuleGoal(SIZES, threshold)
    rng = np.random.default_rng([asked.seed, 15])
    rows: dict[str, list[tuple[float, ...]]] = {}
    shown: dict[str, list[int]] = {}
    for first in first_items(run, asked.starts, rng):
        found = wardrobes(run, int(first), asked.size, threshold, rng)
        shown = shown or found
        for name, items in found.items():
            rows.setdefault(name, []).append(measures(run, items, goal))
    columns = ("outfits", "outfits of distinct categories", "judge", "categories")
    means = {
        name: dict(zip(columns, np.nanmean(np.array(of), axis=0).tolist(), strict=True)) for name, of in rows.items()
    }
    print(f"{asked.starts} starts, {asked.size} items, S from {threshold:.3f} on")
    print(f"{'wardrobe':<34} {'good outfits':>13} {'of possible':>12} {'judge':>7} {'categories':>11}")
    for name, of in means.items():
        possible = of["outfits of distinct categories"]
        print(f"{name:<34} {of['outfits']:>13,.1f} {possible:>12,.1f} {of['judge']:>7.3f} {of['categories']:>11.1f}")
    print(json.dumps(means))
    if asked.picture is not None:
        draw(run, shown, asked.picture)
    return means


def median_of_real(run: LoadedRun) -> float:
    """Median S of the test outfits of three and four items."""
    sets = [outfit for outfit in run.outfits.of("test") if len(outfit) in SIZES]
    logits = run.context.scorer.ragged_logits(sets).double().numpy()
    return float(np.median(1 / (1 + np.exp(-logits))))


def first_items(run: LoadedRun, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Different items of test outfits."""
    return rng.choice(np.unique(run.outfits.of("test").items), count, replace=False).astype(np.int64)


def wardrobes(
    run: LoadedRun, first: int, size: int, threshold: float, rng: np.random.Generator
) -> dict[str, list[int]]:
    """The capsule and its rivals, by name, as catalogue positions with the first item in front."""
    catalogue = run.catalogue
    chosen = Stylist(run).capsule([catalogue.item_ids[first]], size, outfit_sizes=SIZES, threshold=threshold)
    capsule = [catalogue.positions[str(item.id)] for item in chosen.items]
    frequency = run.context.require_occurrences()
    others = np.delete(np.arange(len(catalogue)), first)
    random = rng.permutation(others)
    frequent = others[np.argsort(-frequency[others], kind="stable")]
    wanted = Counter(catalogue.categories[capsule[1:]].tolist())
    return {
        "capsule": capsule,
        "random": [first, *random[: size - 1].tolist()],
        "random, its categories": [first, *of_categories(random, catalogue.categories, wanted)],
        "most frequent": [first, *frequent[: size - 1].tolist()],
        "most frequent, its categories": [first, *of_categories(frequent, catalogue.categories, wanted)],
    }


def of_categories(order: NDArray[np.int64], categories: NDArray[np.integer], wanted: Counter[int]) -> list[int]:
    """The first items of an order that fill a number of places for each category."""
    left, found = Counter(wanted), []
    for item in order.tolist():
        category = int(categories[item])
        if left[category] > 0:
            left[category] -= 1
            found.append(item)
    return found


def measures(run: LoadedRun, items: Sequence[int], goal: CapsuleGoal) -> tuple[float, float, float, float]:
    """Good outfits of a wardrobe, possible ones, the judge's mean score of good ones, and categories."""
    everything = outfits_within(run.context.scorer, items, CapsuleGoal(goal.sizes, 0.0))
    good = [outfit for outfit, score in everything if score >= goal.threshold]
    judge, score = run.context.judge, np.nan
    if judge is not None and good:
        some = [np.array(outfit) for outfit in good[:: max(1, len(good) // JUDGED)]]
        score = float(np.mean(1 / (1 + np.exp(-judge.ragged_logits(some).double().numpy()))))
    return len(good), len(everything), score, len(set(run.catalogue.categories[list(items)].tolist()))


def draw(run: LoadedRun, wardrobes: dict[str, list[int]], path: Path) -> None:
    """Draws wardrobes, a row each."""
    catalogue, across = run.catalogue, max(map(len, wardrobes.values()))
    figure = Figure(figsize=(0.75 * across, 1.15 * len(wardrobes)), layout=ConstrainedLayoutEngine(w_pad=0.01))
    grid = figure.subplots(len(wardrobes), across, squeeze=False)
    for row, (name, items) in zip(grid, wardrobes.items(), strict=True):
        for axis in row:
            axis.set_axis_off()
        for axis, item in zip(row, items, strict=False):
            entry = Item(
                catalogue.item_ids[item],
                catalogue.category_names[int(catalogue.categories[item])],
                catalogue.texts[item],
                catalogue.image_paths[item],
            )
            image = item_thumbnail(entry, PIXELS)
            if image is not None:
                axis.imshow(image)
        row[0].set_title(name, loc="left", size=8, color=PRINT.ink)
    path.write_bytes(image_bytes(figure, "png", dpi=110))


if __name__ == "__main__":
    main()
