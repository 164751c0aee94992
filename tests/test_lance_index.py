"""A LanceDB table as the index: against the flat one, with lists, and while items join and leave."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from outfits.config.load import load_config
from outfits.config.schema.index import IndexConfig
from outfits.errors import ArtifactError, ConfigError
from outfits.index.category_index import CategoryIndex
from outfits.index.hubness import HubnessIndex

pytest.importorskip("lancedb", reason="needs the extra lance")

from outfits.index import lance_index
from outfits.index.lance_index import LanceIndex, connect, table_name

CATEGORIES, WIDTH = 4, 16
SIZES = (300, 120, 40, 0)  # the last category is empty


def items(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors with ties and a zero, and their categories in a shuffled order."""
    rng = np.random.default_rng(seed)
    categories = rng.permutation(np.repeat(np.arange(CATEGORIES), SIZES))
    vectors = rng.normal(size=(len(categories), WIDTH)).astype(np.float32)
    vectors[50:60] = vectors[40:50]
    vectors[7] = 0
    return vectors, categories


def queries(number: int = 6) -> np.ndarray:
    vectors = items()[0]
    return vectors[:number] + np.random.default_rng(1).normal(size=(number, WIDTH)).astype(np.float32) / 3


def config(folder: Path, **options: object) -> IndexConfig:
    return IndexConfig(kind="lance", uri=str(folder / "db"), **options)  # type: ignore[arg-type]


def built(folder: Path, name: str = "items-a", **options: object) -> LanceIndex:
    vectors, categories = items()
    return LanceIndex.build(
        vectors,
        categories,
        name=name,
        num_categories=CATEGORIES,
        config=config(folder, min_items=10_000) if not options else config(folder, **options),
    )


def flat() -> CategoryIndex:
    return CategoryIndex(*items(), num_categories=CATEGORIES)


def assert_same(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> None:
    for mine, expected in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize("n", [1, 5, 60, 400])
def test_without_lists_answers_are_those_of_the_flat_index(tmp_path: Path, n: int) -> None:
    index, expected = built(tmp_path), flat()
    assert not index.has_lists
    assert_same(index.search(queries(), n), expected.search(queries(), n))
    np.testing.assert_array_equal(index.categories, expected.categories)
    np.testing.assert_array_equal(index.empty_categories, expected.empty_categories)
    assert (len(index), index.num_categories) == (len(expected), CATEGORIES)


def test_a_query_gives_the_same_bits_in_every_batch(tmp_path: Path) -> None:
    index = built(tmp_path)
    similarity, ids = index.search(queries(), 3)
    for row, query in enumerate(queries()):
        assert_same(index.search(query[None], 3), (similarity[row : row + 1], ids[row : row + 1]))


def test_cosines_are_those_of_every_item(tmp_path: Path) -> None:
    np.testing.assert_allclose(built(tmp_path).cosines(queries()), flat().cosines(queries()), atol=1e-6)


def test_lists_answer_with_as_many_items_as_there_are_and_exact_cosines(tmp_path: Path) -> None:
    index, expected = built(tmp_path, min_items=100, lists=8, probes=1, pq_bytes=4), flat()
    assert index.has_lists
    for n in (1, 5, 200):
        similarity, ids = index.search(queries(), n)
        exact, near = expected.search(queries(), n)
        np.testing.assert_array_equal(ids >= 0, near >= 0)
        np.testing.assert_array_equal(ids[:, 2], near[:, 2])  # a small category is compared as a whole
        every = expected.search(queries(), 400)
        for row, category, place in np.argwhere(ids >= 0):
            found = every[1][row, category] == ids[row, category, place]
            assert similarity[row, category, place] == every[0][row, category][found]
    assert (expected.search(queries(), 1)[1] == index.search(queries(), 1)[1]).mean() > 0.5


def test_with_every_list_searched_the_answer_is_that_of_the_flat_index(tmp_path: Path) -> None:
    index = built(tmp_path, min_items=100, lists=4, probes=4, refine=100, pq_bytes=4)
    assert_same(index.search(queries(), 5), flat().search(queries(), 5))


def test_a_table_that_is_there_is_opened_again(tmp_path: Path) -> None:
    first, again, other = built(tmp_path), built(tmp_path), built(tmp_path, "items-b")
    assert first.name == again.name != other.name
    assert_same(first.search(queries(), 3), again.search(queries(), 3))


def test_a_table_that_was_not_written_to_its_end_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LanceIndex, "_index", staticmethod(stopped))
        with pytest.raises(KeyboardInterrupt):
            built(tmp_path)
    (unfinished,) = connect(config(tmp_path)).list_tables().tables
    assert built(tmp_path).name != unfinished


@pytest.mark.parametrize("lists", [False, True])
def test_items_join_and_leave_while_others_read(tmp_path: Path, lists: bool) -> None:
    options = {"min_items": 100, "lists": 4, "probes": 4, "refine": 100, "pq_bytes": 4} if lists else {}
    index, (vectors, categories) = built(tmp_path, **options), items()
    before = index.search(queries(), 4)
    gone = [0, 3, 41, 200]
    kept = np.delete(np.arange(len(vectors)), gone)
    further, own = items(5)[0][:7], np.array([0, 1, 2, 3, 0, 1, 3])
    changed = index.changed(kept, further, own.tolist())
    whole = CategoryIndex(
        np.concatenate([vectors[kept], further]), np.concatenate([categories[kept], own]), num_categories=CATEGORIES
    )
    assert_same(changed.search(queries(), 4), whole.search(queries(), 4))
    np.testing.assert_array_equal(changed.categories, whole.categories)
    assert_same(index.search(queries(), 4), before)  # which reads its version still
    assert_same(changed.optimised().search(queries(), 4), whole.search(queries(), 4))
    back = LanceIndex.open(index.config, index.name, CATEGORIES, index.version)
    assert_same(back.search(queries(), 4), before)
    # from an old version another way on
    again = index.changed(np.arange(len(vectors)), further[:1], [3])
    assert len(again) == len(index) + 1
    assert len(changed) == len(kept) + 7


def test_a_table_that_another_process_begins_to_write_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "db" / "items-a-0begun.lance").mkdir(parents=True)
    assert "items-a-0begun" in connect(config(tmp_path)).list_tables().tables
    assert_same(built(tmp_path).search(queries(), 3), flat().search(queries(), 3))


def test_what_is_wrong_with_a_table_is_one_line(tmp_path: Path) -> None:
    index = built(tmp_path)
    for file in (tmp_path / "db" / f"{index.name}.lance" / "data").iterdir():
        file.write_bytes(b"damaged")
    for refused, said in (
        (lambda: index.search(queries(), 3), "cannot be searched"),
        (lambda: index.cosines(queries()), "cannot be read"),
        (lambda: built(tmp_path), "cannot be read"),
        (lambda: LanceIndex.open(index.config, "none", CATEGORIES), "table none cannot be opened"),
    ):
        with pytest.raises(ArtifactError, match=f"^artifact error: index.uri: .*{said}") as caught:
            refused()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("newest", [False, True])
def test_two_changes_at_once_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newest: bool) -> None:
    index, every = built(tmp_path), np.arange(len(items()[0]))
    batches = lance_index._batches

    def raced(*given: Any) -> Any:
        monkeypatch.undo()  # the other process, between the first one's restoring and its adding
        index.changed(every[1:], items(6)[0][:5], [1] * 5)
        return batches(*given)

    if not newest:
        index.changed(every[:-1])  # so that both restore their version
    monkeypatch.setattr(lance_index, "_batches", raced)
    with pytest.raises(ArtifactError, match="changed"):
        index.changed(every, items(5)[0][:3], [0, 0, 0])


def test_the_correction_of_hubs_is_that_of_the_flat_index(tmp_path: Path) -> None:
    torch.manual_seed(0)
    references = torch.nn.functional.normalize(torch.randn(80, WIDTH), dim=1)
    vectors, categories = items()
    found = [
        HubnessIndex(
            vectors, categories, "cpu", references=references, num_categories=CATEGORIES, config=one, name="items-h"
        ).search(queries(), 5)
        for one in (IndexConfig(hubness=0.3), config(tmp_path, hubness=0.3, min_items=10_000))
    ]
    np.testing.assert_array_equal(found[0][1], found[1][1])
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-6)
    corrected = CategoryIndex(vectors, categories, num_categories=CATEGORIES).search(queries(), 5)
    assert (corrected[1] != found[1][1]).any()


def test_a_table_is_named_by_its_content() -> None:
    vectors, categories = items()
    names = {
        table_name("a", vectors),
        table_name("b", vectors),
        table_name("a", vectors * 2),
        table_name("a", categories),
    }
    assert len(names) == 4
    assert table_name("a", vectors) == table_name("a", vectors.copy())


def test_a_table_needs_a_place() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(["index.kind=lance"])
    (line,) = caught.value.errors
    assert line.startswith("index.uri: is null, but index.kind=lance keeps its table there")
    assert load_config(["index.kind=lance", "index.uri=s3://bucket/folder"]).index.uri == "s3://bucket/folder"


def test_a_vector_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    vectors, categories = items()
    vectors[9] = np.nan
    with pytest.raises(ValueError, match="vector 9 is not finite"):
        LanceIndex.build(vectors, categories, name="items-n", num_categories=CATEGORIES, config=config(tmp_path))
