"""Relates a learned latent to known factors: modularity, compactness and informativeness, and the MIG."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score
from sklearn.model_selection import StratifiedGroupKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from threadpoolctl import threadpool_limits

from outfits.errors import DataError

BINS = 20  # equal-width bins of a coordinate, as disentanglement_lib has them
NEGLIGIBLE = 0.01  # of the largest standard deviation: a coordinate that varies less is not active
_FEWEST = 4  # items of a value that a 70/30 split and three folds always put on both sides
_TEST_SHARE = 0.3
_FOLDS = 3  # with groups: one fold is the test part
_TREES = 60
_DRAWN_PER_TREE = 1000  # more of them change importances by a few percent and cost in proportion


@dataclass(frozen=True)
class FactorMetrics:
    """Relates a latent to one factor.

    Attributes:
        values: number of distinct values measured.
        items: number of items measured, on both sides of the split.
        informativeness: ``(accuracy - majority) / (1 - majority)``: 1 is perfect, 0 guessing, less is worse than that.
        accuracy: held-out accuracy of a multinomial logistic regression.
        majority: share of the commonest training value among the held-out items: the accuracy of guessing.
        compactness: DCI completeness of this factor, in [0, 1].
        mig: gap between the two largest normalised mutual informations of a coordinate with this factor.
    """

    name: str
    values: int
    items: int
    informativeness: float
    accuracy: float
    majority: float
    compactness: float
    mig: float


@dataclass(frozen=True)
class Disentanglement:
    """Holds the result of :func:`disentanglement`; arrays have a row per coordinate and a column per factor.

    Attributes:
        modularity: DCI disentanglement, the mean over coordinates weighted by their share of all importance.
        compactness: mean DCI completeness over factors; ``informativeness`` and ``mig`` are means over factors too.
        active: coordinates whose standard deviation is more than :data:`NEGLIGIBLE` of the largest.
        importance: share of a forest's decisions for a factor that a coordinate makes, shape ``[d, F]``; columns add up
            to 1, or are 0 where no coordinate helps.
        mutual_information: in units of the factor's entropy, shape ``[d, F]``.
        coordinate_modularity: DCI disentanglement of each coordinate, shape ``[d]``; 0 where it has no importance.
    """

    modularity: float
    compactness: float
    informativeness: float
    mig: float
    active: int
    factors: dict[str, FactorMetrics]
    importance: NDArray[np.float64]
    mutual_information: NDArray[np.float64]
    coordinate_modularity: NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """Converts arrays to lists."""
        return asdict(self) | {
            "importance": self.importance.tolist(),
            "mutual_information": self.mutual_information.tolist(),
            "coordinate_modularity": self.coordinate_modularity.tolist(),
        }


def disentanglement(
    latents: NDArray[np.floating],
    factors: Mapping[str, Sequence[str]],
    *,
    seed: int = 0,
    min_count: int = 10,
    max_items: int = 6000,
    groups: Sequence[int] | None = None,
) -> Disentanglement:
    r"""Measures modularity, compactness and linear informativeness of a latent, and its mutual information gap.

    A latent is *modular* if a coordinate carries at most one factor, *compact* if few coordinates carry a factor, and
    *informative* if a linear map decodes a factor from it. The first two are the disentanglement and completeness of
    C. Eastwood and C. K. I. Williams, "A framework for the quantitative evaluation of disentangled representations",
    ICLR 2018. With :math:`R_{ij}` the importance of coordinate i for factor j in a random forest,
    :math:`P_{ij} = R_{ij} / \sum_j R_{ij}` and :math:`\tilde P_{ij} = R_{ij} / \sum_i R_{ij}`,

    .. math::
        D_i = 1 + \sum_{j=1}^F P_{ij} \log_F P_{ij}, \quad
        D = \sum_i \frac{\sum_j R_{ij}}{\sum_{ij} R_{ij}} D_i, \quad
        C_j = 1 + \sum_{i=1}^d \tilde P_{ij} \log_d \tilde P_{ij} .

    A single coordinate is compact and a single factor modular, unless its importance is 0. Importances are taken raw,
    as in the paper: a forest gives coordinates of pure noise a little each, so D and C are too low where many
    coordinates carry nothing, the more so the harder a factor is to decode; compare latents of one width.
    Informativeness differs from the paper's, which is the forest's error.

    The mutual information gap is that of R. T. Q. Chen et al., "Isolating sources of disentanglement in variational
    autoencoders", NeurIPS 2018 (arXiv 1802.04942): with coordinates a and b the two most informative of factor j,

    .. math::
        \mathrm{MIG}_j = \bigl(I(z_a; v_j) - I(z_b; v_j)\bigr) / H(v_j) ,

    coordinates cut into :data:`BINS` equal-width bins. The gap of a single coordinate is its whole information.

    Factors that are correlated in the data bound modularity and the gap: a coordinate that carries one of them is
    informative about the other too. The gap of even a perfect latent stays below 1 then; a forest uses the other
    coordinate only where the factor's own leaves it in doubt, as it does in learned latents.

    Args:
        latents: latents of the items, shape ``[N, d]``.
        factors: the value of each item by factor, each of length ``N``; an item with ``""`` is left out of that factor.
        seed: seed of the items drawn, of the splits and of the forests.
        min_count: a value with fewer items is left out of its factor, copies counting once; at least 4. A factor with
            fewer than two values left, on either side of the split, is left out of the result.
        max_items: items drawn per factor where more are known.
        groups: a number per item, shape ``[N]``, equal for copies of one item: these all go to training or all to the
            test (one fold of three). Without groups 30% of the items are the test. Either split is stratified.

    Raises:
        ValueError: if ``latents`` is not finite or of another shape, lengths differ or ``min_count`` is below 4.
        DataError: if no factor has two values that enough items have.
    """
    points: NDArray[np.float64] = np.asarray(latents, dtype=np.float64)
    _check(points, factors, groups, min_count)
    group = np.arange(len(points)) if groups is None else np.asarray(groups)
    metrics: dict[str, FactorMetrics] = {}
    importances, informations = [], []
    for name, values in factors.items():
        rows, labels = _measured(np.asarray(values, dtype=np.str_), group, min_count, max_items, seed)
        kinds = len(np.unique(labels))
        if kinds < 2:
            continue
        train, test = _split(labels, None if groups is None else group[rows], seed)
        if min(len(np.unique(labels[side])) for side in (train, test)) < 2:  # where copies differ in value
            continue
        accuracy, majority = _linear_accuracy(points[rows], labels, train, test)
        importance = _importance(points[rows[train]], labels[train], seed)
        information = _mutual_information(points[rows], labels)
        second, first = np.sort([*information, 0.0])[-2:]
        metrics[name] = FactorMetrics(
            name=name,
            values=kinds,
            items=len(rows),
            informativeness=(accuracy - majority) / (1 - majority),
            accuracy=accuracy,
            majority=majority,
            compactness=float(_concentration(importance[None])[0]),
            mig=float(first - second),
        )
        importances.append(importance)
        informations.append(information)
    if not metrics:
        raise DataError(
            f"no factor of {', '.join(factors) or 'none'} has two values with {min_count} items each; "
            "set min_count lower, or measure more items"
        )

    importance = np.stack(importances, axis=1)  # [d, F]
    modularity = _concentration(importance)  # [d]
    # the deviation of equal numbers can be a rounding error above 0
    deviations = np.where(np.ptp(points, axis=0) > 0, points.std(axis=0), 0)
    return Disentanglement(
        modularity=float(importance.sum(axis=1) @ modularity / max(importance.sum(), np.finfo(np.float64).tiny)),
        compactness=float(np.mean([factor.compactness for factor in metrics.values()])),
        informativeness=float(np.mean([factor.informativeness for factor in metrics.values()])),
        mig=float(np.mean([factor.mig for factor in metrics.values()])),
        active=int((deviations > NEGLIGIBLE * deviations.max()).sum()),
        factors=metrics,
        importance=importance,
        mutual_information=np.stack(informations, axis=1),
        coordinate_modularity=modularity,
    )


def _check(
    points: NDArray[np.float64], factors: Mapping[str, Sequence[str]], groups: Sequence[int] | None, min_count: int
) -> None:
    if points.ndim != 2 or not points.shape[1] or not np.isfinite(points).all():
        raise ValueError(f"latents must be finite and of shape [N, d], not {list(points.shape)}")
    columns: list[tuple[str, Sequence[Any]]] = [*factors.items()]
    if groups is not None:
        columns.append(("groups", groups))
    wrong = [f"{name} {len(column):,}" for name, column in columns if len(column) != len(points)]
    if wrong:
        raise ValueError(f"lengths differ from the {len(points):,} latents: {', '.join(wrong)}")
    if min_count < _FEWEST:
        raise ValueError(f"min_count must be at least {_FEWEST}, not {min_count}")


def _measured(
    values: NDArray[np.str_], group: NDArray[np.integer], min_count: int, max_items: int, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Selects the rows measured of a factor, in order, and numbers the value of each."""
    rows = np.flatnonzero(values != "")
    if len(rows) > max_items:
        rows = np.sort(np.random.default_rng(seed).choice(rows, max_items, replace=False))
    labels = np.unique(values[rows], return_inverse=True)[1]
    distinct = np.unique(np.stack([labels, np.unique(group[rows], return_inverse=True)[1]]), axis=1)[0]
    common = np.bincount(distinct)[labels] >= min_count
    return rows[common], np.unique(labels[common], return_inverse=True)[1]


def _split(
    labels: NDArray[np.intp], group: NDArray[np.integer] | None, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Splits positions for training and test, stratified, no group on both sides."""
    positions = np.arange(len(labels))
    if group is None:
        train, test = train_test_split(positions, test_size=_TEST_SHARE, stratify=labels, random_state=seed)
    else:
        # numbered at random: older versions of scikit-learn lose the stratification when they shuffle
        numbers = np.unique(group, return_inverse=True)[1]
        numbers = np.random.default_rng(seed).permutation(numbers.max() + 1)[numbers]
        train, test = next(StratifiedGroupKFold(_FOLDS).split(positions, labels, numbers))
    return train, test


def _linear_accuracy(
    latents: NDArray[np.float64], labels: NDArray[np.intp], train: NDArray[np.intp], test: NDArray[np.intp]
) -> tuple[float, float]:
    """Measures held-out accuracy of a logistic regression, and of always answering the commonest training value."""
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=5000))
    guess = DummyClassifier(strategy="most_frequent")
    # products this small are slower on several threads, and a hundred times slower where cores are shared
    with threadpool_limits(1):
        accuracy, majority = (
            float(model.fit(latents[train], labels[train]).score(latents[test], labels[test]))
            for model in (linear, guess)
        )
    return accuracy, majority


def _importance(latents: NDArray[np.float64], labels: NDArray[np.intp], seed: int) -> NDArray[np.float64]:
    """Computes the importance of each coordinate for a factor, shape ``[d]``.

    Every split sees all coordinates. With a random few, the default of forests, a tree splits on noise whenever the
    right coordinate is not among them: of 64, a perfect one got half the importance.
    """
    forest = RandomForestClassifier(
        _TREES,
        max_features=None,
        max_samples=min(_DRAWN_PER_TREE, len(latents)),
        max_depth=12,
        min_samples_leaf=min(10, max(1, len(latents) // 20)),
        n_jobs=1,
        random_state=seed,
    )
    importance: NDArray[np.float64] = forest.fit(latents, labels).feature_importances_
    return importance


def _mutual_information(latents: NDArray[np.float64], labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """Divides each coordinate's mutual information with a factor, in bins, by the factor's entropy, shape ``[d]``."""
    information = np.zeros(latents.shape[1])
    varying = np.flatnonzero(np.ptp(latents, axis=0) > 0)
    if len(varying):
        cut = KBinsDiscretizer(BINS, encode="ordinal", strategy="uniform", subsample=None)
        bins = cut.fit_transform(latents[:, varying]).astype(np.intp)
        information[varying] = [mutual_info_score(labels, column) for column in bins.T]
    return information / float(entr(np.bincount(labels) / len(labels)).sum())


def _concentration(importance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Computes 1 - normalised entropy of each row: 1 where one entry has all, 0 where there is none."""
    total = importance.sum(axis=1)
    shares = importance / np.where(total > 0, total, 1)[:, None]
    # a row of one entry has entropy 0, which needs no unit
    entropy = entr(shares).sum(axis=1) / np.log(max(importance.shape[1], 2))
    return np.where(total > 0, 1 - entropy, 0)
