"""Finds repositories of the Hugging Face Hub, ``hf://ORG/NAME``, as folders; those in its cache need no network."""

from functools import partial
from pathlib import Path

from outfits.errors import ArtifactError, ConfigError, one_line

HUB = "hf://"


def on_hub(name: str | Path) -> bool:
    """Tells whether a name means a repository of the hub."""
    return str(name).startswith(HUB)


def hub_folder(name: str, kind: str, key: str) -> Path:
    """Returns the folder of a repository: its snapshot in the cache, else fetched.

    The cache is that of ``huggingface_hub``, which ``datasets`` and ``transformers`` fill too; a snapshot that is there
    is taken as it is. ``datasets`` notes the commit but not that it is the main branch's: without a revision the latest
    snapshot counts then.

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
    try:
        return Path(str(snapshot(local_files_only=True)))
    except LocalEntryNotFoundError:
        home = Path(constants.HF_HUB_CACHE, f"{kind}s--{repository.replace('/', '--')}", "snapshots")
        there = [] if revision else sorted(home.glob("*"), key=lambda path: path.lstat().st_mtime)
        if there:
            return there[-1]
    except HFValidationError as error:
        raise ConfigError([f"{key}: {name!r} names no repository ({one_line(error, 160)})"]) from None
    try:
        return Path(str(snapshot()))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        command = f"hf download {repository}{' --repo-type dataset' * (kind == 'dataset')}"
        raise ArtifactError(
            f"{key}: {name} is not in the cache {constants.HF_HUB_CACHE} and cannot be fetched "
            f"({one_line(error, 160)}); fetch it where there is a network: {command}"
        ) from None
