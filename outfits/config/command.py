"""Runs an entry point so that the user's errors end in lines on stderr and an exit status, not in a traceback."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

from outfits.config.fields import absolute, rooted
from outfits.config.keys import keys
from outfits.errors import OutfitError, SystemFault
from outfits.processes import SIGNALS, Stopped, environment_rank

USER_ERROR = 2
# keys that name a file or folder, beside those that are made absolute
FOLDERS = ("run_dir", "run", "resume", "out", "folder", "cache_dir", "data_root")


def run_command(main: Callable[[Sequence[str]], None], argv: Sequence[str]) -> int:
    """Calls ``main(argv)`` and returns the process's exit status.

    The status is 0, 2 after an :class:`OutfitError` or an error of the operating system, whose text goes to stderr, or
    128 plus the number of the signal that stopped the program. Every other exception is a bug and passes with its
    traceback.
    """
    with SIGNALS.installed():
        return _status(main, argv)


def _status(main: Callable[[Sequence[str]], None], argv: Sequence[str]) -> int:
    try:
        main(argv)
    except OutfitError as error:
        print(error, file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        print(SystemFault(f"{error.filename or ''}: {_reason(error)}".removeprefix(": ")), file=sys.stderr)
        return USER_ERROR
    except (Stopped, KeyboardInterrupt) as error:
        stopped = error if isinstance(error, Stopped) else Stopped(signal.SIGINT)
        if environment_rank() == 0:
            print("; ".join([str(stopped), *getattr(stopped, "__notes__", ())]), file=sys.stderr)
        SIGNALS.wait_for_ranks()
        return stopped.status
    return 0


@contextmanager
def naming_keys(config: Any) -> Iterator[None]:
    """Names the key that a path comes from in an error of the operating system.

    Args:
        config: dataclass of the program's keys.

    Raises:
        SystemFault: instead of an OSError about a path in, or on the way to, the value of a key.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or (name := _key_of(Path(os.fsdecode(error.filename)), config)) is None:
            raise
        raise SystemFault(f"{name}: {os.fsdecode(error.filename)}: {_reason(error)}") from error


def _key_of(path: Path, config: Any) -> str | None:
    """Finds the key whose path is nearest to ``path``; None without one."""
    path, found = path.absolute(), []
    for name, key in keys(config.__class__).items():
        value = reduce(getattr, name.split("."), config)
        if isinstance(value, str) and value and (key.check in (absolute, rooted) or name in FOLDERS):
            base = Path(value).absolute()
            # on the way to a value where a folder of it could not be made
            if path.is_relative_to(base) or base.is_relative_to(path):
                found.append((path.is_relative_to(base), len(base.parts), name))
    return max(found)[-1] if found else None


def _reason(error: OSError) -> str:
    """Says what the operating system refused; of an error from another process, the last line of its traceback."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "a file is where a folder should be"
    return error.strerror or (str(error).splitlines() or [type(error).__name__])[-1]
