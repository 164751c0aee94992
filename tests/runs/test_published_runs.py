"""A published checkpoint as S through the entry points, the report and the stylist."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from outfits.stylist import Stylist
from tests.runs.programs import Place, here
from tests.test_published import their_network, write_checkpoint

pytestmark = pytest.mark.slow


def test_the_whole_protocol_runs_on_a_published_checkpoint(copied: Place, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(their_network(half=8), tmp_path / "best.pth")
    place = replace(copied, run=tmp_path / "published")
    said = here("train", place.arguments(f"scorer.weights={checkpoint}")).succeeded().output
    assert "training the scorer" not in said
    assert f"taking the scorer from {checkpoint}" in said
    results = place.results()
    methods = results["methods"]
    assert methods["greedy_k"]["score_mean"] > methods["random"]["score_mean"]
    assert methods["exhaustive"]["score_mean"] >= methods["greedy_k"]["score_mean"]
    assert results["scorer_sha256"] == json.loads((place.run / "compatibility.json").read_text())["sha256"]
    stylist = Stylist.load(place.run)
    first = stylist.item_ids[0]
    for method in ("greedy_k", "gradient", "generator_beam"):
        (best, *_) = stylist.complete([first], 2, method=method)
        assert len({item.category for item in best.items}) == 3
    assert len(stylist.explain([first, best.added[0].id]).items) == 2
    again = here("train", replace(place, run=tmp_path / "again").arguments(f"scorer.weights={checkpoint}")).succeeded()
    assert "reusing the scorer in" in again.output
