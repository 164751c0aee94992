"""The table of completion methods: what derives from it, and a method that is registered from outside."""

import inspect
import json
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import is_color_like

from outfits.completion.completion import MethodOutcome
from outfits.completion.context import MethodContext
from outfits.completion.methods import complete, complete_by_search
from outfits.completion.search.beam import beam_search
from outfits.completion.tasks import CompletionTasks
from outfits.config.fields import key
from outfits.config.method_calls import MethodCall
from outfits.config.schema.evaluate import EvaluateConfig, SweepConfig
from outfits.config.schema.methods import COMPARED, METHODS, MethodSpec, methods_needing, methods_shown, spec_of
from outfits.data.category_rule import keeps_outfit
from outfits.report.comparison.gallery import gallery_outfits
from outfits.report.comparison.page import write_report
from outfits.report.style import DARK, LIGHT, colours, description, in_order, label
from tests.outcomes import an_outcome, some_tasks
from tests.test_report import a_catalogue, a_result
from tests.tiny_world import World, context_with, tasks_of


@dataclass
class ZigzagConfig:
    depth: int = key(2, "partial outfits kept", ge=1)


def zigzag(tasks: CompletionTasks, context: MethodContext, options: ZigzagConfig) -> MethodOutcome:
    """A method that no file of the package knows."""
    return complete_by_search(tasks, context, lambda query: beam_search(query, options.depth))


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> MethodSpec:
    """A registered method; the table is as before afterwards."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS))
    spec = MethodSpec(
        "zigzag", "tests.test_method_table:zigzag", "Zigzag", "a beam by another name", ZigzagConfig, needs=("scorer",)
    )
    METHODS.register(spec)
    return spec


@pytest.mark.parametrize("spec", METHODS.values(), ids=list(METHODS))
def test_an_entry_names_a_function_that_takes_its_options(spec: MethodSpec) -> None:
    tasks, context, options = inspect.signature(spec.load()).parameters.values()
    assert (tasks.annotation, context.annotation, options.annotation) == (CompletionTasks, MethodContext, spec.options)
    assert (options.default is None) == (spec.options is None)
    assert spec.label
    assert spec.description
    assert spec.colours is not None
    assert all(map(is_color_like, spec.colours))


def test_options_of_a_method_are_the_section_of_its_name() -> None:
    sections = {field.name: type(getattr(EvaluateConfig(), field.name)) for field in fields(EvaluateConfig)}
    others = {"sweep", "representation"}
    found = {name: kind for name, kind in sections.items() if is_dataclass(kind) and name not in others}
    assert found == {name: spec.options for name, spec in METHODS.items() if spec.options is not None}
    for name, spec in METHODS.items():
        known = set() if spec.options is None else {field.name for field in fields(spec.options)}
        assert set(spec.swept) <= known
        assert {word.partition("=")[0] for word in spec.words} <= known, name


def test_defaults_of_an_evaluation_name_the_methods_they_named_before() -> None:
    config = EvaluateConfig()
    assert config.methods == list(COMPARED)
    assert config.slow_methods == ["exhaustive"]
    assert " ".join(config.condition_methods) == "random most_frequent most_similar greedy_k generator generator_rerank"
    assert SweepConfig().methods == ["greedy_k", "generator", "generator_rerank", "generator_beam"]
    assert all(spec_of(call).name in METHODS for call in COMPARED)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (methods_shown("gallery"), "original greedy_k beam gradient generator generator_rerank generator_beam"),
        (methods_shown("sheet"), "original greedy_k gradient generator generator_rerank"),
        (methods_shown("categories"), "original greedy_k generator generator_rerank"),
        (methods_needing("generator"), "generator generator_rerank generator_beam"),
        (methods_needing("student"), "greedy_two_stage beam_two_stage"),
        (methods_needing("removed", "texts"), "original most_similar"),
        ([name for name, spec in METHODS.items() if spec.scans_catalogue], "exhaustive greedy_1 greedy_k beam"),
        ([name for name, spec in METHODS.items() if "width" in spec.swept], "beam generator_beam"),
        ([name for name, spec in METHODS.items() if "candidates" in spec.swept], "generator_rerank generator_beam"),
    ],
)
def test_lists_of_methods_come_from_the_table(found: list[str], expected: str) -> None:
    assert " ".join(found) == expected


def test_a_registered_method_completes(plugin: MethodSpec) -> None:
    world, tasks = World(), tasks_of()
    call = MethodCall("zigzag:depth=4", plugin.name, ZigzagConfig(depth=4))
    found = complete(call, tasks, context_with(world))
    beam = complete(MethodCall("beam", "beam", METHODS["beam"].options()), tasks, context_with(world))
    assert keeps_outfit(tasks.given, found.chosen, world.categories).all()
    np.testing.assert_array_equal(found.chosen, beam.chosen)
    with pytest.raises(ValueError, match="there is a method 'zigzag' already"):
        METHODS.register(MethodSpec("zigzag", "elsewhere:zigzag"))


def test_reports_show_a_registered_method(plugin: MethodSpec, tmp_path: Path) -> None:
    assert label("zigzag:depth=4") == "Zigzag, depth 4"
    assert description("zigzag:depth=4") == plugin.description
    assert in_order(["zigzag:depth=16", "zigzag:depth=4", "generator"]) == [
        "generator",
        "zigzag:depth=4",
        "zigzag:depth=16",
    ]
    for theme in (LIGHT, DARK):
        assert len(set(colours([*METHODS, "zigzag:depth=4", "zigzag:depth=16"], theme).values())) == len(METHODS) + 2
    tasks = some_tasks(np.tile([0, 1], (3, 1)), [[5], [6], [7]])
    outcomes = {name: an_outcome(tasks=tasks) for name in ("greedy_k", "zigzag:depth=4")}
    result = a_result(outcomes)
    paths = write_report(result, gallery_outfits(outcomes, result.methods, a_catalogue(), 2), tmp_path, "")
    assert "Zigzag, depth 4" in paths["page"].read_text(encoding="utf-8")
    assert "zigzag:depth=4" in json.loads(paths["results_json"].read_text(encoding="utf-8"))["methods"]
