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


if __name__ == "__main__":
    die_after(sys.argv[1], int(sys.argv[2]))
    sys.exit(run_command(train.main, sys.argv[3:]))
