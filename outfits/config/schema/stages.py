"""The stages of a run."""

from collections.abc import Iterable
from dataclasses import dataclass

from outfits import run_files
from outfits.registry import Entry, Table


@dataclass(frozen=True)
class Stage(Entry):
    """A stage of a run.

    Its function takes the run and the products in ``needs``, in this order, and returns the product in ``leaves``. It
    reuses a finished product and continues an unfinished one. If the run's ``stages`` do not name it, it makes nothing:
    ``run.require`` raises the error. All ranks call every stage.

    Attributes:
        needs: products of earlier stages, or ``dataset``, the data set without embeddings.
        leaves: its product.
        evaluation: how ``evaluate.py`` evaluates a run that ends with this stage, or None. Its name is the file that
            marks such a run, its code a function of the run and ``dataset``.
    """

    needs: tuple[str, ...]
    leaves: str
    help: str
    evaluation: Entry | None = None


STAGES = Table(
    "stage",
    [
        # name, code, needs, leaves, help
        Stage(
            "representation",
            "pipeline.representation:learn_representation",
            ("dataset",),
            "representation",
            "trains an image model on the catalogue's images and reports what its latents hold",
            evaluation=Entry(run_files.REPRESENTATION, "pipeline.representation:learn_representation"),
        ),
        Stage(
            "embeddings", "pipeline.embeddings:embed_dataset", ("dataset",), "embedded", "embeds the catalogue's items"
        ),
        Stage(
            "compatibility", "pipeline.compatibility:train_scorers", ("embedded",), "scorers", "trains S and the judge"
        ),
        Stage(
            "targets",
            "pipeline.targets:mine_targets",
            ("embedded", "scorers"),
            "targets",
            "mines what greedy search under S selects for training and validation outfits",
        ),
        Stage(
            "generator",
            "pipeline.generator:train_generator",
            ("embedded", "scorers", "targets"),
            "generator",
            "trains the generator on the targets",
        ),
        Stage(
            "test",
            "pipeline.evaluation:run_experiment",
            ("embedded", "scorers", "generator"),
            "results",
            "completes the same outfits by every method and writes the report",
            evaluation=Entry(run_files.GENERATOR, "pipeline.evaluation:evaluate_finished"),
        ),
        Stage(
            "retrieval",
            "pipeline.retrieval:learn_retrieval",
            ("embedded", "scorers"),
            "retriever",
            "trains complementary retrieval and measures it beside its peers on pools of one category each",
            evaluation=Entry(run_files.RETRIEVER, "pipeline.retrieval:evaluate_retrieval"),
        ),
        Stage(
            "personal",
            "pipeline.personal:learn_personal",
            ("dataset",),
            "recommender",
            "trains HFGN on what users like and measures it beside its peers by ranking all outfits",
            evaluation=Entry(run_files.RECOMMENDER, "pipeline.personal:evaluate_personal"),
        ),
        Stage(
            "parts",
            "pipeline.parts:learn_parts",
            ("dataset",),
            "grnet",
            "trains GRNet to find an item seen otherwise and measures it beside cosines of local features",
            evaluation=Entry(run_files.GRNET, "pipeline.parts:evaluate_parts"),
        ),
        Stage(
            "multitask",
            "pipeline.multitask:learn_multitask",
            ("dataset",),
            "multitask",
            "trains one model of images and texts for search, refinement, categories and captions, and measures it",
            evaluation=Entry(run_files.MULTITASK, "pipeline.multitask:evaluate_multitask"),
        ),
        Stage(
            "imaging",
            "pipeline.imaging.stage:make_images",
            ("dataset",),
            "imaging",
            "trains or runs a model that makes images of items, and shows and measures them",
            evaluation=Entry(run_files.IMAGING, "pipeline.imaging.stage:make_images"),
        ),
        Stage(
            "imagine",
            "pipeline.imagine:learn_decoder",
            ("embedded", "scorers", "generator"),
            "decoder",
            "trains a decoder of the generator's latents and measures the images of missing items that it draws",
        ),
    ],
)


def with_needed(names: Iterable[str]) -> list[Stage]:
    """Returns the named stages and those whose products they need, in the order of the table."""
    wanted, needed = set(names), set[str]()
    for stage in reversed(list(STAGES.values())):
        if stage.name in wanted or stage.leaves in needed:
            wanted.add(stage.name)
            needed.update(stage.needs)
    return [stage for stage in STAGES.values() if stage.name in wanted]


MAIN_JOB = [stage.name for stage in with_needed(["test"])]
"""The stages of a run that completes outfits; a representation needs a separate run."""
