"""Computes shards on a Ray cluster: workers that die are replaced, and what they had is given to others."""

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch.utils.data import Dataset

from outfits.config.plugins import import_plugins
from outfits.config.schema.ray import RayConfig
from outfits.errors import ArtifactError, ConfigError, OutfitError, one_line
from outfits.processes import SIGNALS
from outfits.remote_shards import RemoteShards
from outfits.shards import ShardStore, ShardWork
from outfits.storage import Arrays, arrays_as_bytes, write_atomically

SECONDS_BETWEEN_LINES = 10.0
SECONDS_WITHOUT_ONE = 60.0  # without a finished shard, after which a line says what the cluster has
MINUTES_FOR_RANKS = 240  # that the workers of a crew wait for each other, as trainer.timeout_minutes
SECONDS_AFTER_ERROR = 10.0  # of one worker of a crew, in which it shows whether another has died

Log = Callable[[str], object]


class ShardWorker:
    """Computes shards in a process of the cluster, one after the other.

    Args:
        plugins: modules that the work may need.
        threads: CPU threads, as many as in the program, since the bits of a product may depend on them.
    """

    def __init__(self, plugins: Sequence[str], threads: int) -> None:
        import_plugins(list(plugins))
        torch.set_num_threads(threads)
        self._alone = True
        self._finished: dict[int, Arrays] = {}

    def begin(self, packed: list[Any], remote: RemoteShards | None) -> None:
        """Takes up a work, whose models are built at its first shard and then kept.

        Args:
            packed: Ray's reference, in a list so that Ray does not resolve it before plug-ins are imported, to the
                store, the work and its inputs.
            remote: folder where to leave shards; None: they are returned.
        """
        import ray

        self._compute: Callable[[Any], object] | None = None  # the models of the work before are freed first
        store, self._work, self._inputs = ray.get(packed[0])
        self._store: ShardStore = store  # the one that the work writes to, since both came in one piece
        self._store.sink = self._finished.__setitem__
        self._remote = remote

    def address(self) -> str:
        """An address where the other workers of a crew find this one."""
        import ray

        with socket.socket() as free:
            free.bind(("", 0))
            return f"tcp://{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

    def join(self, address: str, rank: int, size: int) -> None:
        """Becomes a rank of a crew."""
        self._alone = False
        torch.distributed.init_process_group(
            "gloo", address, timedelta(minutes=MINUTES_FOR_RANKS), rank=rank, world_size=size
        )

    def run(self, shard: int) -> bytes | None:
        """Computes a shard; returns the content of its file unless it is left in the folder.

        Raises ArtifactError if the worker is one of a crew and found no others.
        """
        if not (self._alone or torch.distributed.is_initialized()):
            raise ArtifactError("the workers of the Ray cluster do not reach each other; open its nodes' ports")
        with torch.inference_mode():  # as under Lightning's prediction
            if self._compute is None:
                self._compute = self._work(_device())
            self._compute(shard if self._inputs is None else self._inputs[shard])
        content = arrays_as_bytes(self._finished.pop(shard))
        if torch.distributed.is_initialized() and torch.distributed.get_rank() > 0:
            return None  # the first rank has the same
        if self._remote is None:
            return content
        self._remote.put(self._store.name(shard), content)
        return None


@dataclass
class Crew:
    """Workers that compute every shard together, each with a share of the catalogue; mostly one.

    ``begun`` is the work that they have taken up, ``shards`` are those that they have been given, with Ray's references
    to the workers' answers.
    """

    workers: list[Any]
    begun: object = None
    shards: dict[int, list[Any]] = field(default_factory=dict)


class _Lost(Exception):
    """Raised for a shard whose worker died."""


@dataclass
class RayEngine:
    """Runs work in shards on a cluster.

    A worker has at most ``in_flight`` shards at a time, so that inputs and results of few shards lie in the object
    store. A finished shard is in the store's folder before the next one is given out: a worker, or this program, may be
    killed at any time, and only unfinished shards are computed again. Workers stay for the works to come.
    """

    config: RayConfig
    plugins: tuple[str, ...]
    threads: int
    _crews: list[Crew] = field(default_factory=list, init=False)

    def run(
        self,
        store: ShardStore,
        missing: Sequence[int],
        work: ShardWork,
        inputs: Dataset[Any] | None = None,
        *,
        together: bool = False,
        log: Log = lambda line: None,
    ) -> None:
        """Computes shards; arguments and errors are those of :func:`pipeline.shards.compute_shards`."""
        config = self.config
        remote = None if config.shards is None else RemoteShards(config.shards)
        left = deque(missing if remote is None else [shard for shard in missing if not remote.fetch(store, shard)])
        if len(left) < len(missing):
            log(f"{len(missing) - len(left)} of {len(missing)} shards were in {config.shards}")
        if not left:
            return
        ray = connect(config)
        begin = ([ray.put((store, work, inputs))], remote)
        size, most = (config.workers, 1) if together else (1, min(config.workers, len(left)))
        died, done, total, told = 0, 0, len(left), time.monotonic()
        try:
            crews = self._ready(ray, size, most, begin)
            while done < total:
                for crew in crews:
                    self._give(crew, left)
                crew, shard = self._first_ready(ray, crews, log)
                try:
                    content = self._answer(ray, crew, shard)
                except _Lost as reason:
                    died += 1
                    if died > config.retries:
                        raise ArtifactError(
                            f"{died} workers of the Ray cluster died ({reason}); {done} of {total} shards of "
                            f"{store.what} are finished and stay. Give workers more memory or raise ray.retries"
                        ) from None
                    left.extendleft(sorted(crew.shards, reverse=True))
                    log(f"a worker died ({reason}); {len(crew.shards)} unfinished shards go to another")
                    self._end(ray, crew)
                    crews = self._ready(ray, size, most, begin)
                    continue
                del crew.shards[shard]
                self._keep(store, shard, content, remote)
                done += 1
                if time.monotonic() - told > SECONDS_BETWEEN_LINES or done == total:
                    told = time.monotonic()
                    log(f"{done} of {total} shards, {size * len(crews)} workers")
        except BaseException:
            for crew in list(self._crews):  # which may be in the middle of something
                self._end(ray, crew)
            raise

    def _ready(self, ray: Any, size: int, most: int, begin: tuple[Any, ...]) -> list[Crew]:
        """As many crews as there is work for; those that are new to the work take it up."""
        for crew in [crew for crew in self._crews if len(crew.workers) != size]:
            self._end(ray, crew)  # for the CPUs that it holds
        while len(self._crews) < most:
            self._crews.append(self._crew(ray, size))
        crews = self._crews[:most]
        for crew in crews:
            if crew.begun is not begin:
                crew.begun = begin
                for worker in crew.workers:
                    worker.begin.remote(*begin)
        return crews

    def _crew(self, ray: Any, size: int) -> Crew:
        config = self.config
        build = ray.remote(ShardWorker).options(num_cpus=config.cpus, num_gpus=config.gpus, max_restarts=0)
        crew = Crew([build.remote(self.plugins, self.threads) for _ in range(size)])
        if size > 1:
            # a worker's calls run in their order, so nothing waits here, and a failure shows at the first shard
            address = crew.workers[0].address.remote()
            for rank, worker in enumerate(crew.workers):
                worker.join.remote(address, rank, size)
        return crew

    def _give(self, crew: Crew, left: deque[int]) -> None:
        while left and len(crew.shards) < self.config.in_flight:
            shard = left.popleft()
            crew.shards[shard] = [worker.run.remote(shard) for worker in crew.workers]

    def _first_ready(self, ray: Any, crews: Sequence[Crew], log: Log) -> tuple[Crew, int]:
        """A crew and a shard that its first worker has finished, or one has failed at.

        Workers for which the cluster has no place are waited for, since one may still be growing; a line says so.
        """
        waiting = {
            answer: (crew, shard, place)
            for crew in crews
            for shard, answers in crew.shards.items()
            for place, answer in enumerate(answers)
        }
        while True:
            ready, _ = ray.wait(list(waiting), num_returns=1, timeout=SECONDS_WITHOUT_ONE)
            if ready:
                crew, shard, place = waiting.pop(ready[0])
                if place == 0 or _failed(ray, ready[0]):
                    return crew, shard
                continue
            has, config = ray.cluster_resources(), self.config
            log(
                f"no shard was finished for {SECONDS_WITHOUT_ONE:.0f} seconds; the cluster has {has.get('CPU', 0):g} "
                f"CPUs and {has.get('GPU', 0):g} GPUs for {sum(len(crew.workers) for crew in crews)} workers with "
                f"{config.cpus:g} and {config.gpus:g} each"
            )

    @staticmethod
    def _answer(ray: Any, crew: Crew, shard: int) -> bytes | None:
        """The first worker's answer, once all have finished; raises the work's own error, or _Lost."""
        failed: Exception | None = None
        content: bytes | None = None
        first, *_ = left = list(crew.shards[shard])
        while left:
            # in the order in which they come: the others of a worker that died may wait for it
            ready, left = ray.wait(left, num_returns=1, timeout=None if failed is None else SECONDS_AFTER_ERROR)
            if not ready:
                break
            try:
                given = ray.get(ready[0])
                content = given if ready[0] == first else content
            except ray.exceptions.RayTaskError as error:
                cause = error.cause if isinstance(error.cause, Exception) else error
                failed = cause if isinstance(cause, OutfitError) else error
            except ray.exceptions.RayError as error:  # of the crew one is lost, and the others cannot go on
                raise _Lost(one_line(error, 160)) from None
        if failed is not None:
            raise failed
        return content

    @staticmethod
    def _keep(store: ShardStore, shard: int, content: bytes | None, remote: RemoteShards | None) -> None:
        if content is not None:
            write_atomically(store.path(shard), lambda file: file.write(content))
        elif remote is not None and not remote.fetch(store, shard):
            raise ArtifactError(f"shard {store.name(shard)} is not in ray.shards; do all workers reach that folder?")

    def _end(self, ray: Any, crew: Crew) -> None:
        self._crews.remove(crew)
        for worker in crew.workers:
            ray.kill(worker)


def connect(config: RayConfig) -> Any:
    """Returns the module ``ray``, connected to the cluster; one on this machine ends with the program.

    Raises:
        ConfigError: if Ray is not installed or there is no such cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError(["engine: ray needs the package ray; pip install 'outfits[ray]'"]) from error
    if ray.is_initialized():
        _check_gpus(ray, config)
        return ray
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if config.address == "local":
        os.environ.setdefault("RAY_worker_niceness", "0")  # the workers are all that this machine does
        options |= {
            "num_cpus": max(os.cpu_count() or 1, -(-config.cpus * config.workers // 1)),
            "include_dashboard": False,
        }
    try:
        ray.init(address=config.address, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        text = (
            f"no cluster at {config.address!r} ({one_line(error, 160)}); start one with ray start, or leave it at local"
        )
        raise ConfigError([f"ray.address: {text}"]) from error
    finally:
        SIGNALS.keep()  # Ray sets a handler of its own
    _check_gpus(ray, config)
    return ray


def _check_gpus(ray: Any, config: RayConfig) -> None:
    """Raises ConfigError for GPUs that this machine lacks, for which workers would wait without end."""
    there = ray.cluster_resources().get("GPU", 0)
    if config.address == "local" and config.gpus * config.workers > there:
        raise ConfigError(
            [
                f"ray.gpus: {config.workers} workers with {config.gpus:g} each need more than the {there:g} GPUs of "
                "this machine; lower ray.gpus or ray.workers, or name a cluster with ray.address"
            ]
        )


def _failed(ray: Any, answer: Any) -> bool:
    """Whether the answer that is there is an error."""
    try:
        ray.get(answer)
    except ray.exceptions.RayError:
        return True
    return False


def _device() -> torch.device:
    """The GPU that Ray gave this worker, else the CPU."""
    import ray

    return torch.device("cuda:0" if ray.get_gpu_ids() else "cpu")
