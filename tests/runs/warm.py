"""Processes that have imported what takes a program seven seconds: each a fork of one that has done nothing else."""

import contextlib
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

PRELOADED = ["outfits.threads", "torch", "pipeline.dataset", "pipeline.evaluation", "tests.runs.kill_at"]


def run_warm(arguments: list[str], environment: dict[str, str], seconds: float) -> tuple[int, str, str]:
    """Runs ``kill_at.py`` with arguments in a session of its own; returns status, output and errors.

    Raises:
        TimeoutError: if it has not come back after so many seconds; it is killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with TemporaryDirectory() as folder:
        said = [Path(folder) / name for name in ("output", "errors")]
        # the server has the environment of the first call
        everything = {**os.environ, **environment}
        process = context.Process(target=_main, args=(arguments, everything, [str(path) for path in said]))
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                assert process.pid is not None
                os.killpg(process.pid, signal.SIGKILL)  # its ranks too
            process.kill()
            raise TimeoutError(f"kill_at.py {' '.join(arguments)}: not back after {seconds:g} s")
        output, errors = (path.read_text(encoding="utf-8") if path.exists() else "" for path in said)
    return process.exitcode, output, errors


def _main(arguments: list[str], environment: dict[str, str], said: list[str]) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(Path(__file__).resolve().parents[2])
    for stream, path in zip((sys.stdout, sys.stderr), said, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream.fileno())
    from tests.runs import kill_at

    sys.argv = [kill_at.__file__, *arguments]  # Lightning starts further ranks by it
    sys.exit(kill_at.main(arguments))
