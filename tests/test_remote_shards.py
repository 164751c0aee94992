"""Finished shards in folders of fsspec's file systems."""

from pathlib import Path

import numpy as np
import pytest

from outfits.config.load import load_config
from outfits.errors import ConfigError, SystemFault
from outfits.remote_shards import RemoteShards
from outfits.shards import ShardStore
from outfits.storage import arrays_as_bytes


def store_in(folder: Path) -> ShardStore:
    return ShardStore(folder / "squares" / "key", 6, 2, "squares", counted="square")


def put_and_fetched(remote: RemoteShards, store: ShardStore) -> list[bool]:
    """What of three shards comes back: a whole one, a damaged one, none."""
    content = arrays_as_bytes({"square": np.array([0, 1])})
    remote.put(store.name(0), content)
    remote.put(store.name(1), content[:40])
    return [remote.fetch(store, shard) for shard in range(3)]


@pytest.mark.parametrize("url", ["file://{}/remote", "memory://shards"])
def test_whole_shards_come_back_and_damaged_ones_do_not(tmp_path: Path, url: str) -> None:
    store = store_in(tmp_path)
    assert put_and_fetched(RemoteShards(url.format(tmp_path)), store) == [True, False, False]
    assert store.pending() == [1, 2]
    found = store.read(0)
    assert found is not None
    assert found["square"].tolist() == [0, 1]


def test_a_store_of_objects_keeps_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs", reason="needs s3fs")
    server = pytest.importorskip("moto.server", reason="needs moto with its server")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    try:
        host, port = running.get_host_and_port()
        remote = RemoteShards("s3://bucket/folder", client_kwargs={"endpoint_url": f"http://{host}:{port}"})
        remote._files.mkdir("bucket")
        assert put_and_fetched(remote, store_in(tmp_path)) == [True, False, False]
        assert remote._files.ls("bucket/folder/squares/key", detail=False) == [
            f"bucket/folder/squares/key/shard-{shard:06d}.npz" for shard in (0, 1)
        ]
    finally:
        running.stop()


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    remote, store = RemoteShards(f"file://{tmp_path}/file/remote"), store_in(tmp_path)
    with pytest.raises(SystemFault, match=r"^system error: ray.shards: file://.* cannot be written \(.*\)$"):
        remote.put(store.name(0), b"")
    with pytest.raises(SystemFault, match=r"^system error: ray.shards: file://.* cannot be read \(.*\)$"):
        remote.fetch(store, 0)


def test_a_file_system_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ConfigError, match="ray.shards: nosuch://x cannot be used"):
        RemoteShards("nosuch://x")
    with pytest.raises(ConfigError, match="ray.shards: 'folder' is no URL"):
        load_config(["ray.shards=folder"])
    with pytest.raises(ConfigError, match="ray.address: 'somewhere' is neither local nor auto"):
        load_config(["ray.address=somewhere"])
    with pytest.raises(ConfigError, match="targets.precision: auto asks this machine"):
        load_config(["engine=ray", "targets.precision=auto"])
