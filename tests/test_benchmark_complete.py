"""benchmarks/complete.py on catalogues small enough for a test: what it counts and what it scales up, not its times."""

import importlib.util
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
METHODS = ["random", "greedy_k", "beam:width=2", "generator", "generator_rerank:candidates=2"]


@pytest.fixture
def bench(monkeypatch):
    spec = importlib.util.spec_from_file_location("benchmark_complete", BENCHMARKS / "complete.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ANSWERS", 1)
    return module


@pytest.mark.parametrize("index", ["flat", "ivf"])
def test_every_size_batch_and_method_has_a_line(bench, index, tmp_path, capsys):
    path = tmp_path / "metrics.json"
    sizes = ["--items", "40", "120", "--batches", "1", "3", "--turns", "2"]
    cells = bench.main(["--no-compile", *sizes, "--methods", *METHODS, "--index", index, "--json", str(path)])
    metrics = json.loads(path.read_text())
    expected = [(items, batch, method) for items in (40, 120) for batch in (1, 3) for method in METHODS]
    assert [(cell["items"], cell["batch"], cell["method"]) for cell in metrics["cells"]] == expected
    assert not any(cell["scaled"] for cell in metrics["cells"])
    assert all(cell["seconds"] > 0 for cell in metrics["cells"])
    calls = {(cell.items, cell.batch, cell.method): cell.calls for cell in cells}
    assert calls[120, 1, "generator"] == calls[120, 3, "random"] == 0
    assert calls[120, 3, "greedy_k"] > 2 * (120 - 4 * 6)
    assert 0 < calls[120, 1, "generator_rerank:candidates=2"] <= 6
    for cell in cells:
        assert (cell.parts is not None) == (cell.method == "generator")
        assert cell.parts is None or sum(cell.parts.values()) == pytest.approx(cell.seconds, rel=0.5)
    assert [(row["items"], row["batch"]) for row in metrics["ratios"]] == [(40, 1), (40, 3), (120, 1), (120, 3)]
    assert metrics["index"]["kind"] == index
    said = capsys.readouterr().out
    assert said.count("generator : greedy_k = 1 :") == 4
    assert "~" not in said


def test_what_takes_too_long_is_scaled_up_from_what_is_said(bench, monkeypatch, capsys):
    monkeypatch.setattr(bench, "PILOT_ITEMS", 20)
    sizes = ["--items", "40", "80", "--batches", "2", "--methods", "greedy_k"]
    cells = bench.main(["--no-compile", *sizes, "--budget", "1e-9"])
    assert [(cell.measured_items, cell.measured_outfits) for cell in cells] == [(20, 1), (20, 1)]
    assert cells[1].seconds == pytest.approx(2 * cells[0].seconds)
    assert cells[1].calls == pytest.approx(2 * cells[0].calls)
    assert capsys.readouterr().out.count("~") == 6
    assert bench.ratios(cells) == []


def test_fewer_outfits_are_measured_before_a_smaller_catalogue(bench):
    device = bench.torch.device("cpu")
    vectors = bench.np.random.default_rng(0).normal(size=(60, bench.IMAGE_DIM + bench.TEXT_DIM)).astype("float32")
    world = bench.build_world(vectors, 60, bench.IndexConfig(), "fp32", device, False, False)
    (call,) = [bench.resolve_call("greedy_k", bench.EvaluateConfig())]
    known = bench.Cell(60, 1, "greedy_k", 1.0, 1, 100.0, 60, 1)
    (cell,) = bench.compare([call], world, 8, [known], budget=3.0, turns=1)
    assert (cell.items, cell.batch, cell.measured_items, cell.measured_outfits) == (60, 8, 60, 3)
    assert cell.scaled
    assert cell.calls < 2 * 60
