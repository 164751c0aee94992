"""Exports a finished run as one folder for others: networks, configuration, catalogue without pictures, model card."""

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import outfits
from outfits import run_files
from outfits.config.load import save_config
from outfits.config.schema import Config
from outfits.config.schema.data import DATA_FORMATS
from outfits.config.schema.encoder import IMAGE_ENCODERS
from outfits.encoders.store import EmbeddingStore
from outfits.errors import ArtifactError, ConfigError, one_line
from outfits.hub import HUB, on_hub
from outfits.report.card import LIBRARY, CardFacts, model_card
from outfits.storage import write_atomically, write_json, write_text
from outfits.stylist.export import read_encoder, read_manifest, save_manifest
from outfits.stylist.loading import LoadedRun, load_run
from outfits.stylist.onnx_files import (
    Exportable,
    exportable_generator,
    exportable_images,
    exportable_retrieval,
    exportable_scorer,
    require_onnx,
    write_onnx,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi

WEIGHTS = "*.safetensors"


def export(
    run: str | Path,
    folder: str | Path,
    *,
    licence: str | None = None,
    cache_dir: str | Path | None = None,
    onnx: bool = False,
) -> Path:
    """Writes everything that :meth:`Stylist.load` needs of a finished run into one folder, with a model card.

    The folder names no path of this machine and holds no images and no users; its catalogue is that of the training,
    without what joined or left it in use. An earlier export there is replaced, once the new one is whole.

    Args:
        run: the run's folder.
        folder: where to write; new, empty, or an earlier export.
        licence: licence of the data, for the card; None: what is known of the data format.
        cache_dir: folder of what runs share; None: where the run left it.
        onnx: whether to write S, the generator for every number of missing items, and the image encoder, where it is a
            network, as ONNX files too, checked against torch; needs the extra ``onnx``.

    Raises:
        ArtifactError: if the run lacks something, a file of it was changed, or a network cannot be written as ONNX.
        ConfigError: if the folder holds something else, it and the run's lie in each other, the licence of the data is
            not known, or a package is missing.
    """
    source, target = Path(run).expanduser(), Path(folder).expanduser()
    loaded = load_run(source, "cpu", cache_dir, None)  # which checks that the run is whole
    known = licence or DATA_FORMATS[loaded.config.data.format].licence
    if not known:
        text = f"is not known for data.format={loaded.config.data.format}; state it, as in licence='CC BY 4.0' or none"
        raise ConfigError([f"licence: that of the data {text}"])
    if onnx:
        require_onnx()
    _check_place(source, target)
    with _replacing(target.resolve()) as unfinished:
        _copy_run(loaded.config, source, cache_dir, unfinished)
        differences = write_onnx(list(_exportable(loaded)), unfinished / run_files.ONNX) if onnx else {}
        _describe(loaded, unfinished, target.resolve().name, known, differences)
    return target


def push_to_hub(folder: str | Path, repository: str, *, private: bool = False) -> str:
    """Uploads an exported run to the Hugging Face Hub as a model repository; returns its address for ``Stylist.load``.

    The repository then holds this run alone. What was done with the folder in use, such as garments that joined, is
    not uploaded.

    Args:
        folder: of :func:`export`.
        repository: ``ORG/NAME``; made if it is not there.
        private: whether a new repository is private.

    Raises:
        ArtifactError: if the folder is no exported run, or the hub refuses it.
        ConfigError: if the repository holds something else.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    folder, repository = Path(folder).expanduser(), repository.removeprefix(HUB)
    if not is_exported_run(folder):
        raise ArtifactError(f"{folder} is no exported run; write one with outfits-export run=RUN_DIR folder={folder}")
    api = HfApi(library_name=LIBRARY, library_version=outfits.__version__)
    try:
        repository = api.create_repo(repository, private=private, exist_ok=True).repo_id
        if not _holds_an_export(api, repository):
            raise ConfigError([f"push: {HUB}{repository} holds something else than an exported run; name another one"])
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=f"Export of {LIBRARY}",
            delete_patterns=["*"],  # what an earlier run had and this one has not
            ignore_patterns=[f"{run_files.STYLIST}/{name}*" for name in run_files.DONE_IN_USE],
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise ArtifactError(
            f"{folder} cannot be pushed to {HUB}{repository} ({one_line(error, 160)}); log in with `hf auth login`"
        ) from None
    return f"{HUB}{repository}"


def is_exported_run(folder: Path) -> bool:
    """Tells whether a folder holds a whole export."""
    try:
        stated = json.loads((folder / run_files.CARD_FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(stated, dict) and stated.get("library_name") == LIBRARY


def _holds_an_export(api: "HfApi", repository: str) -> bool:
    """Whether a repository of the hub holds an exported run, or nothing yet."""
    files = set(api.list_repo_files(repository)) - {".gitattributes"}
    if run_files.CARD_FACTS not in files:
        return not files
    return is_exported_run(Path(api.hf_hub_download(repository, run_files.CARD_FACTS)).parent)


def _exportable(loaded: LoadedRun) -> Iterator[Exportable]:
    """The networks of a run that ONNX files are written of."""
    generator, encoder = loaded.context.generator, loaded.config.encoder
    yield exportable_scorer(loaded.context.require_scorer_module())
    if generator is not None:
        yield from (exportable_generator(generator, k) for k in range(1, generator.config.k_max + 1))
        yield exportable_retrieval(generator)
    if IMAGE_ENCODERS[encoder.image].network:
        yield exportable_images(read_encoder(loaded.folder, encoder, loaded.catalogue))


def _check_place(source: Path, target: Path) -> None:
    run, folder = source.resolve(), target.resolve()
    if run.is_relative_to(folder) or folder.is_relative_to(run):
        raise ConfigError([f"folder: {target} and the run {source} are one or lie in each other; name another folder"])
    if target.is_file() or (target.is_dir() and any(target.iterdir()) and not is_exported_run(target)):
        raise ConfigError([f"folder: {target} holds something else than an exported run; name a new folder"])


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A new folder beside the target that takes its place at the end; after an error the target is as it was."""
    unfinished, old = (target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.{end}") for end in ("tmp", "old"))
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        if target.is_dir():
            target.rename(old)
        unfinished.rename(target)
    except BaseException:
        if old.is_dir():
            old.rename(target)
        raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _copy_run(config: Config, source: Path, cache_dir: str | Path | None, target: Path) -> None:
    """Copies everything but pictures, users and what was done in use; paths are left out."""
    for name in (*run_files.EXPORTED[1:], *_networks(source)):
        _copy(source / name, target / name)
    for path in sorted((source / run_files.STYLIST).iterdir()):
        if path.is_file() and not path.name.startswith(run_files.UNEXPORTED_OF_STYLIST):
            _copy(path, target / run_files.STYLIST / path.name)
    _forget_images_elsewhere(target / run_files.STYLIST / run_files.STYLIST_CATALOGUE)
    results = Path(run_files.REPORT) / run_files.RESULTS
    _copy(source / results, target / results)
    _copy_embeddings(config, source, cache_dir, target)
    save_config(_without_paths(config), target / run_files.CONFIG)


def _forget_images_elsewhere(catalogue: Path) -> None:
    """Leaves out paths of images that lie outside the data set's folder, where no other machine would find them."""
    items = pd.read_parquet(catalogue)
    elsewhere = items["image"].str.startswith("../", na=False)
    if elsewhere.any():
        kept = items.assign(image=items["image"].mask(elsewhere, None))
        write_atomically(catalogue, lambda file: kept.to_parquet(file, index=False))


def _networks(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(WEIGHTS) if path.name not in run_files.UNEXPORTED_NETWORKS)


def _describe(loaded: LoadedRun, target: Path, name: str, licence: str, differences: Mapping[str, float]) -> None:
    """Writes the card of a copied run, and last the file that marks the folder as whole."""
    results = target / run_files.REPORT / run_files.RESULTS
    facts = CardFacts(
        name,
        loaded.config,
        json.loads((target / run_files.DATASET).read_text(encoding="utf-8")),
        json.loads((target / run_files.COMPATIBILITY).read_text(encoding="utf-8")),
        json.loads(results.read_text(encoding="utf-8")) if results.is_file() else None,
        [Path(network).stem for network in _networks(target)],
        loaded.catalogue.category_names,
        licence,
        differences,
    )
    write_text(target / run_files.CARD, model_card(facts))
    scorer = loaded.context.require_scorer_module()
    stated = {"library_name": LIBRARY, "version": outfits.__version__, "scorer": scorer.settings, "licence": licence}
    write_json(target / run_files.CARD_FACTS, stated)


def _copy(source: Path, target: Path) -> None:
    """Copies a file where there is one."""
    if source.is_file():
        with source.open("rb") as file:
            write_atomically(target, lambda copy: shutil.copyfileobj(file, copy))


def _copy_embeddings(config: Config, source: Path, cache_dir: str | Path | None, target: Path) -> None:
    manifest = read_manifest(source)
    items = json.loads((source / run_files.DATASET).read_text(encoding="utf-8"))["items"]
    place = Path(manifest.embeddings_dir) if cache_dir is None else Path(cache_dir).expanduser() / run_files.EMBEDDINGS
    sizes = (manifest.key, items, manifest.image_dim, manifest.text_dim, config.encoder.shard_size)
    folders = EmbeddingStore(place, *sizes).folder, EmbeddingStore(target / run_files.EMBEDDINGS, *sizes).folder
    for path in sorted(folders[0].iterdir()):
        _copy(path, folders[1] / path.name)
    save_manifest(target, replace(manifest, embeddings_dir=run_files.EMBEDDINGS, data_root=None))


def _without_paths(config: Config) -> Config:
    """The configuration with the last part of every absolute path; a run's folder and W&B's names are left out."""
    emptied = replace(config, run_dir=None, run=None, resume=None, wandb=type(config.wandb)())
    return _shortened(emptied)  # type: ignore[no-any-return]


def _shortened(section: Any) -> Any:
    def changed() -> Iterator[tuple[str, Any]]:
        for field in fields(section):
            value = getattr(section, field.name)
            if is_dataclass(value):
                yield field.name, _shortened(value)
            elif isinstance(value, str) and not on_hub(value):
                prefix, colon, path = value.rpartition(":")
                if Path(path).is_absolute():
                    yield field.name, f"{prefix}{colon}{Path(path).name}"

    return replace(section, **dict(changed()))
