"""Defines the errors that a user can fix: one line that names the thing, the place and the way out."""

from collections.abc import Iterator
from contextlib import contextmanager


def one_line(error: BaseException, longest: int | None = None) -> str:
    """Puts the message of a library's error on one line of at most ``longest`` characters; its type without one."""
    return " ".join(str(error).split())[:longest] or type(error).__name__


class OutfitError(Exception):
    """Base of every error that a user can fix; the entry points print it and exit with status 2."""

    kind = "error"

    def __str__(self) -> str:
        return f"{self.kind}: {super().__str__()}"


class DataError(OutfitError):
    """Raised for a file, row, image or embedding that cannot be used as it is."""

    kind = "data error"


class ArtifactError(OutfitError):
    """Raised if a stored product of an earlier stage (weights, embeddings, targets) is missing or does not match."""

    kind = "artifact error"


class SystemFault(OutfitError):
    """Raised if the operating system refuses to read or write what a key names."""

    kind = "system error"


class ConfigError(OutfitError):
    """Raised for one or several configuration errors, each on its own line."""

    kind = "config error"

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(f"{self.kind}: {error}" for error in self.errors)


@contextmanager
def raised_as(fault: type[ArtifactError] | type[SystemFault], what: str, way_out: str = "") -> Iterator[None]:
    """Raises ``fault`` for any error but an OutfitError: ``what`` went wrong, the error in brackets, ``way_out``.

    For libraries whose errors differ from one kind of storage to the next.
    """
    try:
        yield
    except OutfitError:
        raise
    except Exception as error:
        raise fault(f"{what} ({one_line(error, 160)}){way_out}") from error
