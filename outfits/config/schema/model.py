"""Keys of the generator, its loss and its optimiser."""

from dataclasses import dataclass

from outfits.config.fields import key, section
from outfits.config.schema import training
from outfits.config.schema.imaging import ImagingConfig
from outfits.config.schema.representation import RepresentationConfig
from outfits.registry import Entry, Table

GRAPH_LAYERS = Table(
    "graph layer",
    (
        Entry("message_passing", "outfits.models.message_passing:OutfitMessagePassing"),
        Entry("gcn", "outfits.models.convolution:gcn_layer"),
        Entry("gat", "outfits.models.convolution:gat_layer"),
        Entry("gatv2", "outfits.models.convolution:gatv2_layer"),
    ),
)
"""Layers of the generator: functions of width, aggregation and dropout."""
ATTENTION_HEADS = 4  # of gat and gatv2


@dataclass
class GeneratorArchitecture:
    """Architecture of the generator, besides the widths of the items' parts and the number of categories."""

    k_max: int = key(
        3, "largest number of missing items that the generator can be asked for; it is trained on 1…k_max", ge=1, le=8
    )
    width: int = key(256, "width of the node states", ge=8)
    layers: int = key(3, "layers of the graph network", ge=1)
    layer: str = key(
        "message_passing",
        "how a layer gathers from the neighbours: message_passing (a network of both nodes for every edge), gcn (their "
        "mean, arXiv 1609.02907), gat (attention, arXiv 1710.10903) or gatv2 (arXiv 2105.14491)",
        choices=GRAPH_LAYERS,
    )
    dropout: float = key(0.1, "dropout inside the message and update networks", ge=0, lt=1)
    aggregation: str = key(
        "sum",
        "message_passing: permutation-invariant aggregation of messages",
        choices=("sum", "mean", "max", "softmax", "powermean", "attentional", "set_transformer"),
    )
    readout: str = key(
        "queries",
        "queries: k learned query nodes joined to the graph; pool: k heads on the pooled item nodes",
        choices=("queries", "pool"),
    )
    retrieval: str = key(
        "tower",
        "space of the latents: item (the item embedding), map (a learned linear map of it) or tower (a network of it)",
        choices=("item", "map", "tower"),
    )
    retrieval_dim: int = key(128, "map and tower: width of the retrieval space", ge=2)


@dataclass
class ModelConfig(GeneratorArchitecture):
    """The generator and its training: section ``model``, which also holds those of image and imaging models."""

    k: int = key(2, "number of items removed from an outfit, for training and in the experiment", ge=1, le=8)
    scorer_tokens: bool = key(
        True,
        "item nodes and retrieval space start from S's tokens of the items, which stay as they are; false: from tokens "
        "and maps of the item embeddings that the generator learns by itself",
    )
    prefix_share: float = key(
        0.5,
        "share of the training tasks whose first selections are given too, so that the others are asked for: greedy "
        "search's steps are tasks of their own",
        ge=0,
        le=1,
    )
    representation: RepresentationConfig = section(RepresentationConfig)
    imaging: ImagingConfig = section(ImagingConfig)


@dataclass
class LossConfig:
    cosine_weight: float = key(1.0, "weight of the cosine distance to the greedy targets", ge=0)
    listwise_weight: float = key(1.0, "weight of the listwise distillation of the scorer's candidate scores", ge=0)
    assignment: str = key(
        "best",
        "latents meet targets under the best assignment or in the order of selection",
        choices=("best", "ordered"),
    )
    target_temperature: float = key(0.02, "temperature of the softmax over the scorer's scores S, in units of S", gt=0)
    random_candidates: int = key(512, "random catalogue items added to each softmax with target probability 0", ge=0)
    latent_temperature: float = key(0.07, "initial value of the learned temperature of latent-item cosines", gt=0)


@dataclass
class OptimizerConfig:
    lr: float = training.lr(1e-3)
    weight_decay: float = training.weight_decay(1e-2)
    warmup: float = key(0.05, "share of the steps with linearly rising learning rate", ge=0, lt=1)
    schedule: str = key("cosine", "learning-rate schedule after the warm-up", choices=("cosine", "constant"))
    batch_size: int = training.batch_size(64, "outfits, of a representation images,")
    patience: int = key(
        0,
        "early stopping: validations without a better mean S, of a representation without a lower loss; 0: never",
        ge=0,
    )
