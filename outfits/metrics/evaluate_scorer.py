"""Measures a compatibility model on one split."""

import numpy as np
from scipy.special import expit
from scipy.stats import kendalltau, spearmanr

from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits
from outfits.metrics.compatibility import (
    SetScorer,
    auc,
    fill_in_the_blank_accuracy,
    frequency_control,
    question_logits,
    set_logits,
)
from outfits.metrics.probe import fit_probe
from outfits.metrics.questions import (
    LabelledSets,
    Questions,
    fill_in_the_blank_questions,
    official_labels,
    official_questions,
    replacement_negatives,
    seeds_of_draws,
)


def measure_compatibility(
    scorer: SetScorer,
    dataset: OutfitDataset,
    train: Outfits,
    split: str,
    *,
    distractors: int,
    draws: int,
    seed: int,
) -> dict[str, float | None]:
    """Measures AUC and fill-in-the-blank accuracy of S, one item of every outfit replaced, and the frequency control.

    Args:
        scorer: S over the data set's catalogue, or a probe.
        dataset: the data set.
        train: outfits that S was trained on, for the control, which counts how often an item occurs in them.
        split: split that is measured.
        distractors: wrong answers per question.
        draws: replacements and questions per outfit; one draw of 600 outfits moves FITB by two points either way.
        seed: seed of negatives and questions.

    Returns:
        ``auc_random``, ``auc_same_category``, ``fitb_random``, ``fitb_same_category``, ``fitb_frequency_control`` (on
        the same-category questions), ``fitb_frequency_control_random``, and ``official_auc`` and ``official_fitb``
        where the data set has official files for the split. None where no set or question could be made. All in [0, 1].
    """
    categories, outfits = dataset.catalogue.categories, dataset.outfits.of(split)
    occurrences = np.bincount(train.items, minlength=len(dataset.catalogue))
    metrics: dict[str, float | None] = {}
    for name, same in (("random", False), ("same_category", True)):
        labelled = replacement_negatives(outfits, categories, seed, same_category=same, draws=draws)
        metrics[f"auc_{name}"] = _auc(labelled, scorer)
        questions = [
            fill_in_the_blank_questions(outfits, categories, distractors, each, same_category=same)
            for each in seeds_of_draws(seed, draws)
        ]
        metrics[f"fitb_{name}"] = _mean([_accuracy(each, scorer) for each in questions])
        control = "fitb_frequency_control" if same else "fitb_frequency_control_random"
        metrics[control] = _mean([frequency_control(each, occurrences) if len(each) else None for each in questions])
    positions = dataset.catalogue.positions
    if dataset.labelled.get(split):
        metrics["official_auc"] = _auc(official_labels(dataset.labelled[split], positions), scorer)
    if dataset.fitb.get(split):
        metrics["official_fitb"] = _accuracy(official_questions(dataset.fitb[split], positions), scorer)
    return metrics


def official_counts(dataset: OutfitDataset, split: str) -> dict[str, int]:
    """Counts the data set's own compatibility rows, ``positives`` and ``negatives``, and its own ``questions``."""
    labelled, questions = dataset.labelled.get(split, ()), dataset.fitb.get(split, ())
    compatible = sum(row.compatible for row in labelled)
    return {"positives": compatible, "negatives": len(labelled) - compatible, "questions": len(questions)}


def measure_probe(
    dataset: OutfitDataset, train: Outfits, split: str, *, distractors: int, draws: int, seed: int
) -> dict[str, float | None]:
    """Measures a linear probe of the items' embeddings on the sets and questions that S is measured with.

    Arguments as of :func:`measure_compatibility`. Returns its metrics, but for the controls, as ``probe_auc_random``
    etc.; none of them where the training outfits are too few to fit one.
    """
    probe = fit_probe(dataset.catalogue, train, dataset.outfits.of("valid"), seed)
    if probe is None:
        return {}
    metrics = measure_compatibility(probe, dataset, train, split, distractors=distractors, draws=draws, seed=seed)
    return {f"probe_{name}": value for name, value in metrics.items() if "control" not in name}


def measure_given_scores(scorer: SetScorer, outfits: Outfits) -> dict[str, float | None]:
    """Compares S with the given scores of outfits.

    Returns ``score_mse``, mean squared error, and Spearman's and Kendall's (tau-b) rank correlation
    ``score_spearman`` and ``score_kendall``, None where all scores or all S are equal; nothing without given scores.
    """
    if outfits.scores is None:
        return {}
    found = expit(scorer.ragged_logits(list(outfits)).double().cpu().numpy())
    varied = min(np.ptp(found), np.ptp(outfits.scores)) > 0
    return {
        "score_mse": float(np.mean((found - outfits.scores) ** 2)),
        "score_spearman": float(spearmanr(found, outfits.scores).statistic) if varied else None,
        "score_kendall": float(kendalltau(found, outfits.scores).statistic) if varied else None,
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _auc(labelled: LabelledSets, scorer: SetScorer) -> float | None:
    if not labelled.positives or not labelled.negatives:
        return None
    return auc(*set_logits(labelled, scorer))


def _accuracy(questions: Questions, scorer: SetScorer) -> float | None:
    return fill_in_the_blank_accuracy(question_logits(questions, scorer), questions.correct) if len(questions) else None
