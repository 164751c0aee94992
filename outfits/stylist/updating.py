"""Brings the catalogue of a finished run up to date, and says when the models should be trained anew."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from outfits.completion.tasks import make_tasks
from outfits.config.method_calls import resolve_call
from outfits.config.schema.targets import TwoStageConfig
from outfits.data.catalogue import ItemEmbeddings
from outfits.data.outfits import SPLITS
from outfits.errors import ConfigError
from outfits.index.category_index import CategoryIndex
from outfits.mining.audit import Share, upper_bound
from outfits.naming import normalised
from outfits.stylist.garments import Garment
from outfits.stylist.stylist import Stylist

AT_ONCE = 256  # items that join in one change: what a stopped update keeps
REFERENCES = 20_000  # items of the exported catalogue that others are compared with
FAMILIAR = 0.01  # share of the exported items that count as unfamiliar by definition
UNFAMILIAR = 0.05  # share of the items that joined from which on S should see outfits of such items
LARGEST_LOSS = TwoStageConfig().max_regret


@dataclass(frozen=True)
class FurtherLoss:
    """How much more of S the generator loses than at training: mean, and lower end of its one-sided 95 % interval."""

    mean: float
    low: float
    outfits: int

    @classmethod
    def of(cls, losses: NDArray[np.float64]) -> "FurtherLoss":
        """The metrics of two outfits' losses or more, shape ``[B]``."""
        return cls(float(losses.mean()), -upper_bound(-losses), len(losses))


@dataclass(frozen=True)
class CatalogueUpdate:
    """What an update did, and what the figures say.

    Attributes:
        stylist: of the catalogue as it is now.
        added: items that joined and were embedded; those that were there already are not embedded again.
        removed: items that left.
        joined: items of the catalogue now that joined after training, in this update or before.
        loss: S that the generator loses against the reference search, now minus at training, over the same partial
            outfits; None without a generator or validation outfits.
        unfamiliar: share of the joined items that are further from all exported items of their category than all but
            1 % of the exported ones are from each other, with its interval; None if none joined.
        reasons: why the models should be trained anew, a line each; empty: they need not be.
    """

    stylist: Stylist
    added: int
    removed: int
    joined: int
    loss: FurtherLoss | None
    unfamiliar: Share | None
    reasons: tuple[str, ...]

    @property
    def retrain(self) -> bool:
        """Whether the figures ask for retraining."""
        return bool(self.reasons)


def update_catalogue(
    run: str | Path | Stylist,
    added: Mapping[str, Garment] | None = None,
    removed: Sequence[str] = (),
    *,
    outfits: int = 64,
    reference: str = "greedy_k",
) -> CatalogueUpdate:
    """Adds and removes items of a finished run's catalogue and compares its models' figures with those at training.

    Only what is new is embedded: items that the catalogue has under their id stay as they are, so an update that was
    stopped is repeated as a whole. An item that changed is named in ``removed`` and ``added``. Weights, mined targets
    and the exported catalogue stay. The models should be trained anew

    - if the generator falls behind: the mean over ``outfits`` validation outfits of what its completions lose in S
      against the reference search has grown by more than 0.005, with 95 % confidence (one-sided);
    - if S meets unfamiliar items: more than 5 % of those that joined, with 97.5 % confidence.

    S itself cannot be judged without outfits that hold the new items; the second rule tells when such outfits are due.

    Args:
        run: the run's folder, or its stylist.
        added: items that join, by id.
        removed: ids of items that leave, before others join; those that are not there are left out.
        outfits: validation outfits to compare on, ``model.k`` items of each missing; 0: no comparison.
        reference: the search that the generator is compared with; a two-stage search in large catalogues.

    Raises:
        ConfigError: if the reference is no method of the run, or the number of outfits is negative.
        DataError: if a garment cannot be used.
        TypeError: if ``removed`` is one id, not a list of some.
    """
    if isinstance(removed, str):
        raise TypeError(f"removed is a list of ids, as in [{removed!r}]")
    if outfits < 0:
        raise ConfigError([f"outfits: must be at least 0, not {outfits}"])
    stylist = run.refreshed() if isinstance(run, Stylist) else Stylist.load(run)
    try:
        call = resolve_call(reference, stylist.config.evaluate)
    except ValueError as error:
        raise ConfigError([f"reference: {error}"]) from None
    if not stylist.can(call.name):
        raise ConfigError([f"reference: the run has no model for {reference}; greedy_k needs none beside S"])
    # in the form that the catalogue has them in, or an update that is repeated would add them again
    leaving = [item_id for item_id in dict.fromkeys(map(normalised, removed)) if item_id in stylist]
    stylist = stylist.remove(*leaving) if leaving else stylist
    named = {normalised(item_id): garment for item_id, garment in (added or {}).items()}
    names, joined = list(named), 0
    for start in range(0, len(names), AT_ONCE):
        stylist = stylist.refreshed()  # another process may have added some meanwhile
        some = {name: named[name] for name in names[start : start + AT_ONCE] if name not in stylist}
        stylist, joined = stylist.add(some) if some else stylist, joined + len(some)
    exported, changed = stylist.exported, stylist.changed_ids  # which are read from the disk
    new = [place for place, one in enumerate(stylist.item_ids) if one not in exported or one in changed]
    loss = _loss(exported, stylist, outfits, reference) if outfits else None
    unfamiliar = _unfamiliar(exported, stylist, np.array(new)) if new else None
    return CatalogueUpdate(stylist, joined, len(leaving), len(new), loss, unfamiliar, reasons(loss, unfamiliar))


def reasons(loss: FurtherLoss | None, unfamiliar: Share | None) -> tuple[str, ...]:
    """Why models should be trained anew, a line each, see :func:`update_catalogue`."""
    found = []
    if loss is not None and loss.mean > LARGEST_LOSS and loss.low > LARGEST_LOSS:
        found.append(
            f"the generator loses {loss.mean:.4f} more of S than at training, at least {loss.low:.4f} with 95 % "
            f"confidence, over {loss.outfits} outfits: mine targets and train the generator on the catalogue of now"
        )
    if unfamiliar is not None and unfamiliar.low > UNFAMILIAR:
        found.append(
            f"{unfamiliar.share:.0%} of the {unfamiliar.cases} items that joined are unlike any that S was trained on "
            f"(95 % interval {unfamiliar.low:.0%} to {unfamiliar.high:.0%}): train S on outfits that hold such items"
        )
    return tuple(found)


def _loss(exported: Stylist, now: Stylist, outfits: int, reference: str) -> FurtherLoss | None:
    """What the generator loses against the reference now, less what it lost at training, by outfit."""
    if not now.can("generator"):
        return None
    rows = [row for row in range(len(now.outfits)) if now.outfits.split[row] == SPLITS.index("valid")]
    k = now.config.model.k
    large = [row for row in rows if len(now.outfits[row]) >= k + 2]
    if len(large) < 2:
        return None
    tasks = make_tasks(now.outfits.take(large), k, 1, outfits, now.config.seed)
    given = [[now.item_ids[item] for item in items.tolist()] for items in tasks.given]

    def lost(stylist: Stylist) -> NDArray[np.float64]:
        of_reference, of_generator = (
            np.array([found[0].score for found in stylist.complete_many(given, k, method=method, top=1)])
            for method in (reference, "generator")
        )
        return np.asarray(of_reference - of_generator, dtype=np.float64)

    return FurtherLoss.of(lost(now) - lost(exported)) if len(given) > 1 else None


def _unfamiliar(exported: Stylist, now: Stylist, joined: NDArray[np.int64]) -> Share:
    """The share of joined items that lie further from the exported ones than all but 1 % of these from each other."""
    trained, seen = exported.embeddings, np.random.default_rng(0).permutation(len(exported))[:REFERENCES]
    categories, count = exported.item_categories, len(exported.categories)
    index = CategoryIndex(trained.vectors[np.sort(seen)], categories[np.sort(seen)], num_categories=count)
    sample = seen[:1000]
    others = _nearest(index, trained, categories, sample, 1)
    limit = np.quantile(others, FAMILIAR)
    near = _nearest(index, now.embeddings, now.item_categories, joined, 0)
    return Share.of(near < limit)


def _nearest(
    index: CategoryIndex,
    items: ItemEmbeddings,
    categories: NDArray[np.integer],
    rows: NDArray[np.int64],
    skipped: int,
) -> NDArray[np.float32]:
    """Cosine of items to the nearest of their category in an index, -1 without one; ``skipped`` is 1 for its own."""
    similarity, _ = index.search(np.array(items.vectors[rows]), 1 + skipped)
    near: NDArray[np.float32] = similarity[np.arange(len(rows)), categories[rows], skipped]
    return np.where(np.isfinite(near), near, np.float32(-1))
