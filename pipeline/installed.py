"""Runs the installed commands ``outfits-train``, ``-evaluate``, ``-complete``, ``-serve`` and ``-export``."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from outfits.config.command import run_command

IN_WHEEL = Path(__file__).with_name("programs")  # setup.py copies the programs of the repository's top level here
PROGRAMS = IN_WHEEL if IN_WHEEL.is_dir() else Path(__file__).resolve().parents[1]


def train() -> int:
    """Runs ``train.py``; returns the exit status."""
    return _run("train")


def evaluate() -> int:
    """Runs ``evaluate.py``; returns the exit status."""
    return _run("evaluate")


def complete() -> int:
    """Runs ``complete.py``; returns the exit status."""
    return _run("complete")


def serve() -> int:
    """Runs ``serve.py``; returns the exit status."""
    return _run("serve")


def export() -> int:
    """Runs :mod:`pipeline.export`; returns the exit status."""
    from pipeline.export import main

    return run_command(main, sys.argv[1:])


def _run(name: str) -> int:
    # from its file, since other packages are named evaluate too
    spec = spec_from_file_location(f"outfits_{name}", PROGRAMS / f"{name}.py")
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{PROGRAMS / name}.py cannot be loaded")
    program = module_from_spec(spec)
    spec.loader.exec_module(program)
    return run_command(program.main, sys.argv[1:])
