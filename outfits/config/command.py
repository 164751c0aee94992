"""Runs an entry point so that the user's errors end in lines on stderr and exit status 2, not in a traceback."""

import sys
from collections.abc import Callable, Sequence

from outfits.errors import OutfitError

USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def run_command(main: Callable[[Sequence[str]], None], argv: Sequence[str]) -> int:
    """Calls ``main(argv)`` and returns the process's exit status.

    The status is 0, 2 after an :class:`OutfitError`, whose text goes to stderr, or 130 after a keyboard interrupt.
    Every other exception is a bug and passes with its traceback.
    """
    try:
        main(argv)
    except OutfitError as error:
        print(error, file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0
