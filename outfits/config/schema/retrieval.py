"""Keys of complementary retrieval: which item completes an outfit, found without S."""

from dataclasses import dataclass

from outfits.config.fields import key
from outfits.config.schema import training
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.registry import Entry, Table

RETRIEVERS = Table(
    "retriever",
    (
        Entry("transformer", "outfits.models.retrieval:build_transformer"),
        Entry("csa_net", "outfits.models.csa_net:build_csa_net"),
    ),
)
"""Models that rank candidates for an outfit: functions of S and the number of categories."""


@dataclass
class RetrieverArchitecture(ScorerArchitecture):
    """Architecture of the retriever: that of S, and the width of what it is read out to."""

    dim: int = 128


@dataclass
class CsaArchitecture:
    """Architecture of the peer ``csa_net``, besides the widths of the items' parts."""

    dim: int = 128
    subspaces: int = 5


@dataclass
class RetrievalConfig:
    """The stage ``retrieval``: section ``retrieval``."""

    peers: list[str] = key(
        ["csa_net"],
        "models trained beside the transformer and compared with it on the same pools",
        choices=RETRIEVERS,
    )
    dim: int = key(128, "width of queries and items in the retrieval space", ge=2)
    subspaces: int = key(5, "csa_net: learned masks of the embedding, weighted by pairs of categories", ge=1)
    loss: str = key(
        "listwise",
        "hinge: over all wrong items and over the hardest (arXiv 2204.04812); listwise: cross-entropy of the true item",
        choices=("hinge", "listwise"),
    )
    margin: float = key(2.0, "hinge: margin between the true item's score and a wrong one's", gt=0)
    temperature: float = key(0.07, "what cosines are divided by to be scores; learned from there if listwise", gt=0)
    negatives: int = key(48, "wrong items of the true one's category, drawn for every outfit", ge=2)
    category_share: float = key(
        0.8, "share of training queries that know the wanted category; wrong items of the others have any", ge=0, le=1
    )
    text_share: float = key(0.3, "share of training queries that know the wanted item's text", ge=0, le=1)
    subset_share: float = key(
        0.4, "share of training outfits seen as a random subset of at least two items", ge=0, le=1
    )
    epochs: int = training.epochs(30)
    batch_size: int = training.batch_size(128, "outfits")
    lr: float = training.lr(1e-3)
    weight_decay: float = training.weight_decay(5e-2)
    warmup: float = training.warmup()
    patience: int = training.patience("validation R@10")
    pool: int = key(3000, "most candidates of a category; if it has more, the answers and random others", ge=2)
    min_pool: int = key(100, "fewest candidates of a category that is asked for", ge=2)
