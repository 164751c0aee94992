"""Keys of similarity from parts: which items are the same, seen otherwise."""

from dataclasses import dataclass

from outfits.config.fields import key, section
from outfits.config.schema import training
from outfits.config.schema.encoder import TimmConfig
from outfits.registry import Entry, Table

PYRAMID_NETWORKS = Table(
    "network of local features",
    (
        Entry("timm", "outfits.encoders.pyramid:TimmMaps"),
        Entry("learned", "outfits.encoders.pyramid:LearnedMaps"),
    ),
)
"""Image networks whose maps are pooled to parts: functions of configuration and a run's own folder or None."""

VIEW_KINDS = ("plain", "moved", "cropped", "occluded")


@dataclass
class GrnetArchitecture:
    """What GRNet is built from."""

    grids: list[int] = key(
        [1, 2, 3], "cells along a side of each scale of the pyramid; every cell is a part of the image", ge=1
    )
    dim: int = key(32, "width of similarity vectors", ge=2)
    layers: int = key(2, "graph layers", ge=1)
    bias: bool = key(True, "the projection of differences has a bias; false as published, for their direction alone")


@dataclass
class PartsConfig(GrnetArchitecture):
    """The stage ``parts``: section ``parts``."""

    network: str = key(
        "timm",
        "image network of local features, which stays as it is: timm, by the keys of parts.timm, or learned, the model "
        "of encoder.learned.run",
        choices=PYRAMID_NETWORKS,
    )
    timm: TimmConfig = section(TimmConfig)
    feature_dim: int = key(64, "width of local features after a PCA that is halfway to whitening", ge=2)
    views: list[str] = key(
        list(VIEW_KINDS), "views that are made of an item's image, and buckets of queries", choices=VIEW_KINDS
    )
    copies: int = key(1, "views of each kind that are made of a training item", ge=1)
    shares: list[float] = key([0.45, 0.1, 0.45], "shares of items for training, validation and test", ge=0)
    queries: int = key(400, "most test items that are looked for, each by one view of every kind", ge=1)
    candidates: int = key(50, "items nearest by the global vector that are ranked anew", ge=1)
    loss: str = key(
        "listwise",
        "pairs: cross-entropy of same or not, as published; listwise: cross-entropy of the same item among those that "
        "it is compared with",
        choices=("pairs", "listwise"),
    )
    near: int = key(8, "near items of the same category that a view is compared with, beside those of its batch", ge=0)
    epochs: int = training.epochs(20)
    batch_size: int = training.batch_size(16, "views", fewest=2)
    lr: float = training.lr(2e-3)
    weight_decay: float = training.weight_decay(1e-4)
    warmup: float = training.warmup()
    patience: int = training.patience("validation top-1")
