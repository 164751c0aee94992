"""Embeddings on disk: resumption, damaged files, keys."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from outfits.encoders import EmbeddingStore, cache_key
from outfits.errors import ArtifactError, DataError
from outfits.storage import Arrays
from tests.encoder_items import write_catalogue

ITEMS, SHARD = 23, 5


def new_store(folder: Path, key: str = "k" * 64, shard_size: int = SHARD) -> EmbeddingStore:
    return EmbeddingStore(folder, key, ITEMS, 3, 2, shard_size)


@pytest.fixture
def vectors() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(ITEMS, 5)).astype(np.float32)


@pytest.fixture
def present() -> NDArray[np.bool_]:
    return np.random.default_rng(1).random((ITEMS, 2)) < 0.7


def fill(store: EmbeddingStore, shards: list[int], vectors: NDArray[np.float32], present: NDArray[np.bool_]) -> None:
    for shard in shards:
        start, stop = store.bounds(shard)
        store.write_vectors(shard, vectors[start:stop], present[start:stop])


def test_finished_embeddings_are_what_was_written(
    tmp_path: Path, vectors: NDArray[np.float32], present: NDArray[np.bool_]
) -> None:
    store = new_store(tmp_path)
    fill(store, store.pending(), vectors, present)
    for embeddings in (store.finish(), new_store(tmp_path).load(), store.finish()):
        assert embeddings is not None
        assert isinstance(embeddings.vectors, np.memmap)
        assert np.array_equal(embeddings.vectors, vectors)
        assert np.array_equal(embeddings.present, present)
        assert (embeddings.image_dim, embeddings.text_dim, embeddings.key) == (3, 2, "k" * 64)
    assert store.pending() == []


def test_only_missing_shards_are_pending_after_a_kill(
    tmp_path: Path, vectors: NDArray[np.float32], present: NDArray[np.bool_]
) -> None:
    store = new_store(tmp_path)
    assert store.pending() == [0, 1, 2, 3, 4]
    fill(store, [0, 3], vectors, present)
    (tmp_path / ("k" * 32) / "shards" / ".000000005-000000010.npz.1.abc.tmp").write_bytes(b"half a shard")
    again = new_store(tmp_path)
    assert again.pending() == [1, 2, 4]
    assert again.load() is None
    with pytest.raises(ArtifactError, match="items 5 to 9 is missing"):
        again.finish()
    fill(again, again.pending(), vectors, present)
    assert np.array_equal(again.finish().vectors, vectors)


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty", "foreign"])
def test_damaged_shard_is_pending_again(
    tmp_path: Path, vectors: NDArray[np.float32], present: NDArray[np.bool_], damage: str
) -> None:
    store = new_store(tmp_path)
    fill(store, store.pending(), vectors, present)
    path = store.path(2)
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "changed":
        at = data.find(vectors[12].tobytes())  # a value of the third item of this shard
        assert at > 0
        data[at] ^= 1
    elif damage == "empty":
        data = bytearray()
    path.write_bytes(data)
    if damage == "foreign":
        other = new_store(tmp_path / "other", "o" * 64)
        fill(other, [2], vectors, present)
        shutil.copy(other.path(2), path)
    assert store.pending() == [2]


def test_truncated_array_is_not_loaded(
    tmp_path: Path, vectors: NDArray[np.float32], present: NDArray[np.bool_]
) -> None:
    store = new_store(tmp_path)
    fill(store, store.pending(), vectors, present)
    store.finish()
    path = store.folder / "embeddings.npy"
    path.write_bytes(path.read_bytes()[:-8])
    assert store.load() is None
    assert store.pending() == [0, 1, 2, 3, 4]


def test_shards_of_another_size_are_not_taken_for_ours(
    tmp_path: Path, vectors: NDArray[np.float32], present: NDArray[np.bool_]
) -> None:
    store = new_store(tmp_path)
    fill(store, [0, 1], vectors, present)
    assert new_store(tmp_path, shard_size=4).pending() == [0, 1, 2, 3, 4, 5]


def test_finish_by_two_processes_gives_both_the_embeddings(
    tmp_path: Path, vectors: NDArray[np.float32], present: NDArray[np.bool_], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, fast = new_store(tmp_path), new_store(tmp_path)
    fill(slow, slow.pending(), vectors, present)
    read = slow.read

    def finish_meanwhile(shard: int) -> Arrays | None:
        if shard == 2:
            fast.finish()
        return read(shard)

    monkeypatch.setattr(slow, "read", finish_meanwhile)
    assert np.array_equal(slow.finish().vectors, vectors)
    assert np.array_equal(fast.finish().vectors, vectors)


def test_vectors_that_are_not_finite_are_refused(tmp_path: Path, vectors: NDArray[np.float32]) -> None:
    vectors[7, 1] = np.nan
    with pytest.raises(DataError, match="catalogue position 7"):
        new_store(tmp_path).write_vectors(1, vectors[5:10], np.ones((5, 2), dtype=np.bool_))


def test_cache_key_follows_content_and_not_place(tmp_path: Path) -> None:
    here = write_catalogue(tmp_path / "here", 6)
    there = write_catalogue(tmp_path / "elsewhere" / "there", 6)
    key = cache_key("encoder", here)
    assert key == cache_key("encoder", there)
    assert key != cache_key("another encoder", here)
    assert key != cache_key("encoder", replace(here, texts=[*here.texts[:-1], "another text"]))
    assert key != cache_key("encoder", replace(here, image_paths=[*here.image_paths[:-1], None]))
    swapped = [here.image_paths[1], here.image_paths[0], *here.image_paths[2:]]
    assert key != cache_key("encoder", replace(here, image_paths=swapped))
    path = there.image_paths[3]
    assert path is not None
    data = bytearray(path.read_bytes())
    data[-3] ^= 1  # same name, same size
    path.write_bytes(data)
    assert key != cache_key("encoder", there)
