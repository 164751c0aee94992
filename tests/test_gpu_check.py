"""The checks of a GPU, on the CPU: that they pass where nothing differs, and fail where something does."""

import gpu_check
import numpy as np
import pytest
import torch
from gpu_check import SIZES, Check, Place, _step_check, main, recipe_checks

from outfits.index.category_index import CategoryIndex

ON_CPU = ["--device", "cpu", "--small", "--no-compile", "--recipes"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_one_line_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("gpu-check: this machine has no GPU")


@pytest.mark.slow
def test_every_check_runs_and_passes_on_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ON_CPU, "retrieval"]) == 0
    printed = capsys.readouterr().out
    for name in (
        "index flat",
        "index ivf_pq",
        "engine fp32",
        "S, bf16-mixed",
        "generator, 32-true",
        "method gradient",
        "recipe retrieval",
    ):
        (line,) = [line for line in printed.splitlines() if line.startswith(name)]
        assert " ok " in line
    assert "S, 16-mixed" in printed
    assert "DIFFERS" not in printed


@pytest.mark.parametrize(
    ("said", "passed"), [(None, True), ("retrieval: boom", False), ("retrieval: timm is not installed", None)]
)
def test_a_recipe_that_fails_is_a_difference(
    monkeypatch: pytest.MonkeyPatch, said: str | None, passed: bool | None
) -> None:
    def run(program: str, name: str, arguments: list[str], threads: int) -> None:
        assert "trainer.accelerator=cpu" in arguments
        if said is not None:
            raise SystemExit(said)

    monkeypatch.setattr(gpu_check, "run_program", run)
    (check,) = recipe_checks(Place(torch.device("cpu"), SIZES["small"], False, ["retrieval"]))
    assert check.passed is passed
    assert said is None or said in check.figure


def test_the_first_difference_ends_the_checks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search, calls = CategoryIndex.search, []

    def one_wrong(self: CategoryIndex, *given: object) -> object:
        similarity, ids = search(self, *given)  # type: ignore[arg-type]
        calls.append(self)
        if len(calls) == 1:  # the CPU's answer
            ids[0, 0, :2] = ids[0, 0, 1::-1]
        return similarity, ids

    monkeypatch.setattr(CategoryIndex, "search", one_wrong)
    assert main(ON_CPU) == 1
    found = capsys.readouterr()
    assert "DIFFERS" in found.out
    assert "engine" not in found.out
    assert found.err.startswith("gpu-check: index flat")


@pytest.mark.parametrize(
    ("found", "passed"),
    [([1.0, 0.9], True), ([1.001, 0.9], True), ([1.2, 0.9], False), ([1.0, float("nan")], False), ([1.0], False)],
)
def test_steps_are_compared_by_their_losses(found: list[float], passed: bool) -> None:
    check = _step_check("S", found, [1.0, 0.9], 0.01, 5.0)
    assert isinstance(check, Check)
    assert check.passed is passed


def test_cosines_are_exact_and_absent_items_have_none() -> None:
    vectors, categories = gpu_check.clustered(200)
    similarity, ids = CategoryIndex(vectors, categories).search(vectors[:4], 30)
    exact = gpu_check.exact_cosines(vectors, vectors[:4], ids)
    there = ids >= 0
    assert not there.all()
    np.testing.assert_allclose(similarity[there], exact[there], atol=1e-6)
    assert np.isneginf(exact[~there]).all()
