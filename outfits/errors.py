"""Errors that a user can mend: one line that names the thing, the place and the way out."""


class OutfitError(Exception):
    """Base of every error that is the user's to mend; the entry points print it and exit with status 2."""

    kind = "error"

    def __str__(self) -> str:
        return f"{self.kind}: {super().__str__()}"


class DataError(OutfitError):
    """A file, row, image or embedding that cannot be used as it is."""

    kind = "data error"


class ArtifactError(OutfitError):
    """A stored product of an earlier stage (weights, embeddings, targets) that is missing or does not match."""

    kind = "artifact error"


class ConfigError(OutfitError):
    """One or several configuration errors, each a line of its own."""

    kind = "config error"

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(f"{self.kind}: {error}" for error in self.errors)
