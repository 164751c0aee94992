"""Runs ``train.py`` and kills its process group with SIGKILL at a chosen place: ``kill_at.py PLACE NTH key=value …``.

``PLACE`` is ``module:Class.method``, or ``module:function`` with the module that calls it; the process dies as soon as
the N-th call of it returns. With the variable SIGNAL in its environment rank zero gets that signal instead, alone. A
test that watched files from outside would have to hope that it looks in time.
"""

import importlib
import os
import signal
import sys
from typing import Any

import train
from outfits.config.command import run_command


def die_after(place: str, nth: int) -> None:
    """Wraps a method or function so that its N-th call is the process's last."""
    module, _, qualified = place.partition(":")
    *owners, method_name = qualified.split(".")
    owner = importlib.import_module(module)
    for name in owners:
        owner = getattr(owner, name)
    method = getattr(owner, method_name)
    calls = 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        result = method(*args, **kwargs)
        calls += 1
        if calls == nth:
            sys.stdout.flush()
            if "SIGNAL" not in os.environ:
                os.killpg(os.getpgid(0), signal.SIGKILL)
            elif os.environ.get("LOCAL_RANK", "0") == "0":
                os.kill(os.getpid(), signal.Signals[os.environ["SIGNAL"]])
        return result

    setattr(owner, method_name, deadly)


def main(arguments: list[str]) -> int:
    """Runs ``train.py`` with all arguments but the first two; returns its status."""
    die_after(arguments[0], int(arguments[1]))
    return run_command(train.main, arguments[2:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
