"""Defines every configuration key once, with type, default, bounds and meaning.

Sections are plain dataclasses, so library code can take one as an argument.
"""

from dataclasses import dataclass

from outfits.config.fields import absolute, key, section
from outfits.config.plugins import import_plugins
from outfits.config.schema.data import DataConfig
from outfits.config.schema.encoder import EncoderConfig
from outfits.config.schema.evaluate import EvaluateConfig
from outfits.config.schema.imaging_conditional import ImagineConfig
from outfits.config.schema.index import IndexConfig
from outfits.config.schema.model import LossConfig, ModelConfig, OptimizerConfig
from outfits.config.schema.multitask import MultitaskConfig
from outfits.config.schema.parts import PartsConfig
from outfits.config.schema.personal import PersonalConfig
from outfits.config.schema.ray import ENGINES, RayConfig
from outfits.config.schema.retrieval import RetrievalConfig
from outfits.config.schema.scorer import JudgeConfig, ScorerConfig
from outfits.config.schema.stages import MAIN_JOB, STAGES
from outfits.config.schema.targets import TargetsConfig
from outfits.config.schema.trainer import TrainerConfig, WandbConfig


@dataclass
class Config:
    experiment: str = key("synthetic", "recipe: configs/experiment/NAME.yaml")
    # First, because values are checked in this order and plug-ins add choices to later keys.
    plugins: list[str] = key(
        [],
        "modules imported before the rest is checked, from the working folder too; they register data formats, "
        "encoders, image models, methods and stages",
        check=import_plugins,
    )
    run_dir: str | None = key(None, "the run's folder; null: runs/EXPERIMENT-TIME")
    run: str | None = key(None, "evaluate.py: folder of a finished run")
    resume: str | None = key(None, "train.py: folder of an interrupted run to continue with its own configuration")
    cache_dir: str = key(
        "cache", "folder of embeddings, scorers and targets that runs share, keyed by content", check=absolute
    )
    seed: int = key(0, "seed of weights, batches, negatives, removals and evaluation", ge=0)
    stages: list[str] = key(
        MAIN_JOB, "stages to run, in this order; a stage whose product exists is not repeated", choices=STAGES
    )
    engine: str = key(
        "lightning",
        "what computes shards of embeddings, targets, teaching and evaluation: lightning, on the trainer's devices, or "
        "ray, on a Ray cluster (extra ray), with equal results; training is always Lightning's",
        choices=ENGINES,
    )
    data: DataConfig = section(DataConfig)
    encoder: EncoderConfig = section(EncoderConfig)
    scorer: ScorerConfig = section(ScorerConfig)
    judge: JudgeConfig = section(JudgeConfig)
    retrieval: RetrievalConfig = section(RetrievalConfig)
    personal: PersonalConfig = section(PersonalConfig)
    parts: PartsConfig = section(PartsConfig)
    multitask: MultitaskConfig = section(MultitaskConfig)
    imagine: ImagineConfig = section(ImagineConfig)
    targets: TargetsConfig = section(TargetsConfig)
    model: ModelConfig = section(ModelConfig)
    loss: LossConfig = section(LossConfig)
    optimizer: OptimizerConfig = section(OptimizerConfig)
    trainer: TrainerConfig = section(TrainerConfig)
    ray: RayConfig = section(RayConfig)
    index: IndexConfig = section(IndexConfig)
    evaluate: EvaluateConfig = section(EvaluateConfig)
    wandb: WandbConfig = section(WandbConfig)
