"""Does a completion for a user fit the user's taste? The weight of the user's preference swept, as a table and a plot.

``python benchmarks/personal.py --run RUN_DIR`` takes a finished run of ``experiment=tastes``. Two items of outfits that
users like, and that no model saw, are removed and added again by beam search: with S alone, with HFGN's preference of
growing weight, and by an oracle that knows the hidden taste and takes what fits, and among that what S prefers.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from outfits.completion.methods import complete
from outfits.completion.tasks import CompletionTasks
from outfits.config.method_calls import resolve_call
from outfits.data.load import load_dataset
from outfits.data.synthetic.rules import hue_distance
from outfits.data.synthetic.tastes import FAVOURITES_WITHIN, Taste, read_tastes
from outfits.data.synthetic.wardrobe import COLOURS
from outfits.scoring.preferences import Preferences, UserPreference
from outfits.stylist.export import read_users
from outfits.stylist.loading import load_run

BETAS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
HUES = {colour.name: colour.hue for colour in COLOURS}
REMOVED = 2


@dataclass(frozen=True)
class KnowsTaste:
    """Prefers sets by the number of their items that fit, bool ``[B, N]``, far above S; stands in for a preference."""

    fitting: NDArray[np.bool_]

    def take(self, rows: NDArray[np.integer]) -> "KnowsTaste":
        """The same for these outfits of the batch."""
        return KnowsTaste(self.fitting[rows])

    def of_additions(self, row: int, outfit: NDArray[np.integer], items: NDArray[np.integer]) -> NDArray[np.float64]:
        """See :class:`outfits.scoring.preferences.UserPreference`."""
        return 10.0 * (self.fitting[row, outfit].sum() + self.fitting[row, items]).astype(np.float64)


def fits(taste: Taste, attributes: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Which items fit a taste, shape ``[N]``."""
    near = {name: hue is None or hue_distance(hue, taste.hue) <= FAVOURITES_WITHIN for name, hue in HUES.items()}
    found: NDArray[np.bool_] = (
        (attributes["style"] == taste.style)
        & np.array([near[name] for name in attributes["colour"]])
        & (attributes["formality"].astype(int) <= taste.level)
        & ~np.isin(attributes["shape"], taste.unworn)
    )
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints a table and writes it with its plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a finished run of experiment=tastes")
    parser.add_argument("--outfits", type=int, default=200, help="completed outfits")
    parser.add_argument("--out", type=Path, default=Path("personal_beta.png"), help="plot, beside its table")
    options = parser.parse_args(argv)
    run = load_run(options.run, "cpu", None, None)
    dataset = load_dataset(run.config.data)
    users = read_users(options.run, run.outfits)
    assert run.recommender is not None
    preferences = Preferences(run.recommender, run.catalogue, run.outfits, users)
    attributes = {name: np.array(values) for name, values in dataset.catalogue.attributes.items()}
    tastes = read_tastes(Path(run.config.data.root))
    fitting = np.stack([fits(tastes[name], attributes) for name in users.user_ids])  # [U, N]

    liked, outfits = users.pairs("test")
    large = np.flatnonzero(run.outfits.sizes[outfits] > REMOVED)
    chosen = np.random.default_rng(0).permutation(large)[: options.outfits]
    tasks, of_users = tasks_for(run.outfits, liked[chosen], outfits[chosen])
    vectors = preferences.user_vectors[of_users]
    rows: dict[str, Any] = {f"beta {beta:g}": UserPreference(preferences, vectors, beta) for beta in BETAS}
    rows["oracle"] = KnowsTaste(fitting[of_users])
    call = resolve_call("beam:width=2", run.config.evaluate)
    table = []
    for name, preference in rows.items():
        outcome = complete(call, replace(tasks, preference=preference), run.context)
        whole = [np.concatenate([given, added]) for given, added in zip(tasks.given, outcome.chosen, strict=True)]
        scores = expit(run.context.scorer.ragged_logits(whole).double().numpy())
        share = fitting[of_users[:, None], outcome.chosen].mean()
        table.append({"objective": name, "fits": share, "S": scores.mean()})
        print(f"{name:>10}: {share:.1%} of the added items fit, S {scores.mean():.3f}", flush=True)
    removed = fitting[of_users[:, None], tasks.removed].mean()
    table.append({"objective": "removed items", "fits": removed, "S": np.nan})
    table.append({"objective": "any item", "fits": fitting[of_users].mean(), "S": np.nan})
    frame = pd.DataFrame(table)
    frame.to_csv(options.out.with_suffix(".csv"), index=False)
    print(frame.to_string(index=False, float_format="{:.3f}".format))
    draw(frame, options.out)


def tasks_for(
    outfits: Any, users: NDArray[np.int64], numbers: NDArray[np.int64]
) -> tuple[CompletionTasks, NDArray[np.int64]]:
    """Outfits without random items, and the user of each."""
    given, removed = [], []
    for place, number in enumerate(numbers.tolist()):
        items = np.random.default_rng([1, place]).permutation(outfits[number])
        removed.append(items[:REMOVED])
        given.append(np.sort(items[REMOVED:]))
    positions = np.arange(len(numbers))
    return CompletionTasks(given, np.stack(removed), positions, np.zeros_like(positions)), users


def draw(frame: pd.DataFrame, path: Path) -> None:
    """Draws the share of fitting items and S by the weight of the preference."""
    shares = frame.set_index("objective")
    swept = [f"beta {beta:g}" for beta in BETAS]
    places = np.arange(len(BETAS))
    figure, left = plt.subplots(figsize=(7, 4), layout="constrained")
    left.plot(places, shares.loc[swept, "fits"], "o-", color="#d55e00", label="added items that fit the user's taste")
    for name, style in (("oracle", "-"), ("removed items", "--"), ("any item", ":")):
        left.axhline(shares.loc[name, "fits"], linestyle=style, color="#8b949e", linewidth=1)
        left.annotate(name, (0, shares.loc[name, "fits"]), xytext=(2, 3), textcoords="offset points", fontsize=8)
    left.plot(places, shares.loc[swept, "S"], "s-", color="#0072b2", label="S of the completed outfit")
    left.set(xticks=places, xticklabels=[f"{beta:g}" for beta in BETAS], ylim=(0, 1.06))
    left.set(xlabel="weight of the user's preference", ylabel="share, S")
    left.legend(loc="center right")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
