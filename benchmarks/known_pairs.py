"""How much of what S misses is memory: which items and which pairs the training outfits have.

``python benchmarks/known_pairs.py --run RUN_DIR`` fits gradient-boosted trees on the validation split, from the logit
of the run's S and from counts in the outfits that S was trained on, and measures them on the questions that S is
measured with: one item of a test outfit replaced by another of its category. The counts know nothing of a garment, and
of one that no training outfit has they know only that; so the lead of the last row over the first says what a model
that recognises items gains on this split, not what goes with what.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from outfits.completion.context import MethodContext
from outfits.config.load import load_config
from outfits.data.dataset import OutfitDataset
from outfits.data.load import load_dataset
from outfits.data.outfits import Outfits
from outfits.metrics.compatibility import SetScorer
from outfits.metrics.evaluate_scorer import measure_compatibility
from outfits.metrics.questions import replacement_negatives
from pipeline.compatibility import load_scorers, scorer_and_judge_outfits
from pipeline.embeddings import embed_catalogue
from pipeline.run import reopen_run

FEATURES = {
    "items": ("mean log count", "least log count", "share of unknown items", "size"),
    "pairs": ("share of known pairs", "mean log count of pairs", "share of items in no known pair", "size of the set"),
}
"""What is counted of a set, by kind."""
KINDS = (("items",), ("pairs",), ("items", "pairs"))
MEASURES = {"auc_same_category": "AUC", "fitb_same_category": "fill in the blank"}
TREES = {"max_depth": 3, "max_iter": 80, "learning_rate": 0.05}


@dataclass(frozen=True)
class Counts:
    """How often items ``[N]`` and pairs of items ``[N, N]`` stand in outfits."""

    items: NDArray[np.int64]
    pairs: csr_matrix

    @classmethod
    def of(cls, outfits: Outfits, items: int) -> "Counts":
        """Counts the outfits' items, and those that stand in one outfit."""
        rows = np.repeat(np.arange(len(outfits)), np.diff(outfits.offsets))
        members = csr_matrix((np.ones(len(rows)), (rows, outfits.items)), (len(outfits), items))
        pairs = csr_matrix(members.T @ members)
        pairs.setdiag(0)
        return cls(np.bincount(outfits.items, minlength=items), pairs)

    def features(self, kind: str, sets: Sequence[NDArray[np.integer]]) -> NDArray[np.float64]:
        """The :data:`FEATURES` of a kind, of sets of two items or more, shape ``[len(sets), 4]``."""
        return np.array([getattr(self, f"_of_{kind}")(np.asarray(one)) for one in sets], dtype=np.float64)

    def _of_items(self, one: NDArray[np.integer]) -> tuple[float, ...]:
        logs = np.log1p(self.items[one])
        return float(logs.mean()), float(logs.min()), float((logs == 0).mean()), float(len(one))

    def _of_pairs(self, one: NDArray[np.integer]) -> tuple[float, ...]:
        counts = self.pairs[one][:, one].toarray()
        of_pairs = counts[np.triu_indices(len(one), 1)]
        alone = float((counts.max(1) == 0).mean())
        return float((of_pairs > 0).mean()), float(np.log1p(of_pairs).mean()), alone, float(len(one))


class WithCounts:
    """S with counts, by trees fitted on outfits and on them with one item replaced; a scorer of sets.

    Args:
        scorer: S; None: the counts alone.
        counts: of the training outfits.
        kinds: which of them.
        valid: outfits to fit the trees on.
        categories: of the catalogue's items, shape ``[N]``.
        draws: replacements of an outfit.
    """

    def __init__(
        self,
        scorer: SetScorer | None,
        counts: Counts,
        kinds: Sequence[str],
        valid: Outfits,
        categories: NDArray[np.integer],
        draws: int,
    ) -> None:
        self.scorer, self.counts, self.kinds = scorer, counts, kinds
        fitted_on = replacement_negatives(valid, categories, 0, same_category=True, draws=draws)
        sets = [*fitted_on.positives, *fitted_on.negatives]
        labels = np.arange(len(sets)) < len(fitted_on.positives)
        self.model = HistGradientBoostingClassifier(**TREES).fit(self._inputs(sets), labels)

    def ragged_logits(self, sets: Sequence[NDArray[np.integer]]) -> Tensor:
        """Logits of sets, shape ``[len(sets)]``."""
        return torch.from_numpy(self.model.decision_function(self._inputs(sets)))

    def _inputs(self, sets: Sequence[NDArray[np.integer]]) -> NDArray[np.float64]:
        parts = [self.counts.features(kind, sets) for kind in self.kinds]
        if self.scorer is not None:
            parts.append(self.scorer.ragged_logits(sets).double().cpu().numpy()[:, None])
        return np.concatenate(parts, axis=1)


def table(scorer: SetScorer, dataset: OutfitDataset, train: Outfits, *, draws: int, distractors: int) -> pd.DataFrame:
    """Measures S, counts alone, and both together."""
    counts, valid = Counts.of(train, len(dataset.catalogue)), dataset.outfits.of("valid")
    asked: dict[str, SetScorer] = {"S": scorer}
    for kinds in KINDS:
        for name, of_sets in ((f"counts of {' and '.join(kinds)}", None), (f"S, {' and '.join(kinds)}", scorer)):
            asked[name] = WithCounts(of_sets, counts, kinds, valid, dataset.catalogue.categories, draws)
    rows = {}
    for name, one in asked.items():
        found = measure_compatibility(one, dataset, train, "test", distractors=distractors, draws=draws, seed=0)
        rows[name] = {label: found[measure] for measure, label in MEASURES.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table of a finished run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run whose stage compatibility is finished")
    options = parser.parse_args(argv)
    config = load_config([f"run={options.run}", "wandb.mode=off"], "evaluate")
    run = reopen_run(config)
    dataset = embed_catalogue(run, load_dataset(config.data))
    scorer = MethodContext(dataset.catalogue, load_scorers(run, dataset).scorer.module, search=config.targets).scorer
    train, _ = scorer_and_judge_outfits(run, dataset)
    evaluated = config.evaluate
    found = table(scorer, dataset, train, draws=evaluated.draws, distractors=evaluated.distractors)
    print(found.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
