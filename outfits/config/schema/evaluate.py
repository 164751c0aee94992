"""Keys of evaluation: tasks, methods and reports."""

from dataclasses import dataclass

from outfits.config.fields import key, section
from outfits.config.schema.methods import COMPARED, METHODS, methods_shown, with_method_sections
from outfits.config.schema.representation import RepresentationReportConfig
from outfits.config.schema.targets import CONDITION_KINDS


@dataclass
class SweepConfig:
    outfits: int = key(100, "outfits completed at every point of a sweep, the first of those drawn", ge=1)
    k: list[int] = key([], "numbers of missing items to sweep over, as in [1,2,3]; needs outfits of k + 2 items", ge=1)
    width: list[int] = key([], "beam widths to sweep over, for beam and generator_beam", ge=1)
    candidates: list[int] = key([], "r to sweep over, for generator_rerank and generator_beam", ge=1)
    alpha: list[float] = key([], "weights of S to sweep over, with the removed items' texts as conditions", ge=0, le=1)
    methods: list[str] = key(methods_shown("sweeps"), "methods of the sweeps over k and alpha")


@dataclass
@with_method_sections
class EvaluateConfig:
    split: str = key("test", "split that is completed", choices=("valid", "test"))
    outfits: int | None = key(1000, "outfits completed, drawn with `seed`; null: all", ge=1)
    methods: list[str] = key(
        list(COMPARED),
        f"methods compared, each NAME or NAME:OPTION=VALUE:… with options of its section, as in beam:width=8; names: "
        f"{', '.join(METHODS)}",
    )
    slow_methods: list[str] = key(
        [name for name, spec in METHODS.items() if spec.slow],
        "methods, by name, that complete only the first evaluate.slow_outfits of the outfits in the comparison",
    )
    slow_outfits: int = key(100, "outfits completed by slow methods; they are among those of all other methods", ge=1)
    conditions: list[str] = key(
        ["categories", "categories_texts"],
        "experiments with conditions, each of the removed items' category or text: are the removed items found again?",
        choices=CONDITION_KINDS,
    )
    condition_methods: list[str] = key(
        methods_shown("conditions"),
        "methods of the experiments with conditions; most_similar takes part where texts are conditions",
    )
    imagine: bool = key(
        False, "also draw missing items from the generator's latents; trains a decoder where the run has none"
    )
    alpha: float = key(0.5, "weight of S against texts of conditions", ge=0, le=1)
    resamples: int = key(2000, "bootstrap resamples of paired confidence intervals", ge=100)
    distractors: int = key(3, "wrong answers per fill-in-the-blank question", ge=1)
    draws: int = key(5, "questions and replacements drawn per outfit when S itself is measured", ge=1)
    gallery: int = key(12, "completed outfits shown as images in the report", ge=0)
    shard_size: int = key(16, "outfits per shard: the unit of work, the same on any number of ranks", ge=1)
    sweep: SweepConfig = section(SweepConfig)
    representation: RepresentationReportConfig = section(RepresentationReportConfig)
