"""The completion methods: their options and all facts that programs and reports use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from outfits.config.fields import key, section
from outfits.registry import Entry, Table

T = TypeVar("T")

Need = Literal["removed", "occurrences", "selected", "texts", "scorer", "student", "generator", "retriever"]
Place = Literal["gallery", "sheet", "categories", "conditions", "sweeps"]

# The default of evaluate.methods; exhaustive search is for catalogues of a few hundred items.
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
    regenerate: bool = key(
        False, "ask the generator again at every step, for what each partial outfit still lacks; no further call of S"
    )


@dataclass(frozen=True)
class MethodSpec(Entry):
    """A completion method.

    Attributes:
        label: its name for readers; empty: made from ``name``.
        description: summary in a few words.
        options: dataclass of its options, which is the section ``evaluate.NAME``; None without options.
        needs: inputs besides the catalogue; a method that needs neither S nor the generator ignores the outfit.
        scans_catalogue: whether it scores every item with S.
        follows_users: whether a user's preference can join what it maximises.
        slow: whether it completes only a few outfits by default; as it may refuse to start, it runs first.
        shown: parts of the report that include it by default.
        swept: its options that ``evaluate.sweep`` has values for.
        colours: its colour in drawings on a light and on a dark ground; None: one of those that are left.
        words: what an ``OPTION=VALUE`` of its calls means, ``*`` standing for any value.
    """

    label: str = ""
    description: str = ""
    options: type[Any] | None = None
    needs: tuple[Need, ...] = ()
    scans_catalogue: bool = False
    follows_users: bool = False
    slow: bool = False
    shown: tuple[Place, ...] = ()
    swept: tuple[str, ...] = ()
    colours: tuple[str, str] | None = None
    words: Mapping[str, str] = field(default_factory=dict)


# Colours follow Okabe and Ito's palette, distinct under common colour vision deficiencies: greys and purples for
# methods without optimisation, blues for search, green for gradients, orange to brown for the generator.
METHODS = Table(
    "method",
    [
        MethodSpec(
            "original",
            "outfits.completion.search.baselines:original",
            "Original",
            "the outfit as it was made: the removed items put back",
            needs=("removed",),
            shown=("gallery", "sheet", "categories"),
            colours=("#1f2328", "#f0f3f6"),
        ),
        MethodSpec(
            "random",
            "outfits.completion.search.baselines:random",
            "Random",
            "random items that keep the outfit an outfit",
            shown=("conditions",),
            colours=("#8b949e", "#8b949e"),
        ),
        MethodSpec(
            "most_frequent",
            "outfits.completion.search.baselines:most_frequent",
            "Most frequent",
            "the items that occur in most training outfits",
            needs=("occurrences",),
            shown=("conditions",),
            colours=("#9467bd", "#b48ede"),
        ),
        MethodSpec(
            "most_selected",
            "outfits.completion.search.baselines:most_selected",
            "Most selected",
            "for every outfit the items that greedy search selects most often",
            needs=("selected",),
            colours=("#cc79a7", "#cc79a7"),
        ),
        MethodSpec(
            "most_similar",
            "outfits.completion.search.baselines:most_similar",
            "Most similar",
            "the items most similar to the texts of conditions; neither S nor the outfit is looked at",
            needs=("texts",),
            shown=("conditions",),
            colours=("#7f5aa8", "#7f5aa8"),
        ),
        MethodSpec(
            "exhaustive",
            "outfits.completion.search.exhaustive:exhaustive",
            "Exhaustive",
            "scores every set of k items: the optimum of S",
            ExhaustiveConfig,
            needs=("scorer",),
            follows_users=True,
            scans_catalogue=True,
            slow=True,
            colours=("#10305a", "#c3d9f7"),
        ),
        MethodSpec(
            "greedy_1",
            "outfits.completion.search.greedy:greedy_1",
            "Greedy, one step",
            "scores every single addition once and takes the k best",
            needs=("scorer",),
            follows_users=True,
            scans_catalogue=True,
            colours=("#56b4e9", "#9ad4f5"),
        ),
        MethodSpec(
            "greedy_k",
            "outfits.completion.search.greedy:greedy_k",
            "Greedy, k steps",
            "adds the best item and scores everything again, k times",
            needs=("scorer",),
            follows_users=True,
            scans_catalogue=True,
            shown=("gallery", "sheet", "categories", "conditions", "sweeps"),
            colours=("#0072b2", "#3d9be0"),
        ),
        MethodSpec(
            "beam",
            "outfits.completion.search.beam:beam",
            "Beam",
            "greedy search that keeps the best few partial outfits at every step",
            BeamConfig,
            needs=("scorer",),
            follows_users=True,
            scans_catalogue=True,
            shown=("gallery",),
            swept=("width",),
            colours=("#5a5fd0", "#8f93f0"),
        ),
        MethodSpec(
            "greedy_two_stage",
            "outfits.completion.search.two_stage:greedy_two_stage",
            "Greedy, two stages",
            "greedy search under S among what a student of S ranks highest",
            GreedyTwoStageConfig,
            needs=("scorer", "student"),
            follows_users=True,
            colours=("#3c7d96", "#3c7d96"),
        ),
        MethodSpec(
            "beam_two_stage",
            "outfits.completion.search.two_stage:beam_two_stage",
            "Beam, two stages",
            "beam search under S among what a student of S ranks highest",
            BeamTwoStageConfig,
            needs=("scorer", "student"),
            follows_users=True,
            colours=("#2f8f9d", "#2f8f9d"),
        ),
        MethodSpec(
            "retrieval",
            "outfits.completion.retrieval:retrieval",
            "Retrieval",
            "the items nearest to learned queries, one after the other; no call of S",
            needs=("retriever",),
            colours=("#b8860b", "#d9a92b"),
        ),
        MethodSpec(
            "gradient",
            "outfits.completion.gradient.completion:gradient",
            "Gradient",
            "raises S over free embeddings, then takes the nearest items",
            GradientConfig,
            needs=("scorer",),
            shown=("gallery", "sheet"),
            colours=("#009e73", "#1fbf90"),
            words={
                "projection=l1": "nearest items by L1 distance",
                "projection=l2": "nearest items by L2 distance",
                "projection=l10": "nearest items by L10 distance",
                "projection=cosine": "nearest items by cosine",
                "start=items": "started from real items",
                "choose=projected": "of several ascents the one with the best real items",
                "penalty=*": "held near real items on the way",
                "sequential=true": "projected one item at a time",
            },
        ),
        MethodSpec(
            "generator",
            "outfits.completion.from_latents.completion:generator",
            "Generator",
            "one pass of the graph network, then the nearest items by cosine",
            needs=("generator",),
            shown=("gallery", "sheet", "categories", "conditions", "sweeps"),
            colours=("#e69f00", "#e69f00"),
        ),
        MethodSpec(
            "generator_rerank",
            "outfits.completion.from_latents.completion:generator_rerank",
            "Generator, re-ranked",
            "the best under S among the generator's nearest items",
            RerankConfig,
            needs=("scorer", "generator"),
            follows_users=True,
            shown=("gallery", "sheet", "categories", "conditions", "sweeps"),
            swept=("candidates",),
            colours=("#d55e00", "#f0793a"),
        ),
        MethodSpec(
            "generator_beam",
            "outfits.completion.from_latents.completion:generator_beam",
            "Generator, beam",
            "beam search under S among the generator's nearest items",
            GeneratorBeamConfig,
            needs=("scorer", "generator"),
            follows_users=True,
            shown=("gallery", "sweeps"),
            swept=("candidates", "width"),
            colours=("#8f3b0a", "#c0754a"),
        ),
    ],
)


def spec_of(call: str) -> MethodSpec:
    """Returns the method of a call: ``beam`` of ``beam:width=8``."""
    return METHODS[call.partition(":")[0]]


def methods_shown(place: Place) -> list[str]:
    """Names the methods that appear in a place by default."""
    return [name for name, spec in METHODS.items() if place in spec.shown]


def methods_needing(*needs: Need) -> list[str]:
    """Names the methods that need any of these."""
    return [name for name, spec in METHODS.items() if set(needs) & set(spec.needs)]


def with_method_sections(kind: type[T]) -> type[T]:
    """Adds a section for every method with options to a class that is yet to become a dataclass."""
    for name, spec in METHODS.items():
        if spec.options is not None:
            kind.__annotations__[name] = spec.options
            setattr(kind, name, section(spec.options))
    return kind
