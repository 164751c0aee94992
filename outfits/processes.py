"""Stops a program at a signal, together with the ranks that it started."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)
# A second signal within this time is taken for the same one, since a terminal and a launcher both pass it on.
SECONDS_FOR_ONE_SIGNAL = 5
SECONDS_FOR_RANKS = 20


class Stopped(BaseException):
    """Raised in the main thread at a signal that stops the program; its notes say how to go on."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.status = 128 + signum  # as shells report it


def environment_rank() -> int:
    """Returns this process's rank as its launcher put it into the environment; 0 without a launcher."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", os.environ.get("SLURM_PROCID", "0"))))


class SignalHandler:
    """Raises :class:`Stopped` at the first signal, in this process and the ranks it started; a later one ends it.

    Attributes:
        launchers: lists in which launchers keep the processes of the other ranks.
        ranks: these processes, once they have got the signal too.
    """

    def __init__(self) -> None:
        self.launchers: list[list[subprocess.Popen[bytes]]] = []
        self.ranks: list[subprocess.Popen[bytes]] = []
        self._owner = 0
        self._stopped_at: float | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Handles a signal."""
        if os.getpid() != self._owner:  # a loader's process, which has inherited the handler
            raise KeyboardInterrupt
        now = time.monotonic()
        if self._stopped_at is None:
            self._stopped_at = now
            for launched in self.launchers:
                self.ranks.extend(launched)
                launched.clear()  # Lightning's watchman over this list would kill this process once a rank has ended
            for rank in self.ranks:
                rank.terminate() if os.name == "nt" else rank.send_signal(signum)
            raise Stopped(signum)
        if now - self._stopped_at > SECONDS_FOR_ONE_SIGNAL:
            for rank in self.ranks:
                rank.kill()
            os._exit(128 + signum)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handles the signals that stop a program, but for those that its parent has it ignore; main thread only."""
        before = {signum: signal.getsignal(signum) for signum in STOPPING}
        self._owner, self._stopped_at = os.getpid(), None
        for signum in STOPPING:
            if before[signum] is not signal.SIG_IGN:
                signal.signal(signum, self)
        try:
            yield
        finally:
            self._owner = 0
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def keep(self) -> None:
        """Takes the signals back from a library that has replaced the handler, if :meth:`installed`."""
        for signum in STOPPING:
            if self._owner == os.getpid() and signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self)

    def wait_for_ranks(self) -> None:
        """Waits for the other ranks after :class:`Stopped`, and kills those that do not end."""
        until = time.monotonic() + SECONDS_FOR_RANKS
        for rank in self.ranks:
            try:
                rank.wait(max(until - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                rank.kill()


SIGNALS = SignalHandler()
