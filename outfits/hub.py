"""Finds repositories of the Hugging Face Hub, ``hf://ORG/NAME``, as folders; those in its cache need no network."""

from functools import partial
from pathlib import Path

from outfits.errors import ArtifactError, ConfigError, one_line

HUB = "hf://"


def on_hub(name: str | Path) -> bool:
    """Tells whether a name means a repository of the hub."""
    return str(name).startswith(HUB)


def hub_folder(name: str, kind: str, key: str) -> Path:
    """Returns the folder of a repository: its snapshot in the cache, completed from the hub unless known to be whole.

    The cache is that of ``huggingface_hub``, which ``datasets`` and ``transformers`` fill too. A snapshot that was
    fetched as a whole is taken as it is. One that was not, such as what ``datasets`` or ``from_pretrained`` needed, is
    completed, and taken as it is where the hub cannot be reached; ``datasets`` notes the commit but not that it is the
    main branch's, so without a revision the latest snapshot counts then.

    Args:
        name: ``hf://ORG/NAME``, or ``hf://ORG/NAME@REVISION`` for a branch, tag or commit.
        kind: ``model`` or ``dataset``.
        key: configuration key or argument that named it, for messages.

    Raises:
        ConfigError: if the name is malformed.
        ArtifactError: if the repository is neither in the cache nor can be fetched.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.removeprefix(HUB).partition("@")
    if repository.count("/") != 1 or "" in repository.split("/"):
        raise ConfigError([f"{key}: {name!r} is not {HUB}ORG/NAME or {HUB}ORG/NAME@REVISION"])
    snapshot = partial(snapshot_download, repository, repo_type=kind, revision=revision or None)
    cached: Path | None = None
    in_part = False
    try:
        cached = Path(str(snapshot(local_files_only=True)))
        if _fetched_whole(repository, kind, revision or None):
            return cached
    except LocalEntryNotFoundError as error:
        if hasattr(error, "snapshot_path"):  # of a download that was interrupted
            in_part = True
        else:
            home = Path(constants.HF_HUB_CACHE, f"{kind}s--{repository.replace('/', '--')}", "snapshots")
            there = [] if revision else sorted(home.glob("*"), key=lambda path: path.lstat().st_mtime)
            cached = there[-1] if there else None
    except HFValidationError as error:
        raise ConfigError([f"{key}: {name!r} names no repository ({one_line(error, 160)})"]) from None
    try:
        return Path(str(snapshot()))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        if cached is not None:
            return cached
        command = f"hf download {repository}{' --repo-type dataset' * (kind == 'dataset')}"
        raise ArtifactError(
            f"{key}: {name} is {'only in part' if in_part else 'not'} in the cache "
            f"{constants.HF_HUB_CACHE} and cannot be fetched ({one_line(error, 160)}); fetch it where there is a "
            f"network: {command}"
        ) from None


def _fetched_whole(repository: str, kind: str, revision: str | None) -> bool:
    """Tells whether the cache has the list of the repository's files, by which it has just been checked."""
    import huggingface_hub

    if not hasattr(huggingface_hub, "get_cached_repo_tree"):  # older versions keep no list
        return False
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return bool(huggingface_hub.get_cached_repo_tree(repository, repo_type=kind, revision=revision))
    except CachedRepoTreeNotFoundError:
        return False
