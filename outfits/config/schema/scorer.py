"""Keys of S and its judge: networks, negatives and training."""

from dataclasses import dataclass

from outfits.config.fields import key, located, section
from outfits.config.schema import training


@dataclass
class NegativesConfig:
    per_outfit: int = key(
        2, "negatives drawn per positive outfit; 0, for outfits with given scores: S is fitted to these alone", ge=0
    )
    replace_all: float = key(
        0.2, "share of negatives with every item replaced; the others have one item replaced", ge=0, le=1
    )
    same_category: float = key(0.7, "share of replacements drawn from the replaced item's own category", ge=0, le=1)
    hard_share: float = key(0.5, "share of one-item negatives that are hard once the schedule is complete", ge=0, le=1)
    hard_start: float = key(0.3, "share of training after which hard negatives begin", ge=0, le=1)
    hard_full: float = key(
        0.6, "share of training after which negatives.hard_share is reached (linear in between)", ge=0, le=1
    )
    hard_candidates: int = key(8, "same-category candidates of which S's favourite becomes the hard negative", ge=2)


@dataclass
class ScorerArchitecture:
    """Architecture of S, besides the widths of the items' parts."""

    width: int = key(128, "token width", ge=8)
    layers: int = key(4, "transformer encoder layers", ge=1)
    heads: int = key(8, "attention heads", ge=1)
    feedforward: int = key(256, "hidden width of the feed-forward blocks", ge=8)
    dropout: float = key(0.2, "dropout in the encoder", ge=0, lt=1)
    input_dropout: float = key(0.1, "dropout on the frozen item embeddings", ge=0, lt=1)
    normalised_halves: bool = key(False, "scale the image half and the text half of every token to unit length")
    projected: bool = key(
        True,
        "tokens are linear maps of the items' parts; false: the parts themselves, side by side, scorer.width wide",
        unwritten=True,
    )
    activation: str = key("gelu", "activation of the feed-forward blocks", choices=("gelu", "mish"), unwritten=True)
    head: str = key(
        "mlp",
        "how the logit is read: mlp (norm, hidden layer) or linear, from the task token as it is",
        choices=("mlp", "linear"),
        unwritten=True,
    )


@dataclass
class ScorerConfig(ScorerArchitecture):
    """S and its training: section ``scorer``."""

    weights: str | None = key(
        None,
        "checkpoint of owj0421's OutfitTransformer that becomes S, with its architecture, instead of training; the "
        "encoder has to be the one that it was trained on",
        check=located,
    )
    focal_alpha: float = key(0.5, "focal loss: weight of the positive class", ge=0, le=1)
    focal_gamma: float = key(1.0, "focal loss: focusing exponent", ge=0)
    score_loss: str = key(
        "mse",
        "outfits with given scores: squared error of S, or cross_entropy with the score as a soft label",
        choices=("mse", "cross_entropy"),
    )
    subset_share: float = key(
        0.4,
        "share of training outfits seen as a random subset of at least two items: every subset of an outfit is one; "
        "none where outfits have given scores, which belong to the whole outfit",
        ge=0,
        le=1,
    )
    ranking_weight: float = key(
        0.0,
        "weight of the set-wise ranking loss: cross-entropy of the true item among same-category candidates; not used "
        "where outfits have given scores",
        ge=0,
    )
    copy_weight: float = key(
        1.5,
        "weight of the loss by which a near-copy of one of its items lowers the logit of a set: two bags that look "
        "alike make no outfit better than one",
        ge=0,
    )
    copy_margin: float = key(1.0, "by how much at least a near-copy is to lower the logit", ge=0)
    epochs: int = training.epochs(20)
    batch_size: int = training.batch_size(128, "positive outfits")
    lr: float = training.lr(1e-3)
    weight_decay: float = training.weight_decay(1e-2)
    warmup: float = training.warmup()
    calibrate: bool = key(
        True,
        "scale the logit, once trained, on the validation split, so that S is the share of real outfits among real "
        "ones and as many with one item replaced (Platt scaling); given scores need none",
    )
    patience: int = training.patience("validation AUC")
    negatives: NegativesConfig = section(NegativesConfig)


@dataclass
class JudgeConfig:
    share: float = key(
        0.3, "share of the training outfits kept from S for the judge; 0: S gets all, no judge", ge=0, lt=1
    )
    width: int = key(96, "token width of the judge", ge=8)
    layers: int = key(3, "transformer encoder layers of the judge", ge=1)
    heads: int = key(6, "attention heads of the judge", ge=1)
    feedforward: int = key(192, "hidden width of the judge's feed-forward blocks", ge=8)
    seed_offset: int = key(1000, "added to `seed` for the judge", ge=1)
