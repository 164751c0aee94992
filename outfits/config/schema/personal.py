"""Keys of personal recommendation: which outfits a user would like."""

from dataclasses import dataclass

from outfits.config.fields import key
from outfits.config.schema import training
from outfits.registry import Entry, Table

RECOMMENDERS = Table(
    "recommender",
    (
        Entry("hfgn", "outfits.models.hfgn:build_hfgn"),
        Entry("popularity", "outfits.models.recommenders:Popularity"),
        Entry("owned", "outfits.models.recommenders:Owned"),
        Entry("content", "outfits.models.recommenders:Content"),
        Entry("mf", "outfits.models.recommenders:build_matrix_factorisation"),
        Entry("item_mf", "outfits.models.recommenders:build_item_factorisation"),
        Entry("lightgcn", "outfits.models.recommenders:build_light_gcn"),
        Entry("item_lightgcn", "outfits.models.recommenders:build_item_light_gcn"),
    ),
)
"""Models that rank outfits for users: functions of the graph and the section ``personal``."""


@dataclass
class HfgnArchitecture:
    """What HFGN is built from."""

    dim: int = key(64, "width of users and outfits", ge=2)
    hidden: int = key(256, "hfgn: width of the hidden layer of each category's item encoder", ge=1)
    dropout: float = key(0.2, "hfgn: dropout of item features", ge=0, lt=1)
    views: int = key(8, "hfgn: views of its compatibility", ge=1)
    item_ids: bool = key(True, "hfgn: every item also has a vector of its own, which needs items in several outfits")
    user_ids: bool = key(True, "hfgn: every user also has a vector of its own, beside what its outfits say")
    outfit_ids: bool = key(
        False, "hfgn: every outfit also has a vector of its own, as published; new outfits have none"
    )
    leave_one_out: bool = key(
        True, "hfgn: in training, the outfit to be found is not among those that make the user's vector"
    )


@dataclass
class PersonalConfig(HfgnArchitecture):
    """The stage ``personal``: section ``personal``."""

    peers: list[str] = key(
        ["popularity", "owned", "content", "mf", "item_mf", "lightgcn", "item_lightgcn"],
        "models trained beside HFGN and compared with it",
        choices=RECOMMENDERS,
    )
    layers: int = key(2, "lightgcn, item_lightgcn: rounds of propagation", ge=1)
    embeddings: bool = key(True, "hfgn: items are seen by the run's embeddings; false needs none, nor an encoder")
    start: str = key(
        "spectral",
        "hfgn: where vectors of items and users start: random, or spectral (singular vectors of which user has which "
        "item in training)",
        choices=("random", "spectral"),
    )
    loss: str = key(
        "listwise",
        "over the other outfits of a batch and as many drawn ones: bpr, likelihood that each is below the liked one; "
        "listwise, cross-entropy of the liked one among them",
        choices=("bpr", "listwise"),
    )
    scale: float = key(10.0, "factor of preferences in the loss, which is learned from there", gt=0)
    compatibility_weight: float = key(0.2, "hfgn: weight of telling outfits from random items", ge=0)
    epochs: int = training.epochs(60)
    batch_size: int = training.batch_size(2048, "liked outfits")
    lr: float = training.lr(1e-3, "hfgn: learning rate")
    peer_lr: float = key(1e-2, "learning rate of the peers, which start at random", gt=0)
    weight_decay: float = training.weight_decay(1e-2)
    warmup: float = training.warmup()
    patience: int = training.patience("validation NDCG@10", 10)
    beta: float = key(1.0, "weight of a user's preference beside S in the objective of completions for a user", ge=0)
    cold_users: int = key(10, "users with at most so many training outfits are measured apart as cold", ge=1)
