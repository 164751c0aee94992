"""Keys of work in shards on a Ray cluster."""

from dataclasses import dataclass
from typing import Any

from outfits.config.fields import key

ENGINES = ("lightning", "ray")


def _address(value: Any) -> Any:
    if value in ("local", "auto") or (isinstance(value, str) and ("://" in value or ":" in value)):
        return value
    raise ValueError(f"{value!r} is neither local nor auto, nor HOST:PORT, nor ray://HOST:PORT")


def _url(value: Any) -> Any:
    if isinstance(value, str) and "://" in value:
        return value
    raise ValueError(f"{value!r} is no URL; name a folder as in s3://BUCKET/FOLDER or file:///FOLDER")


@dataclass
class RayConfig:
    address: str = key(
        "local",
        "the cluster: local (started on this machine for this run), auto (the one that this machine is a node of, as "
        "under `ray job submit`), HOST:PORT or ray://HOST:PORT",
        check=_address,
    )
    workers: int = key(2, "processes that compute shards, each with models of its own", ge=1)
    cpus: float = key(1, "CPUs that Ray reserves for a worker", ge=0)
    gpus: float = key(0, "GPUs that Ray reserves for a worker; more than 0: it computes on its GPU", ge=0)
    in_flight: int = key(2, "shards that a worker is given at a time, so that none waits for the next", ge=1)
    retries: int = key(3, "workers that may die, and are replaced, before the run stops", ge=0)
    shards: str | None = key(
        None,
        "URL of a folder, of any file system of fsspec, where workers leave finished shards and later runs find them; "
        "null: they come through Ray's object store",
        check=_url,
    )
