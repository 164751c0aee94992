"""The completion methods and their options."""

from dataclasses import dataclass

from outfits.config.fields import key
from outfits.registry import Entry, Table

# What evaluate.methods compares unless told otherwise; exhaustive search is for catalogues of a few hundred items.
COMPARED = (
    "original",
    "random",
    "most_selected",
    "greedy_1",
    "greedy_k",
    "beam",
    "gradient:projection=l1",
    "gradient:projection=l2",
    "gradient:projection=l10",
    "gradient:projection=cosine",
    "gradient:start=items",
    "gradient:penalty=0.003",
    "gradient:sequential=true",
    "gradient:choose=projected:restarts=16:steps=25",
    "generator",
    "generator_rerank",
    "generator_beam",
)


@dataclass
class ExhaustiveConfig:
    max_calls: int = key(
        1_000_000,
        "calls of S per outfit beyond which exhaustive search refuses to start and says how many it needs",
        ge=1,
    )


@dataclass
class BeamConfig:
    width: int = key(4, "partial outfits kept at every step; 1 is greedy_k", ge=1)


@dataclass
class GreedyTwoStageConfig:
    candidates: int = key(96, "c, items of the student's ranking that S scores at each step", ge=1)


@dataclass
class BeamTwoStageConfig:
    candidates: int = key(96, "c, items of the student's ranking that S scores beside each partial outfit", ge=1)
    width: int = key(4, "partial outfits kept at every step; 1 is greedy_two_stage", ge=1)


@dataclass
class GradientConfig:
    projection: str = key(
        "cosine",
        "distance by which the nearest real items are found",
        choices=("l1", "l2", "l10", "cosine"),
    )
    steps: int = key(50, "gradients of S along the ascent of the free embeddings, per restart", ge=1)
    lr: float = key(0.02, "Adam's step size, in embedding units (each part of an embedding has unit length)", gt=0)
    restarts: int = key(8, "starting points per outfit, all ascended at once", ge=1)
    choose: str = key(
        "relaxed",
        "which restart answers: relaxed (the best relaxed optimum) or projected (the best real items under S, one call "
        "of S per restart)",
        choices=("relaxed", "projected"),
    )
    start: str = key(
        "random",
        "where the ascent starts: random (free embeddings of the catalogue's mean and spread) or items (real items)",
        choices=("random", "items"),
    )
    penalty: float = key(
        0.0, "weight of the mean squared distance to the nearest allowed item, which is subtracted from S", ge=0
    )
    sequential: bool = key(
        False, "project one embedding at a time, the one nearest to an item first, and ascend again with the rest"
    )


@dataclass
class RerankConfig:
    candidates: int = key(64, "r, nearest items per latent that S chooses from", ge=1)
    joint: bool = key(True, "choose among the nearest items of all unused latents at each step, not of one")


@dataclass
class GeneratorBeamConfig:
    candidates: int = key(48, "r, nearest items per latent that the beam is built from", ge=1)
    width: int = key(4, "partial outfits kept at every step", ge=1)


@dataclass(frozen=True)
class MethodSpec(Entry):
    """A completion method.

    Attributes:
        options: dataclass of its options; None for a method without options.
    """

    options: type | None = None


def _method(name: str, options: type | None = None) -> MethodSpec:
    return MethodSpec(name, f"outfits.completion.methods:{name}", options)


METHODS: Table[MethodSpec] = Table(
    "method",
    [
        _method("original"),
        _method("random"),
        _method("most_frequent"),
        _method("most_selected"),
        _method("most_similar"),
        _method("exhaustive", ExhaustiveConfig),
        _method("greedy_1"),
        _method("greedy_k"),
        _method("beam", BeamConfig),
        _method("greedy_two_stage", GreedyTwoStageConfig),
        _method("beam_two_stage", BeamTwoStageConfig),
        _method("gradient", GradientConfig),
        _method("generator"),
        _method("generator_rerank", RerankConfig),
        _method("generator_beam", GeneratorBeamConfig),
    ],
)
