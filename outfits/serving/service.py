"""The service in processes: LitServe's server, whose workers hold a stylist each."""

import asyncio
import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from queue import Empty
from typing import Any

import litserve
import psutil
from fastapi import Depends, FastAPI
from litserve.loops.base import LitLoop
from litserve.middlewares import MaxSizeMiddleware
from litserve.specs.base import LitSpec
from litserve.utils import WorkerSetupStatus

from outfits.config.schema.serve import ServeCommand
from outfits.errors import ArtifactError, OutfitError
from outfits.processes import STOPPING
from outfits.serving.http import add_routes, bearer_token, may_change
from outfits.serving.requests import Answer, Call, refused

QUEUE = "/calls"  # name of the queue of calls; no path of the service
HEALTH = "/health"
MOST_WAITING = 1000  # calls, beyond which further ones are refused
LOOKED = 0.25  # seconds between two looks at whether the worker of a call lives
IDLE = 0.05  # seconds that a worker waits for a call; one that it waits for as it is killed is lost
RESTARTED = 0.5  # seconds between two looks for workers that have ended
GATHERED = 0.25  # share of the time of a call after which it waits for no others to be answered with
GRACE = 5  # seconds for calls that are answered while the service stops


@dataclass(frozen=True)
class Taken:
    """A worker's message that it has begun with these calls."""

    calls: tuple[str, ...]
    process: int


@dataclass(frozen=True)
class Answered:
    """A worker's message with the answers of calls."""

    answers: dict[str, Answer]


@dataclass
class Waiting:
    """A call without an answer: where it is expected, and the process that works on it once one does."""

    answer: asyncio.Future[Answer]
    process: int | None = None


class Worker(litserve.LitAPI):
    """A stylist in a process of its own.

    Args:
        command: the run, its folders and the limits.
        token: what clients must show; None: nothing.
    """

    def __init__(self, command: ServeCommand, token: str | None) -> None:
        spec = LitSpec()  # with it LitServe makes no route of its own
        spec.api_path = QUEUE
        super().__init__(max_batch_size=command.serve.max_batch, loop=BatchLoop(), spec=spec)
        self.command = command
        self.errors = multiprocessing.get_context("spawn").SimpleQueue()
        self.authorize = bearer_token(token, [HEALTH])
        self.changeable = may_change(command.serve, token)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker needs."""
        return {name: value for name, value in vars(self).items() if name not in ("authorize", "changeable")}

    def setup(self, device: str) -> None:
        """Loads the run; ends the process, leaving one line, where it cannot be used."""
        from outfits.serving.answering import Answering
        from outfits.stylist import Stylist
        from outfits.threads import use_threads

        if self.command.serve.workers > 1:
            use_threads(max(1, (os.cpu_count() or 1) // self.command.serve.workers))
        try:
            stylist = Stylist.load(
                str(self.command.run),
                device=device,
                cache_dir=self.command.cache_dir,
                data_root=self.command.data_root,
            )
            self.answering = Answering(stylist.prepared(), self.command.serve)
        except OutfitError as error:
            self.errors.put(str(error))
            raise SystemExit(1) from None

    def predict(self, x: Sequence[Call], **kwargs: Any) -> list[Answer]:
        """Answers calls."""
        return self.answering.answer(x)


class BatchLoop(LitLoop):
    """Takes a call and those that wait behind it, and answers them together; never waits busily."""

    def __call__(
        self, lit_api: Worker, device: str, worker_id: int, request_queue: Any, transport: Any, *others: Any
    ) -> None:
        """Answers calls until the service ends."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes; the service ends this one
        limits, parent = lit_api.command.serve, os.getppid()
        while os.getppid() == parent:
            try:
                batch = self._batch(
                    request_queue, limits.max_batch, limits.batch_wait_ms / 1000, GATHERED * limits.timeout
                )
            except (EOFError, ConnectionError):  # the queue's process has ended
                return
            # a call that has waited for so long was refused already
            batch = [entry for entry in batch if time.monotonic() - entry[1] < limits.timeout]
            if not batch:
                continue
            calls = tuple(call for call, *_ in batch)
            transport.send(Taken(calls, os.getpid()), consumer_id=0)
            answers = lit_api.predict([asked for *_, asked in batch])
            transport.send(Answered(dict(zip(calls, answers, strict=True))), consumer_id=0)

    @staticmethod
    def _batch(queue: Any, most: int, wait: float, longest: float) -> list[Any]:
        """Takes what waits, and what comes within ``wait`` seconds of another, ``longest`` after the first was sent."""
        batch: list[Any] = []
        try:
            batch.append(queue.get(timeout=IDLE))
            end = batch[0][1] + longest
            while len(batch) < most:
                left = min(wait, end - time.monotonic())
                batch.append(queue.get(timeout=left) if left > 0 else queue.get_nowait())
        except Empty:
            pass
        return batch


class Service(litserve.LitServer):
    """LitServe's server with the operations of the service.

    A call whose worker ends is refused at once, and the worker started again.
    """

    def __init__(self, worker: Worker) -> None:
        command = worker.command
        kind, _, number = command.device.partition(":")
        super().__init__(
            worker,
            accelerator=kind,
            devices=[int(number)] if number else "auto" if kind == "cuda" else 1,
            workers_per_device=command.serve.workers,
            timeout=command.serve.timeout,
            healthcheck_path=HEALTH,
            restart_workers=True,
        )
        self.worker = worker
        self.waiting: dict[str, Waiting] = {}
        self.monitor_internal = RESTARTED
        self.uvicorn_graceful_timeout = GRACE
        self.inference_workers: list[Any] = []
        self.app.title = "Outfits"
        self.app.add_middleware(MaxSizeMiddleware, max_size=command.serve.max_request_mb * 2**20)
        add_routes(self.app, self.submit, command.serve, [Depends(worker.authorize)], changeable=worker.changeable)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Hands answers on while the process speaks HTTP."""
        task = asyncio.create_task(self._hand_on())
        try:
            yield
        finally:
            task.cancel()

    async def _hand_on(self) -> None:
        while True:
            message = await self._transport.areceive(0)
            if isinstance(message, Taken):
                for call in message.calls:
                    if call in self.waiting:
                        self.waiting[call].process = message.process
            elif isinstance(message, Answered):
                for call, answer in message.answers.items():
                    if call in self.waiting and not self.waiting[call].answer.done():
                        self.waiting[call].answer.set_result(answer)

    async def submit(self, call: Call) -> Answer:
        """Has a worker answer a call."""
        if len(self.waiting) >= MOST_WAITING:
            return refused(503, ("", "too many requests are waiting"))
        name, waiting = uuid.uuid4().hex, Waiting(asyncio.get_running_loop().create_future())
        queue, entry = self._get_request_queue(QUEUE), (name, time.monotonic(), call)
        self.waiting[name] = waiting
        try:
            # a call may hold photos of many megabytes, whose pickling would keep all others waiting
            await asyncio.to_thread(queue.put, entry)
            while not (await asyncio.wait({waiting.answer}, timeout=LOOKED))[0]:
                if waiting.process is not None and not _lives(waiting.process):
                    return refused(503, ("", "the process that worked on it has ended; ask again"))
            return waiting.answer.result()
        finally:
            del self.waiting[name]

    def verify_worker_status(self) -> None:
        """Waits until a worker is ready; raises :class:`ArtifactError` if one could not load the run."""
        while WorkerSetupStatus.READY not in self.workers_setup_status.values():
            if not self.worker.errors.empty():
                raise ArtifactError(self.worker.errors.get().partition(": ")[2])
            if not all(process.is_alive() for process in self.inference_workers):
                raise ArtifactError("a process of the service ended while it loaded the run")
            time.sleep(0.05)
        serve = self.worker.command.serve
        print(f"serving on http://{serve.host}:{serve.port}, described at /docs and /openapi.json", flush=True)

    def _perform_graceful_shutdown(self, manager: Any, uvicorn_workers: Any, shutdown_reason: str = "normal") -> None:
        # a signal may have come amid a message to the manager, which then takes no others
        super()._perform_graceful_shutdown(manager, uvicorn_workers, "keyboard_interrupt")


def run_service(command: ServeCommand, token: str | None) -> None:
    """Serves until the program is stopped; ``token`` is what clients must show, None for nothing."""
    # What stops the program is handled in its first process, which then stops the others.
    os.register_at_fork(after_in_child=_default_signals)
    service = Service(Worker(command, token))
    try:
        service.run(
            host=command.serve.host,
            port=command.serve.port,
            num_api_servers=1,
            log_level="warning",
            generate_client_file=False,
        )
    finally:
        for process in service.inference_workers:
            if process.is_alive():
                process.kill()


def _default_signals() -> None:
    for signum in STOPPING:
        signal.signal(signum, signal.SIG_DFL)


def _lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
