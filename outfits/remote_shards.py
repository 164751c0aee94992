"""Finished shards in a folder of any file system that fsspec knows: local, S3, Google Cloud Storage, memory."""

from typing import Any

from outfits.errors import ConfigError, SystemFault, one_line, raised_as
from outfits.shards import ShardStore
from outfits.storage import write_atomically


class RemoteShards:
    """A folder of finished shards of many stores, by URL.

    A shard that was not written as a whole does not fit its store, which then computes it again.

    Args:
        url: the folder, as in ``s3://BUCKET/FOLDER``.
        options: arguments of the file system, by fsspec's names.

    Raises:
        ConfigError: if fsspec has no such file system, or lacks the package for it.
    """

    def __init__(self, url: str, **options: Any) -> None:
        from fsspec.core import url_to_fs

        try:
            self._files, self._folder = url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise ConfigError([f"ray.shards: {url} cannot be used ({one_line(error)})"]) from error
        self._url = url

    def put(self, name: str, content: bytes) -> None:
        """Leaves a shard's file; raises SystemFault if it cannot be written."""
        path = self._path(name)
        with raised_as(SystemFault, f"ray.shards: {self._url} cannot be written"):
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(path, content)

    def fetch(self, store: ShardStore, shard: int) -> bool:
        """Copies a shard's file into its store; returns whether it is there and fits.

        Raises SystemFault if the folder cannot be read.
        """
        with raised_as(SystemFault, f"ray.shards: {self._url} cannot be read"):
            try:
                content: bytes = self._files.cat_file(self._path(store.name(shard)))
            except FileNotFoundError:
                return False
        write_atomically(store.path(shard), lambda file: file.write(content))
        return store.read(shard) is not None

    def _path(self, name: str) -> str:
        return f"{str(self._folder).rstrip('/')}/{name}"
