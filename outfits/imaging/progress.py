"""How a long synthesis tells where it is, and is told to stop."""

from collections.abc import Callable

Progress = Callable[[int, int, float], bool]
"""Is told the steps done, all steps and a value, once in a while; True goes on, False stops."""


def silent(done: int, steps: int, value: float) -> bool:
    """Goes on."""
    return True
