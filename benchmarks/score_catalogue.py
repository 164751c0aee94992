"""How fast S is asked about a whole catalogue: ``python benchmarks/score_catalogue.py``.

Expansions to outfits of three items, on random embeddings and untrained weights (speed depends on neither), or with
``--run RUN_DIR`` those of a trained run, by

- ``plain fp32``: the network's own forward pass on stacked embeddings, as in training,
- ``engine fp32`` and, where the device multiplies in it, ``engine bf16``: the scoring engine that every search uses.

All of them score the same candidates in turn, several times; a ratio is the median of the ratios within a turn. The
operations are those of the plain formula, counted by torch, so a rate says how fast the formula's answer comes, however
few operations were needed for it; ``done`` says how many the engine did. The peak is this machine's own rate in square
matrix products in the same arithmetic, measured in the same run.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import outfits.threads  # noqa: F401, before torch  # isort: skip

import numpy as np
import torch
from machine import cpu_name, matrix_peak, peak_memory, reset_peak_memory, seconds
from numpy.typing import NDArray
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from outfits.config.schema.scorer import ScorerArchitecture
from outfits.models.compatibility import OutfitTransformer
from outfits.scoring.candidates import CandidateScorer
from outfits.scoring.capacity import has_bf16
from outfits.stylist.loading import load_run

IMAGE_DIM, TEXT_DIM, CATEGORIES, GIVEN = 256, 256, 100, 3
PLAIN_BLOCK = 512
MODELS = {
    "default": {"width": 128, "layers": 4, "heads": 8, "feedforward": 256},
    "paper": {"width": 128, "layers": 6, "heads": 16, "feedforward": 512},
    "wide": {"width": 1024, "layers": 4, "heads": 16, "feedforward": 2048},
}
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
VARIANTS = ("plain fp32", "engine fp32", "engine bf16")

Score = Callable[[Tensor, Tensor], Tensor]
"""From an outfit's items ``[n]`` and candidates ``[M]`` to logits ``[M]``."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        model: name of the model's size.
        items: catalogue items.
        variant: what scored them.
        scored: candidates scored in a turn.
        sets_per_second: median over the turns.
        ratio: to the plain module in the same turn, median.
        operations: floating-point operations of the plain formula per candidate.
        done: share of them that the variant did.
        gflops: operations of the plain formula per second, in 10^9.
        peak_share: of them, in the machine's peak in this arithmetic.
        products: share of the time that matrix products take, by torch's profiler; None on GPUs. The rest is norms,
            attention, GELU and moving numbers.
        error: largest difference to the plain module's logits.
        agreement: share of outfits with the same best candidate, where that is ahead by more than twice the error.
        peak_memory_mib: largest resident memory of the process, on GPUs of its tensors, while it was built and ran.
    """

    model: str
    items: int
    variant: str
    scored: int
    sets_per_second: float
    ratio: float
    operations: int
    done: float
    gflops: float
    peak_share: float
    products: float | None
    error: float
    agreement: float | None
    peak_memory_mib: float | None


def main(arguments: list[str] | None = None) -> list[Row]:
    """Prints the table; returns its rows."""
    asked = _arguments(arguments)
    device = torch.device(asked.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if asked.threads:
        torch.set_num_threads(asked.threads)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    print(f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__}, {asked.repeats} turns", flush=True)
    peaks = {}
    for name, dtype in precisions(device).items():
        peaks[name] = matrix_peak(dtype, device)
        print(f"matrix-product peak in {name}: {peaks[name] / 1e9:,.0f} GFLOP/s", flush=True)
    if "bf16" not in peaks:
        print("no bf16: this processor has no instructions for it (AMX, AVX-512 BF16) and would take minutes a line")
    print(
        f"\n{'model':>8} {'items':>7} {'variant':>12} {'scored':>7} {'sets/s':>9} {'ratio':>6} {'MFLOP':>6} "
        f"{'done':>5} {'GFLOP/s':>8} {'of peak':>7} {'products':>8} {'error':>8} {'top-1':>6} {'MiB':>6}",
        flush=True,
    )
    rows = []
    for subject in subjects(asked):
        for row in measure(subject, device, peaks, asked):
            rows.append(row)
            print(_line(row), flush=True)
    if asked.json:
        facts = {"machine": where, "threads": torch.get_num_threads(), "torch": torch.__version__, "peaks": peaks}
        asked.json.write_text(json.dumps({**facts, "rows": [asdict(row) for row in rows]}, indent=2) + "\n")
    return rows


@dataclass(frozen=True)
class Subject:
    """A model over a catalogue, and outfits to add to.

    Attributes:
        name: what the table calls it.
        module: S.
        vectors: item embeddings, shape ``[N, d]``.
        present: which parts an item has, shape ``[N, 2]``.
        categories: category of every item, shape ``[N]``.
        outfits: given items of each outfit.
    """

    name: str
    module: OutfitTransformer
    vectors: NDArray[np.float32]
    present: NDArray[np.bool_]
    categories: NDArray[np.int64]
    outfits: Sequence[Tensor]


def subjects(asked: argparse.Namespace) -> Iterator[Subject]:
    """A trained run's model, or every size of model over every size of catalogue."""
    if asked.run is not None:
        run = load_run(asked.run, "cpu", None, None)
        features, test = run.catalogue.require_embeddings, run.outfits.of("test")
        outfits = [torch.from_numpy(test[row][:-1].astype(np.int64)) for row in range(min(asked.outfits, len(test)))]
        module, categories = run.context.scorer.module, run.catalogue.categories.astype(np.int64)
        yield Subject("run", module, np.array(features.vectors), np.array(features.present), categories, outfits)
        return
    for name in asked.models:
        for items in asked.items:
            torch.manual_seed(0)
            module = (
                OutfitTransformer(ScorerArchitecture(**MODELS[name]), IMAGE_DIM, TEXT_DIM).eval().requires_grad_(False)
            )
            rng = np.random.default_rng(0)
            vectors = rng.standard_normal((items, IMAGE_DIM + TEXT_DIM), dtype=np.float32)
            categories = rng.integers(CATEGORIES, size=items)
            outfits = list(torch.from_numpy(rng.integers(items, size=(asked.outfits, GIVEN))))
            yield Subject(name, module, vectors, np.ones((items, 2), dtype=bool), categories, outfits)


def precisions(device: torch.device) -> dict[str, torch.dtype]:
    """Arithmetics that the device multiplies in; where it has no instructions for bf16, torch needs up to 40 times as
    long for a product as in fp32."""
    return {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if has_bf16(device) else {})


def measure(subject: Subject, device: torch.device, peaks: dict[str, float], asked: argparse.Namespace) -> list[Row]:
    """The variants on one subject; the first outfit is timed, all are compared."""
    variants = [variant for variant in VARIANTS if variant[-4:] in peaks]
    module, outfits, categories = subject.module.to(device), subject.outfits, subject.categories
    vectors, present = subject.vectors, subject.present
    candidates = [torch.from_numpy(allowed(outfit.numpy(), categories)) for outfit in outfits]

    score: dict[str, Score] = {}
    memory: dict[str, float | None] = {}
    for variant in variants:
        reset_peak_memory(device)
        precision = variant[-4:]
        if variant.startswith("plain"):
            score[variant] = plain(module, vectors, present, device)
        else:
            score[variant] = engine(
                CandidateScorer(module, vectors, present, categories, device, precision, compile=not asked.no_compile)
            )
        score[variant](outfits[0], candidates[0][: 2 * PLAIN_BLOCK])
        memory[variant] = peak_memory(device)

    probe = candidates[0][: 2 * PLAIN_BLOCK]
    rate = len(probe) / seconds(lambda: score["plain fp32"](outfits[0], probe), device)
    scored = candidates[0][: max(PLAIN_BLOCK, int(asked.seconds * rate))]
    for run in score.values():
        run(outfits[0], scored)  # compiles and warms up
    times: dict[str, list[float]] = {variant: [] for variant in variants}
    for _ in range(asked.repeats):
        for variant, run in score.items():
            times[variant].append(seconds(partial(run, outfits[0], scored), device))
    compared = min(asked.compared, max(2, int(asked.repeats * asked.seconds * rate / len(outfits))))
    logits = {
        variant: [run(outfit, some[:compared]).cpu() for outfit, some in zip(outfits, candidates, strict=True)]
        for variant, run in score.items()
    }
    operations = {
        variant: operations_per_candidate(module, vectors[:1024], present[:1024], variant, len(outfits[0]))
        for variant in variants
    }
    formula = operations["plain fp32"]
    rows = []
    for variant in variants:
        speed = len(scored) / statistics.median(times[variant])
        error, agreement = compare(logits["plain fp32"], logits[variant])
        rows.append(
            Row(
                model=subject.name,
                items=len(vectors),
                variant=variant,
                scored=len(scored),
                sets_per_second=speed,
                ratio=statistics.median(a / b for a, b in zip(times["plain fp32"], times[variant], strict=True)),
                operations=round(formula),
                done=operations[variant] / formula,
                gflops=formula * speed / 1e9,
                peak_share=formula * speed / peaks[variant[-4:]],
                products=products_share(partial(score[variant], outfits[0], scored[: 8 * PLAIN_BLOCK]), device),
                error=error,
                agreement=agreement,
                peak_memory_mib=memory[variant],
            )
        )
    return rows


def allowed(outfit: NDArray[np.integer], categories: NDArray[np.integer]) -> NDArray[np.int64]:
    """Items that the category rule lets join an outfit."""
    return np.flatnonzero(~np.isin(categories, categories[outfit]))


def plain(
    module: OutfitTransformer, vectors: NDArray[np.float32], present: NDArray[np.bool_], device: torch.device
) -> Score:
    """The network's own forward pass on stacked embeddings, in blocks."""
    rows, has = torch.from_numpy(vectors).to(device), torch.from_numpy(present).to(device)

    def run(outfit: Tensor, candidates: Tensor) -> Tensor:
        parts = []
        with torch.inference_mode():
            for some in candidates.split(PLAIN_BLOCK):
                sets = torch.cat([outfit.expand(len(some), -1), some[:, None]], dim=1).to(device)
                parts.append(module(rows[sets], has[sets]))
        return torch.cat(parts)

    return run


def engine(scorer: CandidateScorer) -> Score:
    """The scorer that searches use."""
    return lambda outfit, candidates: scorer.addition_logits(outfit[None], candidates)[0]


def operations_per_candidate(
    module: OutfitTransformer, vectors: NDArray[np.float32], present: NDArray[np.bool_], variant: str, given: int
) -> float:
    """Floating-point operations of matrix products for one more candidate of an outfit, counted by torch."""
    device = next(module.parameters()).device
    if variant.startswith("plain"):
        run = plain(module, vectors, present, device)
    else:
        categories = np.arange(len(vectors))
        run = engine(CandidateScorer(module, vectors, present, categories, device, variant[-4:], block=256))
    outfit, candidates = torch.arange(given), torch.arange(given, len(vectors))
    counts = []
    for few in (256, 512):
        with FlopCounterMode(display=False) as counter:
            run(outfit, candidates[:few])
        counts.append(counter.get_total_flops())
    return (counts[1] - counts[0]) / 256


def products_share(run: Callable[[], object], device: torch.device) -> float | None:
    """Share of a call's time that is spent in matrix products."""
    if device.type != "cpu":
        return None
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run()
    times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    return sum(times.get(name, 0) for name in PRODUCTS) / sum(times.values())


def compare(exact: list[Tensor], found: list[Tensor]) -> tuple[float, float | None]:
    """Largest difference of logits, and how often the best candidate is the same where it is clearly ahead."""
    error = max(float((a - b).abs().max()) for a, b in zip(exact, found, strict=True))
    same = []
    for a, b in zip(exact, found, strict=True):
        first, second = a.topk(2).values.tolist()
        if first - second > 2 * error:
            same.append(bool(a.argmax() == b.argmax()))
    return error, statistics.mean(same) if same else None


def _line(row: Row) -> str:
    agreement = "" if row.agreement is None else f"{row.agreement:.0%}"
    products = "" if row.products is None else f"{row.products:.0%}"
    memory = "" if row.peak_memory_mib is None else f"{row.peak_memory_mib:,.0f}"
    return (
        f"{row.model:>8} {row.items:>7,} {row.variant:>12} {row.scored:>7,} {row.sets_per_second:>9,.0f} "
        f"{row.ratio:>5.2f}x {row.operations / 1e6:>6.2f} {row.done:>5.0%} {row.gflops:>8,.0f} {row.peak_share:>7.0%} "
        f"{products:>8} {row.error:>8.1e} {agreement:>6} {memory:>6}"
    )


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, help="a finished run's folder: its S, catalogue and test outfits instead")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--items", nargs="+", type=int, default=[10_000, 65_000], help="sizes of the catalogue")
    parser.add_argument("--repeats", type=int, default=5, help="turns")
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long the plain module scores in a turn")
    parser.add_argument("--outfits", type=int, default=20, help="outfits whose logits are compared")
    parser.add_argument("--compared", type=int, default=1024, help="most candidates of each outfit that are compared")
    parser.add_argument("--threads", type=int, help="CPU threads; by default torch's choice")
    parser.add_argument("--device", help="cpu or cuda; by default a GPU if there is one")
    parser.add_argument("--no-compile", action="store_true", help="the engine without torch.compile")
    parser.add_argument("--json", type=Path, help="file for the metrics")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
