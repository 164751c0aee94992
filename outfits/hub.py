"""Finds repositories of the Hugging Face Hub, ``hf://ORG/NAME``, as folders; those in its cache need no network."""

from functools import cache, partial
from pathlib import Path

from outfits.errors import ArtifactError, ConfigError, one_line

HUB = "hf://"


def on_hub(name: str | Path) -> bool:
    """Tells whether a name means a repository of the hub."""
    return str(name).startswith(HUB)


def hub_folder(name: str, kind: str, key: str, pattern: str | None = None) -> Path:
    """Returns the folder of a repository: its snapshot in the cache, completed from the hub unless known to be whole.

    The cache is that of ``huggingface_hub``, which ``datasets`` and ``transformers`` fill too. A snapshot that was
    fetched as a whole is taken as it is. Of one that was not, such as what ``datasets`` or ``from_pretrained`` needed,
    lacking files of the same commit are fetched; where the hub cannot be reached it is taken as it is too.
    ``datasets`` notes the commit but not that it is the main branch's: without a revision the latest snapshot counts.
    A process looks once for each repository.

    Args:
        name: ``hf://ORG/NAME``, or ``hf://ORG/NAME@REVISION`` for a branch, tag or commit.
        kind: ``model`` or ``dataset``.
        key: configuration key or argument that named it, for messages.
        pattern: glob of the files that are needed; None: all.

    Raises:
        ConfigError: if the name is malformed.
        ArtifactError: if the repository is neither in the cache nor can be fetched.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError

    repository, _, revision = name.removeprefix(HUB).partition("@")
    if repository.count("/") != 1 or "" in repository.split("/"):
        raise ConfigError([f"{key}: {name!r} is not {HUB}ORG/NAME or {HUB}ORG/NAME@REVISION"])
    try:
        return _snapshot(repository, kind, revision or None, pattern, constants.HF_HUB_CACHE)
    except HFValidationError as error:
        raise ConfigError([f"{key}: {name!r} names no repository ({one_line(error, 160)})"]) from None
    except _NotThereError as error:
        command = f"hf download {repository}{' --repo-type dataset' * (kind == 'dataset')}"
        raise ArtifactError(
            f"{key}: {name} is not in the cache {constants.HF_HUB_CACHE} and cannot be fetched "
            f"({one_line(error, 160)}); fetch it where there is a network: {command}"
        ) from None


class _NotThereError(Exception):
    """Raised for a repository that is neither in the cache nor can be fetched."""


@cache
def _snapshot(repository: str, kind: str, revision: str | None, pattern: str | None, home: str) -> Path:
    """The folder of a repository in the cache ``home``, see :func:`hub_folder`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = None if pattern is None else [pattern, pattern.removeprefix("**/")]  # which matches no folder at all too
    download = partial(snapshot_download, repository, repo_type=kind, cache_dir=home, allow_patterns=wanted)
    cached: Path | None
    try:
        cached = found = Path(str(download(revision=revision, local_files_only=True)))
        if _listed(repository, kind, revision, home):
            return found
    except LocalEntryNotFoundError as error:
        part = getattr(error, "snapshot_path", None)  # of a download that was interrupted, or of some files
        folder = Path(home, f"{kind}s--{repository.replace('/', '--')}", "snapshots")
        there = [] if revision else sorted(folder.glob("*"), key=lambda path: path.lstat().st_mtime)
        cached = Path(part) if part is not None else there[-1] if there else None
    try:
        return Path(str(download(revision=revision if cached is None else cached.name)))
    except HFValidationError:  # a ValueError, of a name that no cache can have
        raise
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        if cached is None:
            raise _NotThereError(str(error)) from None
        return cached


def _listed(repository: str, kind: str, revision: str | None, home: str) -> bool:
    """Tells whether the cache has the list of the repository's files, by which it has just been checked."""
    import huggingface_hub

    if not hasattr(huggingface_hub, "get_cached_repo_tree"):  # older versions keep no list
        return False
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return bool(huggingface_hub.get_cached_repo_tree(repository, repo_type=kind, revision=revision, cache_dir=home))
    except CachedRepoTreeNotFoundError:
        return False
