"""Whether everything computes on a GPU what it computes on the CPU, and how fast: ``python benchmarks/gpu_check.py``.

Needs one GPU, nothing from the network, and less than eight minutes. It compares FAISS' indexes, S's scoring engine,
the gradient method and a generator's completions with their answers on the CPU or with the plain module, trains S and
the generator for some steps in every precision, and runs a small recipe of every kind of training from end to end. One
line per check; the first difference ends it with status 1. Without a GPU it says so and ends with status 0. ``--device
cpu`` runs the same checks on the CPU, to test the checks.
"""

import argparse
import copy
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import outfits.threads  # noqa: F401, before torch  # isort: skip

import lightning as L
import numpy as np
import torch  # before faiss: the other order makes thread settings go astray
from lightning.pytorch.callbacks import Callback
from machine import synchronise
from numpy.typing import NDArray
from score_catalogue import allowed, plain
from torch import Tensor
from training import run_program

from datamodules import CompatibilityDataModule, CompletionDataModule
from lightning_modules import CompatibilityModule, GeneratorModule
from outfits.completion.context import MethodContext
from outfits.completion.methods import complete
from outfits.completion.tasks import CompletionTasks, make_tasks
from outfits.config.method_calls import resolve_call
from outfits.config.schema.data import DataConfig, SyntheticConfig
from outfits.config.schema.evaluate import EvaluateConfig
from outfits.config.schema.index import IndexConfig
from outfits.config.schema.model import ModelConfig
from outfits.config.schema.scorer import ScorerArchitecture, ScorerConfig
from outfits.config.schema.targets import TargetsConfig
from outfits.data.dataset import OutfitDataset
from outfits.data.load import load_dataset
from outfits.encoders import embed
from outfits.index.category_index import CategoryIndex
from outfits.mining import mine
from outfits.models.compatibility import OutfitTransformer
from outfits.scoring.candidates import CandidateScorer
from outfits.scoring.capacity import has_bf16

import faiss  # isort: skip

SIZES = {"full": {"items": 50_000, "sets": 20_000, "steps": 30, "garments": 400}}
SIZES["small"] = {"items": 3_000, "sets": 600, "steps": 3, "garments": 60}
CATEGORIES, WIDTH, NEIGHBOURS = 10, 64, 10
IMAGE_DIM = TEXT_DIM = 64
LOGIT_ERROR = {"fp32": 1e-4, "bf16": 5e-2}
LIKE_CPU = 0.95  # share of nearest items that an approximate index has in common with the CPU's
STEP_ERROR = {"32-true": 1e-2, "bf16-mixed": 5e-2, "16-mixed": 5e-2}  # of the mean loss, relative to the CPU in fp32
DRAWN = ("data.synthetic.items=400", "data.synthetic.outfits=160", "data.synthetic.image_size=64")
MORE = ("data.synthetic.items=1200", "data.synthetic.outfits=300", 'multitask.differences=["colour: in {value}"]')
IMAGING = ("experiment=imaging", "model.imaging.image_size=64", "model.imaging.epochs=1", "model.imaging.shown=2")
RECIPES = {
    "smoke": ("experiment=smoke",),
    "retrieval": ("experiment=smoke", "stages=[embeddings,compatibility,retrieval]", "trainer.precision=bf16-mixed"),
    "personal": ("experiment=tastes", "data.synthetic.users=30", "personal.epochs=1", "scorer.epochs=1"),
    "parts": ("experiment=parts", *DRAWN, "parts.epochs=1", "parts.copies=1", "parts.queries=20"),
    "multitask": ("experiment=multitask", *DRAWN, *MORE, "multitask.epochs=1", "multitask.small.epochs=1"),
    "representation": ("experiment=representation", *DRAWN, "trainer.max_epochs=1"),
    "super_resolution": (*IMAGING, *DRAWN),
    "style_transfer": (*IMAGING, "model=style_transfer", *DRAWN),
    "conditional": (*IMAGING, "model=conditional", *DRAWN),
    "pixelcnn": ("experiment=imaging", "model=pixelcnn", "model.imaging.epochs=1", *DRAWN),
}
"""Small recipes, each of another LightningModule; some need the extra ``image``."""
SCORE_ERROR = 0.01  # of S of a completion by the gradient method, mean


@dataclass(frozen=True)
class Check:
    """A line of the table: what was compared, how it came out, and a rate; ``passed`` is None for what was left out."""

    name: str
    passed: bool | None
    figure: str
    rate: str = ""


@dataclass(frozen=True)
class Place:
    """Where and how much to check."""

    device: torch.device
    sizes: dict[str, int]
    compile: bool
    recipes: Sequence[str]

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; returns the exit status."""
    asked = _arguments(arguments)
    if asked.device == "cuda" and not torch.cuda.is_available():
        print("gpu-check: this machine has no GPU that torch can use; nothing was checked")
        return 0
    sizes = SIZES["small" if asked.small else "full"]
    place = Place(torch.device(asked.device), sizes, not asked.no_compile, asked.recipes)
    name = torch.cuda.get_device_name() if place.on_gpu else "CPU"
    print(f"{name}, torch {torch.__version__}, faiss {faiss.__version__}, {faiss.get_num_gpus()} GPUs in faiss")
    print(f"{'check':<44} {'':<8} {'figure':<44} {'rate':>22} {'s':>6}", flush=True)
    started = time.perf_counter()
    for part in PARTS:
        since = time.perf_counter()
        for check in part(place):
            word = {True: "ok", False: "DIFFERS", None: "left out"}[check.passed]
            seconds = time.perf_counter() - since
            print(f"{check.name:<44} {word:<8} {check.figure:<44} {check.rate:>22} {seconds:>6.1f}", flush=True)
            if check.passed is not None and not check.passed:
                print(f"gpu-check: {check.name} differs; the checks behind it were not made", file=sys.stderr)
                return 1
            since = time.perf_counter()
    print(f"all checks passed in {time.perf_counter() - started:.0f} s")
    return 0


def index_checks(place: Place) -> Iterator[Check]:
    """FAISS' indexes of every kind against their answers on the CPU."""
    vectors, categories = clustered(place.sizes["items"])
    queries = vectors[:256] + np.random.default_rng(1).normal(size=(256, WIDTH)).astype(np.float32) / 3
    for kind in ("flat", "ivf", "ivf_pq"):
        config = IndexConfig(kind=kind, min_items=200)
        here = CategoryIndex(vectors, categories, place.device, config=config)
        expected = CategoryIndex(vectors, categories, "cpu", config=config).search(queries, NEIGHBOURS)
        similarity, ids = here.search(queries, NEIGHBOURS)
        same = float((ids == expected[1]).mean())
        exact = exact_cosines(vectors, queries, ids)
        wrong = float(np.abs(similarity - exact)[ids >= 0].max())
        passed = bool(same >= (1.0 if kind == "flat" else LIKE_CPU) and wrong < 1e-5)
        rate = per_second(lambda here=here: here.search(queries, NEIGHBOURS), len(queries), place)
        figure = f"{same:.2%} of the CPU's items, cosines to {wrong:.0e}"
        yield Check(f"index {kind}, {len(vectors):,} x {WIDTH}", passed, figure, f"{rate:,.0f} queries/s")
    yield cagra(place, vectors, queries)


def cagra(place: Place, vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> Check:
    """Recall of FAISS' graph index for GPUs, where this build of FAISS has it."""
    name = "CAGRA"
    if not place.on_gpu or not hasattr(faiss, "GpuIndexCagra"):
        return Check(name, None, "needs a GPU and faiss-gpu-cuvs")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    resources, config = faiss.StandardGpuResources(), faiss.GpuIndexCagraConfig()
    config.device = torch.cuda.current_device()
    index = faiss.GpuIndexCagra(resources, WIDTH, faiss.METRIC_INNER_PRODUCT, config)
    index.train(unit)
    near = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    found = index.search(near, NEIGHBOURS)[1]
    _, exact = faiss.knn(near, unit, NEIGHBOURS, metric=faiss.METRIC_INNER_PRODUCT)
    recall = float(np.mean([np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)]))
    rate = per_second(lambda: index.search(near, NEIGHBOURS), len(near), place)
    return Check(name, recall >= 0.9, f"recall of {NEIGHBOURS}: {recall:.1%}", f"{rate:,.0f} queries/s")


def engine_checks(place: Place) -> Iterator[Check]:
    """The scoring engine in every arithmetic, compiled and not, against the plain module on the CPU in fp32."""
    torch.manual_seed(0)
    architecture = ScorerArchitecture(width=128, layers=4, heads=8, feedforward=256)
    module = OutfitTransformer(architecture, IMAGE_DIM, TEXT_DIM).eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((place.sizes["sets"], IMAGE_DIM + TEXT_DIM), dtype=np.float32)
    present, categories = np.ones((len(vectors), 2), dtype=bool), rng.integers(100, size=len(vectors))
    outfit = torch.from_numpy(np.unique(categories, return_index=True)[1][:3].astype(np.int64))
    candidates = torch.from_numpy(allowed(outfit.numpy(), categories))
    few = candidates[:2048]
    expected = plain(copy.deepcopy(module), vectors, present, torch.device("cpu"))(outfit, few)
    here = plain(copy.deepcopy(module).to(place.device), vectors, present, place.device)
    error = float((here(outfit, few).cpu() - expected).abs().max())
    rate = per_second(lambda: here(outfit, candidates), len(candidates), place)
    passed = error < LOGIT_ERROR["fp32"]
    yield Check("plain module fp32", passed, f"logits to {error:.0e}", f"{rate:,.0f} sets/s")
    for precision in ("fp32", "bf16"):
        if precision == "bf16" and not has_bf16(place.device):
            yield Check("engine bf16", None, "the device does not multiply in bf16")
            continue
        for compiled in (False, True) if place.compile else (False,):
            scorer = CandidateScorer(
                copy.deepcopy(module), vectors, present, categories, place.device, precision, compile=compiled
            )
            error = float((scorer.addition_logits(outfit[None], few)[0].cpu() - expected).abs().max())
            rate = per_second(
                lambda scorer=scorer: scorer.addition_logits(outfit[None], candidates), len(candidates), place
            )
            name = f"engine {precision}{', compiled' if compiled else ''}"
            yield Check(name, error < LOGIT_ERROR[precision], f"logits to {error:.0e}", f"{rate:,.0f} sets/s")
    yield Check("engine fp16", None, "the engine has fp32 and bf16")


def training_checks(place: Place) -> Iterator[Check]:
    """Steps of S and of the generator in every precision against the CPU in fp32, and the trained models' methods."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = drawn(Path(folder), place.sizes["garments"])
        accelerator = "gpu" if place.on_gpu else "cpu"
        scorer, mean = trained_scorer(dataset, place, "cpu", "32-true")[:2]
        for precision, limit in STEP_ERROR.items():
            if precision == "16-mixed" and not place.on_gpu:
                yield Check("S, 16-mixed", None, "needs a GPU")
                continue
            _, found, rate = trained_scorer(dataset, place, accelerator, precision)
            yield _step_check(f"S, {precision}", found, mean, limit, rate)
        search = TargetsConfig(train_outfits=40, valid_outfits=8, conditions=[], candidates=32, compile="never")
        targets = mine(dataset, scorer, k=2, k_max=2, config=search)
        data = CompletionDataModule(dataset, targets, batch_size=16)
        generator, mean = trained_generator(dataset, scorer, data, place, "cpu", "32-true")[:2]
        for precision, limit in STEP_ERROR.items():
            if precision == "16-mixed" and not place.on_gpu:
                yield Check("generator, 16-mixed", None, "needs a GPU")
                continue
            _, found, rate = trained_generator(dataset, scorer, data, place, accelerator, precision)
            yield _step_check(f"generator, {precision}", found, mean, limit, rate)
        context = MethodContext(
            dataset.catalogue, scorer_module=scorer, generator=generator, index_config=IndexConfig(), search=search
        )
        tasks = make_tasks(dataset.outfits.of("test"), 2, 1, 8, 0)
        yield from method_checks(place, context, tasks)


def method_checks(place: Place, context: MethodContext, tasks: CompletionTasks) -> Iterator[Check]:
    """Completions on the device against those on the CPU, by S of the completed outfits."""
    for text in ("generator", "greedy_k", "gradient:steps=20:restarts=2"):
        call, scores = resolve_call(text, EvaluateConfig()), {}
        for device in ("cpu", place.device):
            context.to(device)
            outcome = complete(call, tasks, context)
            scores[str(device)] = torch.sigmoid(context.scorer.ragged_logits(outcome.sets()).double()).cpu()
        rate = per_second(lambda call=call: complete(call, tasks, context), len(tasks), place)
        context.to("cpu")
        cpu, here = scores["cpu"], scores[str(place.device)]
        error = float((cpu - here).abs().mean())
        figure = f"S {float(here.mean()):.4f}, on the CPU {float(cpu.mean()):.4f}"
        yield Check(f"method {call.name}", error < SCORE_ERROR, figure, f"{rate:,.1f} outfits/s")


def trained_scorer(
    dataset: OutfitDataset, place: Place, accelerator: str, precision: str
) -> tuple[OutfitTransformer, list[float], float]:
    """S after some steps, the loss of every step, and steps a second."""
    torch.manual_seed(0)
    config = ScorerConfig(width=32, layers=2, heads=4, feedforward=64, batch_size=16, dropout=0.0)
    module = CompatibilityModule(dataset.catalogue, config)
    losses, rate = _fit(module, CompatibilityDataModule(dataset, config), place, accelerator, precision)
    return module.model.to("cpu").eval().requires_grad_(False), losses, rate


def trained_generator(
    dataset: OutfitDataset,
    scorer: OutfitTransformer,
    data: CompletionDataModule,
    place: Place,
    accelerator: str,
    precision: str,
) -> tuple[torch.nn.Module, list[float], float]:
    """A generator after some steps, the loss of every step, and steps a second."""
    torch.manual_seed(0)
    config = ModelConfig(k=2, k_max=2, width=32, layers=2, retrieval_dim=16, dropout=0.0)
    module = GeneratorModule(dataset.catalogue, config, scorer=scorer)
    losses, rate = _fit(module, data, place, accelerator, precision)
    return module.model.to("cpu").eval().requires_grad_(False), losses, rate


class _Losses(Callback):
    """Keeps the loss and the time of every step."""

    def __init__(self, device: torch.device) -> None:
        self.losses: list[float] = []
        self.times: list[float] = []
        self._device = device

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, *rest: object
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        assert isinstance(loss, Tensor)
        self.losses.append(float(loss))
        synchronise(self._device)
        self.times.append(time.perf_counter())


def _fit(
    module: L.LightningModule, data: L.LightningDataModule, place: Place, accelerator: str, precision: str
) -> tuple[list[float], float]:
    device = place.device if accelerator == "gpu" else torch.device("cpu")
    kept = _Losses(device)
    trainer = L.Trainer(
        accelerator=accelerator,
        devices=1,
        precision=precision,
        max_steps=place.sizes["steps"],
        limit_val_batches=0,
        num_sanity_val_steps=0,
        callbacks=[kept],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    return kept.losses, (len(kept.times) - 1) / max(kept.times[-1] - kept.times[0], 1e-9)


def _step_check(name: str, found: list[float], expected: list[float], limit: float, rate: float) -> Check:
    """The first step has the same loss up to rounding; later ones drift apart, so their mean has a wider limit."""
    first = abs(found[0] - expected[0]) / max(abs(expected[0]), 1e-6)
    here, there = float(np.mean(found)), float(np.mean(expected))
    near = first < limit and abs(here - there) / max(abs(there), 1e-6) < 4 * limit  # NaN is near nothing
    passed = bool(near and len(found) == len(expected))
    return Check(name, passed, f"loss {here:.4f}, on the CPU {there:.4f}", f"{rate:,.1f} steps/s")


def recipe_checks(place: Place) -> Iterator[Check]:
    """Small recipes from end to end, with whatever they move to the device and back."""
    with tempfile.TemporaryDirectory() as folder:
        for name in place.recipes:
            where = [f"data.root={folder}/{name}", f"cache_dir={folder}/cache", f"run_dir={folder}/run-{name}"]
            on = ["trainer.accelerator=gpu" if place.on_gpu else "trainer.accelerator=cpu", "trainer.devices=1"]
            try:
                run_program("train.py", name, [*RECIPES[name], *where, *on, "wandb.mode=off"], torch.get_num_threads())
            except SystemExit as error:
                lacking = "not installed" in str(error)
                yield Check(f"recipe {name}", None if lacking else False, str(error)[:120])
            else:
                yield Check(f"recipe {name}", True, "trained, validated and reported")


def drawn(folder: Path, garments: int) -> OutfitDataset:
    """The built-in data with classical embeddings."""
    synthetic = SyntheticConfig(items=garments, outfits=max(60, garments // 2), image_size=16)
    return embed(load_dataset(DataConfig(format="synthetic", root=str(folder), synthetic=synthetic)))


def clustered(items: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors in clusters, 50 in each category, and their categories."""
    rng = np.random.default_rng(0)
    categories = rng.integers(CATEGORIES, size=items)
    centres = rng.normal(size=(CATEGORIES, 50, WIDTH))
    vectors = centres[categories, rng.integers(50, size=items)] + 0.4 * rng.normal(size=(items, WIDTH))
    return vectors.astype(np.float32), categories


def exact_cosines(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], ids: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Cosines of queries ``[Q, r]`` to the items ``[Q, C, n]`` in float64; minus infinity where there is none."""
    items, asked = vectors.astype(np.float64), queries.astype(np.float64)
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    return np.where(ids >= 0, np.einsum("qr,qcnr->qcn", asked, items[ids]), -np.inf)


def per_second(run: Callable[[], object], count: int, place: Place) -> float:
    """How many of ``count`` things a call does in a second: the median of three calls after one."""
    times = []
    for _ in range(4):
        synchronise(place.device)
        started = time.perf_counter()
        run()
        synchronise(place.device)
        times.append(time.perf_counter() - started)
    return count / float(np.median(times[1:]))


PARTS: tuple[Callable[[Place], Iterator[Check]], ...] = (
    index_checks,
    engine_checks,
    training_checks,
    recipe_checks,
)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu: tests the checks themselves")
    parser.add_argument("--small", action="store_true", help="sizes that say nothing about speed")
    parser.add_argument(
        "--recipes", nargs="*", default=list(RECIPES), choices=list(RECIPES), help="recipes that are run"
    )
    parser.add_argument("--no-compile", action="store_true", help="the engine without torch.compile")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    sys.exit(main())
