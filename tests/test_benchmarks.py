"""The benchmarks run, on sizes that say nothing, and their metrics hang together."""

import json
import re

import numpy as np
import pytest
import score_catalogue
import torch

from outfits.config.schema.scorer import ScorerArchitecture
from outfits.models.compatibility import OutfitTransformer


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(score_catalogue, "MODELS", {"small": {"width": 32, "layers": 2, "heads": 4, "feedforward": 64}})
    monkeypatch.setattr(score_catalogue, "matrix_peak", lambda dtype, device: 1e11)


def test_scoring_a_catalogue_prints_paired_figures(small, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(score_catalogue, "has_bf16", lambda device: True)
    metrics = tmp_path / "metrics.json"
    asked = "--models small --items 1500 --repeats 2 --seconds 0.01 --outfits 3 --no-compile --device cpu --json"
    rows = score_catalogue.main([*asked.split(), str(metrics)])
    plain, full, half = rows
    assert [row.variant for row in rows] == list(score_catalogue.VARIANTS)
    assert plain.ratio == 1
    assert plain.done == 1
    assert full.done < 1  # it computes less than the formula says
    assert full.error < 1e-4 < half.error
    assert plain.scored == full.scored == half.scored
    assert json.loads(metrics.read_text())["rows"][1]["error"] == full.error
    printed = capsys.readouterr().out
    assert "matrix-product peak in fp32: 100 GFLOP/s\nmatrix-product peak in bf16: 100 GFLOP/s\n" in printed
    assert "no bf16" not in printed
    assert len(re.findall(r"^ *small +1,500 ", printed, flags=re.MULTILINE)) == 3


def test_a_device_without_bf16_is_not_asked_to_multiply_in_it(small, monkeypatch, capsys):
    multiplied = []
    monkeypatch.setattr(score_catalogue, "has_bf16", lambda device: False)
    monkeypatch.setattr(score_catalogue, "matrix_peak", lambda dtype, device: multiplied.append(dtype) or 1e11)
    asked = "--models small --items 1500 --repeats 1 --seconds 0.01 --outfits 3 --no-compile --device cpu"
    rows = score_catalogue.main(asked.split())
    assert [row.variant for row in rows] == ["plain fp32", "engine fp32"]
    assert multiplied == [torch.float32]
    assert "no bf16: this processor has no instructions for it" in capsys.readouterr().out


def test_the_formulas_operations_are_counted():
    width, hidden, tokens, dim = 32, 64, 5, score_catalogue.IMAGE_DIM
    module = OutfitTransformer(ScorerArchitecture(width, 2, 4, hidden), dim, dim).eval().requires_grad_(False)
    vectors = np.ones((1024, 2 * dim), dtype=np.float32)
    counted = score_catalogue.operations_per_candidate(
        module, vectors, np.ones((1024, 2), dtype=bool), "plain fp32", given=3
    )
    projection = (tokens - 1) * dim * width
    first = tokens * (4 * width**2 + 2 * width * hidden) + 2 * tokens**2 * width
    last = tokens * 2 * width**2 + 2 * width**2 + 2 * width * hidden + 2 * tokens * width
    head = width**2 + width
    assert counted == pytest.approx(2 * (projection + first + last + head), rel=0.01)
