"""Imports users' modules that add entries to the tables."""

import os
import sys
from importlib import import_module
from traceback import extract_tb


def import_plugins(names: list[str]) -> list[str]:
    """Imports modules, from the working folder too, and returns their names; ValueError if one cannot be imported."""
    if names and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for name in names:
        try:
            import_module(name)
        except Exception as error:
            last = extract_tb(error.__traceback__)[-1]
            place = f" ({last.filename}:{last.lineno})" if os.path.isfile(last.filename) else ""
            reason = " ".join(str(error).split())
            raise ValueError(f"{name!r} cannot be imported: {type(error).__name__}: {reason}{place}") from error
    return names
