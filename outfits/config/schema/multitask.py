"""Keys of the multi-task encoder: search, refinement, categories and words by one model."""

from dataclasses import dataclass

from outfits.config.fields import absolute, key, located, section
from outfits.config.schema import training

RETRIEVAL, REFINEMENT, RECOGNITION, CAPTIONING = "retrieval", "refinement", "recognition", "captioning"
TASKS = (RETRIEVAL, REFINEMENT, RECOGNITION, CAPTIONING)
"""Texts to images and back, an image and a text to another image, categories, and texts for images."""

SMALL = "small"
"""Name of the model that the stage trains itself where there are no pretrained weights."""


@dataclass
class MultitaskArchitecture:
    """What the adapters are built from."""

    tasks: list[str] = key(
        [*TASKS],
        "what is learned: retrieval (texts to images and back), refinement (an image and a text to another image), "
        "recognition (categories), captioning (texts of images)",
        choices=TASKS,
    )
    bottleneck: int = key(64, "width of the adapters of a task, of which every layer has one", ge=1)
    cross_bottleneck: int = key(64, "width of the adapters through which the towers read each other", ge=1)
    dropout: float = key(0.0, "dropout within adapters", ge=0, lt=1)


@dataclass
class SmallClipConfig:
    """A CLIP that is trained on the run's own images and texts."""

    image_size: int = key(64, "side of its images, pixels", ge=16)
    patch_size: int = key(16, "side of its patches, pixels; divides image_size", ge=2)
    width: int = key(128, "width of both towers", ge=8)
    layers: int = key(4, "layers of each tower", ge=1)
    heads: int = key(4, "attention heads; divide width", ge=1)
    embed_dim: int = key(64, "width of the common space", ge=2)
    context_length: int = key(24, "tokens of a text at most, begin and end among them", ge=4)
    epochs: int = training.epochs(12, "epochs of its contrastive training, before there are adapters")
    lr: float = training.lr(1e-3, "learning rate of that training")


@dataclass
class MultitaskConfig(MultitaskArchitecture):
    """The stage ``multitask``: section ``multitask``."""

    model: str = key(
        SMALL,
        "small: a CLIP of section multitask.small, trained by this stage first; else open_clip's architecture name, "
        "hf-hub:ORG/NAME or local-dir:PATH",
        check=located,
    )
    pretrained: str | None = key(
        None,
        "pretrained tag or local weights file of an architecture name; null for small, hf-hub: and local-dir:",
        check=located,
    )
    backbone: str = key(
        "frozen",
        "the CLIP's own weights beside the adapters: frozen, or trained with backbone_lr",
        choices=("frozen", "trained"),
    )
    backbone_lr: float = key(0.01, "factor of lr for the CLIP's own weights, where they are trained", gt=0)
    differences: list[str] = key(
        [
            "colour: in {value}",
            "colour: {value} instead of {reference}",
            "pattern: with {value}",
            "style: more {value}",
        ],
        "'ATTRIBUTE: text', where the data have no refinements of their own: two items of a category that differ in "
        "one of these attributes make one, whose text says the difference; {value} is what is wanted, {reference} what "
        "there is",
    )
    captions: str = key(
        "joined",
        "a refinement with several captions: joined makes one query of them, single a query of each",
        choices=("joined", "single"),
    )
    text_dropout: float = key(
        0.5, "recognition: share of training items whose text is left out, so that a photo alone is enough", ge=0, le=1
    )
    augment: bool = key(True, "training images are mirrored at random and cropped to 80 to 100 percent")
    single_tasks: bool = key(False, "also trains a model for each task alone and measures it beside the others")
    distil: float = key(
        0.0, "weight of what models for each task alone, which are trained first, teach the one for all; 0: none", ge=0
    )
    beam: int = key(3, "hypotheses of a caption that are expanded at once; 1 is greedy", ge=1)
    epochs: int = training.epochs(10, "epochs; in each, every task gets batches in proportion to its samples")
    batch_size: int = training.batch_size(64, "samples of one task", fewest=2)
    lr: float = training.lr(1e-3, "learning rate of adapters and heads")
    weight_decay: float = training.weight_decay(1e-5)
    warmup: float = training.warmup(0.1)
    patience: int = training.patience("validation score")
    small: SmallClipConfig = section(SmallClipConfig)


@dataclass
class MultitaskEncoderConfig:
    """An item encoder from a run of the stage ``multitask``."""

    run: str | None = key(None, "folder of a finished run of experiment=multitask", check=absolute)
