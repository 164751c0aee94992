"""Signals stop a program where it stands: one line, the signal's status, and the finished shards stay."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_modules.sharded import run_shards
from outfits.config.command import run_command
from outfits.config.schema.trainer import TrainerConfig
from outfits.processes import SIGNALS, Stopped

SHARDS = 6
WAYS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]


def shards_until(stop: Callable[[int], None], done: list[int]) -> Callable[..., None]:
    """A program that works in shards under Lightning's ``predict`` and calls ``stop`` in each."""

    def work(shard: int) -> None:
        stop(shard)
        done.append(shard)

    def main(argv: object) -> None:
        config = TrainerConfig(accelerator="cpu", devices=1, enable_progress_bar=False)
        run_shards(range(SHARDS), lambda device: work, config)

    return main


@pytest.mark.parametrize(("signum", "status"), WAYS)
@pytest.mark.parametrize("at", [0, 3])
def test_a_signal_drops_the_shard_at_hand(
    signum: signal.Signals, status: int, at: int, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[int] = []
    before = signal.getsignal(signum)
    main = shards_until(lambda shard: os.kill(os.getpid(), signum) if shard == at else None, done)
    assert run_command(main, []) == status
    assert done == list(range(at))
    assert capsys.readouterr().err == f"stopped by {signum.name}\n"
    assert signal.getsignal(signum) is before


def test_notes_of_the_program_say_how_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv: object) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except Stopped as stopped:
            stopped.add_note("the same command goes on from here")
            raise

    assert run_command(main, []) == 143
    assert capsys.readouterr().err == "stopped by SIGTERM; the same command goes on from here\n"


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_soon_after_the_first_is_the_same(second: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    def main(argv: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(second)

    monkeypatch.setattr(SIGNALS, "wait_for_ranks", lambda: signal.raise_signal(second))  # while ranks end, too
    assert run_command(main, []) == 130


def test_a_later_signal_ends_a_program_that_hangs_on_its_way_out() -> None:
    code = (
        "import signal, time\n"
        "from outfits import processes\n"
        "from outfits.config.command import run_command\n"
        "processes.SECONDS_FOR_ONE_SIGNAL = 0\n"
        "def main(argv):\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "    finally:\n"
        "        time.sleep(0.1)\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "        time.sleep(60)\n"
        "run_command(main, [])\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=50).returncode == 143


def test_a_signal_that_the_parent_has_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with SIGNALS.installed():
            SIGNALS.keep()
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_ranks_get_the_signal_and_those_that_do_not_end_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outfits.processes.SECONDS_FOR_RANKS", 1)
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    )
    willing = "import time; print(1, flush=True); time.sleep(60)"
    ranks = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for code in (stubborn, willing)]
    launched = list(ranks)
    monkeypatch.setattr(SIGNALS, "launchers", [launched, launched])
    monkeypatch.setattr(SIGNALS, "ranks", [])
    for rank in ranks:
        assert rank.stdout is not None
        assert rank.stdout.read(1) == b"1"  # started
    started = time.monotonic()
    assert run_command(lambda argv: signal.raise_signal(signal.SIGTERM), []) == 143
    assert [rank.wait(10) for rank in ranks] == [-signal.SIGKILL, -signal.SIGTERM]
    assert launched == []  # so that the launcher does not take their end for a crash
    assert time.monotonic() - started < 30
    for rank in ranks:
        rank.stdout.close()  # type: ignore[union-attr]


def test_a_loader_process_takes_an_inherited_handler_for_a_keyboard_interrupt(tmp_path: Path) -> None:
    with SIGNALS.installed():
        child = os.fork()
        if child == 0:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                os._exit(7)
            finally:
                os._exit(8)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
