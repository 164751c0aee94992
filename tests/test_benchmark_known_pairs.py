"""benchmarks/known_pairs.py: counts by hand, and a memory that is worth something where outfits repeat pairs."""

import known_pairs
import numpy as np
import pytest
import torch

from outfits.data.catalogue import Catalogue
from outfits.data.dataset import OutfitDataset
from outfits.data.outfits import Outfits


def test_counts_by_hand() -> None:
    outfits = Outfits.from_lists(["a", "b"], [[0, 1, 2], [0, 1]], [0, 0])
    counts = known_pairs.Counts.of(outfits, 5)
    assert counts.items.tolist() == [2, 2, 1, 0, 0]
    log = np.log1p
    assert counts.features("items", [np.array([0, 2, 3])])[0] == pytest.approx([(log(2) + log(1)) / 3, 0.0, 1 / 3, 3])
    # known: 0 and 2; of 3 nothing is known
    assert counts.features("pairs", [np.array([0, 2, 3])])[0] == pytest.approx([1 / 3, log(1) / 3, 1 / 3, 3])
    assert counts.features("pairs", [np.array([0, 1])])[0] == pytest.approx([1.0, log(2), 0.0, 2])


def test_known_pairs_tell_outfits_from_others_and_a_blind_s_does_not() -> None:
    """Items 0 to 29 are tops, 30 to 59 bottoms; top n goes with bottoms n to n + 3."""
    rng = np.random.default_rng(0)
    pairs = [[top, 30 + (top + rng.integers(4)) % 30] for top in range(30) for _ in range(12)]
    splits = rng.choice(3, len(pairs), p=[0.6, 0.2, 0.2])
    outfits = Outfits.from_lists([str(number) for number in range(len(pairs))], pairs, splits)
    names = [str(number) for number in range(60)]
    catalogue = Catalogue(names, (np.arange(60) // 30).astype(np.int32), ["tops", "bottoms"], [""] * 60, [None] * 60)
    dataset = OutfitDataset("drawn", catalogue, outfits, {}, {}, {}, {})

    class Blind:
        def ragged_logits(self, sets: list[np.ndarray]) -> torch.Tensor:
            return torch.zeros(len(sets))

    found = known_pairs.table(Blind(), dataset, outfits.of("train"), draws=2, distractors=3)["AUC"]
    assert found["S"] == 0.5
    assert found["counts of pairs"] > 0.8
    assert found["S, pairs"] == pytest.approx(found["counts of pairs"], abs=0.01)
    assert found["counts of items"] < 0.65
