"""Opens a run: its configuration, its folder, and what its processes must agree on."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.loggers import Logger

from callbacks.loggers import build_loggers
from lightning_modules.sharded import join_ranks
from lightning_modules.trainer import before_writing, build_trainer, check_hardware, is_rank_zero, on_rank_zero
from outfits import run_files
from outfits.config.load import read_config, save_config
from outfits.config.schema import Config
from outfits.config.schema.methods import Need, spec_of
from outfits.config.schema.stages import STAGES
from outfits.data.dataset import OutfitDataset
from outfits.errors import ArtifactError, ConfigError
from outfits.processes import Stopped
from outfits.scoring.capacity import resolve_precision
from outfits.threads import use_threads

if TYPE_CHECKING:
    from pipeline.ray_engine import RayEngine

# passes the folder from rank zero to the ranks that Lightning starts later
RUN_DIR_VARIABLE = "OUTFITS_RUN_DIR"
# keys that may change when a run continues: locations, display and evaluation
MAY_DIFFER = (
    "encoder.num_workers",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.threads",
    "trainer.timeout_minutes",
    "run_dir",
    "run",
    "resume",
    "plugins",
    "cache_dir",
    "stages",
    "engine",
    "ray",
    "targets.states",
    "evaluate",
    "index",
    "wandb",
    "data.root",
    "data.num_workers",
)


def content_key(*parts: Any) -> str:
    """Computes a short digest of JSON-serialisable values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Run:
    """Holds the resolved configuration, the folder and the start, in seconds since the epoch, of one program's run.

    ``made_folder`` tells whether this process made the run's folder, or first wrote to it; ``found`` is the
    configuration of a run that this one goes on with.
    """

    config: Config
    folder: Path
    started: float
    made_folder: bool = False
    found: Config | None = None

    @property
    def cache(self) -> Path:
        """Folder of the products that runs share."""
        return Path(self.config.cache_dir)

    @cached_property
    def ray_engine(self) -> "RayEngine":
        """The run's workers on a Ray cluster."""
        # imported here, since Ray is an extra
        from pipeline.ray_engine import RayEngine

        return RayEngine(self.config.ray, tuple(self.config.plugins), torch.get_num_threads())

    def log(self, stage: str, what: str) -> None:
        """Prints one line of progress from rank zero, with minutes since the start."""
        if is_rank_zero():
            print(f"[{(time.time() - self.started) / 60:5.1f} min] {stage}: {what}", flush=True)

    def require(self, stage: str, wanted_by: str) -> None:
        """Raises ArtifactError if ``stage``, which makes a missing product, is not among the configured stages."""
        if stage not in self.config.stages:
            raise ArtifactError(
                f"{wanted_by} needs what stage {stage} makes, and it is not there; add {stage} to `stages`"
            )

    def search_precision(self) -> str:
        """Resolves the arithmetic of S in searches on the trainer's devices; part of the key of all that S searched."""
        precision = self.config.targets.precision
        if precision != "auto":
            return precision
        return resolve_precision(precision, build_trainer(self.config.trainer).strategy.root_device)

    def training_facts(self) -> list[Any]:
        """What of the trainer changes the weights that a training ends with; part of the key of what is trained."""
        config = self.config.trainer
        world_size = build_trainer(config).world_size  # this trainer only tells how many ranks share a batch
        return [
            [config.precision, config.gradient_clip_val, config.accumulate_grad_batches],
            [config.limit_train_batches, config.limit_val_batches, config.fast_dev_run],
            world_size,
        ]

    def _removed(self) -> bool:
        """Removes what stands in the folder before the first product, if nothing else does; returns whether it has."""
        if not self.made_folder or any(path.name not in run_files.BEFORE_PRODUCTS for path in self.folder.iterdir()):
            return False
        shutil.rmtree(self.folder / run_files.STYLIST, ignore_errors=True)
        for name in (run_files.DATASET, run_files.CONFIG):
            (self.folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # a link, a mounted or the working folder stays
            self.folder.rmdir()
        return True

    @contextmanager
    def left_in_order(self) -> Iterator[None]:
        """Frees a new folder if its work fails before the first product, so that a corrected command may take it.

        A run that went on with further stages, and failed, has its former configuration again. The error of a signal is
        told how the run goes on.
        """
        try:
            yield
        except BaseException as error:
            way_on = f"train.py resume={self.folder} goes on from here"
            with suppress(OSError):
                if self._removed():
                    way_on = "the same command starts again, on what it has put into the cache"
            if isinstance(error, Stopped):
                error.add_note(way_on)
            elif self.found is not None and is_rank_zero():
                save_config(self.found, self.folder / run_files.CONFIG)
            raise

    def loggers(self, stage: str) -> list[Logger]:
        """Builds the loggers of one stage."""
        return build_loggers(self.config.wandb, self.folder, asdict(self.config), rank_zero=is_rank_zero(), stage=stage)


def open_run(config: Config) -> Run:
    """Makes or finds the run's folder and saves the resolved configuration there.

    The folder of a run with the same configuration is continued, and has the stages of all starts in its configuration.

    Raises:
        ConfigError: if the folder holds a run of another configuration, torchrun's ranks cannot agree on a folder, or
            the machine lacks the configured devices.
    """
    check_hardware(config.trainer, trains=True)
    join_ranks(config.trainer)
    folder = _run_folder(config)
    saved = folder / run_files.CONFIG
    found = before_writing(lambda: read_config(saved) if saved.exists() else None)
    if found is not None:
        different = _differences(asdict(found), asdict(config))
        if different:
            if config.resume is not None:
                raise ConfigError([f"resume: {folder} goes on as it was; {'; '.join(different)} cannot change"])
            raise ConfigError(
                [
                    f"run_dir: {folder} holds a run with another configuration ({'; '.join(different)}); choose "
                    f"another run_dir, or continue that run as it was with resume={folder}"
                ]
            )
    makes = is_rank_zero() and found is None
    kept = config
    if found is not None:
        stages = [name for name in STAGES if name in {*found.stages, *config.stages}]
        evaluate = config.evaluate if "test" in config.stages else found.evaluate  # goes with the stage that evaluates
        kept = replace(found, stages=stages, evaluate=evaluate)

    def keep() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_config(kept, saved)

    if kept != found:
        on_rank_zero(keep)
    os.environ[RUN_DIR_VARIABLE] = str(folder)
    use_threads(config.trainer.threads)
    return Run(config, folder, time.time(), makes, found)


def reopen_run(config: Config) -> Run:
    """Opens the run of ``run=RUN_DIR`` for evaluation; ConfigError if the machine lacks the configured devices."""
    check_hardware(config.trainer, trains=False)
    join_ranks(config.trainer)
    use_threads(config.trainer.threads)
    return Run(config, Path(str(config.run)), time.time())


def evaluation_of(run: Run) -> Callable[[Run, OutfitDataset], Any]:
    """Loads the evaluation of a finished run: that of the first stage in the table whose file exists.

    Raises ArtifactError if none exists.
    """
    evaluations = [stage.evaluation for stage in STAGES.values() if stage.evaluation is not None]
    for evaluation in evaluations:
        if (run.folder / evaluation.name).is_file():
            evaluate: Callable[[Run, OutfitDataset], Any] = evaluation.load()
            return evaluate
    files = " nor ".join(evaluation.name for evaluation in evaluations)
    raise ArtifactError(f"run {run.folder} has neither {files}; finish it with train.py resume={run.folder} stages=[…]")


def wants(run: Run, need: Need) -> bool:
    """Returns whether a method that needs this is asked for."""
    config = run.config.evaluate
    texts = (*config.methods, *config.condition_methods, *config.sweep.methods)
    return any(need in spec_of(text).needs for text in texts)


def _run_folder(config: Config) -> Path:
    if config.run_dir is not None:
        return Path(config.run_dir)
    if RUN_DIR_VARIABLE in os.environ:
        return Path(os.environ[RUN_DIR_VARIABLE])
    name = Path(config.experiment).stem
    if "SLURM_JOB_ID" in os.environ and "SLURM_PROCID" in os.environ:
        return Path("runs", f"{name}-slurm-{os.environ['SLURM_JOB_ID']}")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        elastic_id = os.environ["TORCHELASTIC_RUN_ID"]
        if elastic_id == "none":
            raise ConfigError(
                ["run_dir: set it when torchrun starts the ranks, so that all of them write to one folder"]
            )
        return Path("runs", f"{name}-{elastic_id}")
    return _new_folder(Path("runs", f"{name}-{datetime.now():%Y%m%d-%H%M%S}"))


def _new_folder(first: Path) -> Path:
    """Makes a folder of this name, or of one with a number where a run that started in the same second has it."""
    first.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        path = first if number == 1 else first.with_name(f"{first.name}-{number}")
        with suppress(FileExistsError):
            path.mkdir()
            break
    return path


def _differences(saved: dict[str, Any], asked: dict[str, Any], prefix: str = "") -> list[str]:
    """Lists keys that differ and may not, as ``key: saved → asked``."""
    found = []
    for name, value in saved.items():
        full = prefix + name
        if full in MAY_DIFFER:
            continue
        if isinstance(value, dict):
            found += _differences(value, asked[name], full + ".")
        elif value != asked[name]:
            found.append(f"{full}: {value} → {asked[name]}")
    return found
