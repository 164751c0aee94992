"""How much memory mining needs: ``python benchmarks/mining_memory.py [--items 1000000]``.

Mines targets for a few outfits from a catalogue of random embeddings in a memory-mapped file, as stage ``targets`` does
with an embedded catalogue, and prints the peak of the resident memory after each step, mapped pages of the file
included. Most of it does not depend on the number of outfits.
"""

import argparse
import tempfile
import time
from pathlib import Path

import outfits.threads  # noqa: F401, before torch  # isort: skip

import numpy as np
import torch
from machine import cpu_name, peak_memory, reset_peak_memory
from score_catalogue import CATEGORIES, IMAGE_DIM, MODELS, TEXT_DIM

from outfits.completion.tasks import CompletionTasks
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.config.schema.targets import TargetsConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.mining.search import TwoStage, mining_work
from outfits.mining.targets import TargetStore
from outfits.models.compatibility import OutfitTransformer
from outfits.models.student import TwoTower

BLOCK = 65_536


def main(arguments: list[str] | None = None) -> float | None:
    """Prints what each step takes; returns the peak in MiB."""
    asked = _arguments(arguments)
    cpu = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        catalogue = random_catalogue(Path(folder) / "vectors.npy", asked.items)
        torch.manual_seed(0)
        scorer = (
            OutfitTransformer(ScorerArchitecture(**MODELS["default"]), IMAGE_DIM, TEXT_DIM).eval().requires_grad_(False)
        )
        print(f"{cpu_name()}, {torch.get_num_threads()} threads; {asked.items:,} items x {IMAGE_DIM + TEXT_DIM}")
        print(f"model: {MODELS['default']}, search: {asked.search}, precision: {asked.precision}", flush=True)
        reset_peak_memory(cpu)
        tasks = random_tasks(asked.outfits, catalogue)
        config = TargetsConfig(search=asked.search, precision=asked.precision, candidates=256)
        store = TargetStore(Path(folder) / "targets", {}, tasks, shard_size=1, candidates_kept=config.candidates)
        two_stage = None
        if asked.search == "two_stage":
            two_stage = TwoStage(student_of(scorer, config), config.two_stage.candidates)
        mining = mining_work(store, scorer, catalogue, config, two_stage)
        _say("models", cpu)
        started = time.perf_counter()
        mine = mining(cpu)
        _say(f"states of all items, {time.perf_counter() - started:.0f} s", cpu)
        for shard in store.pending():
            started = time.perf_counter()
            mine(shard)
            _say(f"outfit {shard + 1} of {asked.outfits}, {time.perf_counter() - started:.1f} s", cpu)
        calls = store.load().trace.calls.sum()
        print(f"{calls:,} calls of S")
    return peak_memory(cpu)


def random_catalogue(path: Path, items: int, written: bool = False) -> Catalogue:
    """A catalogue with random embeddings in a file, written block by block unless it is ``written``."""
    if not written:
        rng = np.random.default_rng(0)
        vectors = np.lib.format.open_memmap(path, "w+", np.float32, (items, IMAGE_DIM + TEXT_DIM))
        for start in range(0, items, BLOCK):
            block = vectors[start : start + BLOCK]
            block[:] = rng.standard_normal(block.shape)
        vectors.flush()
        del vectors
    features = ItemEmbeddings(
        np.load(path, mmap_mode="r"), np.ones((items, 2), dtype=bool), IMAGE_DIM, TEXT_DIM, key="random"
    )
    return Catalogue(
        item_ids=[str(number) for number in range(items)],
        categories=np.random.default_rng(1).integers(CATEGORIES, size=items).astype(np.int32),
        category_names=[f"category {number}" for number in range(CATEGORIES)],
        texts=[""] * items,
        image_paths=[None] * items,
        embeddings=features,
    )


def random_tasks(outfits: int, catalogue: Catalogue, given: int = 3, k: int = 2) -> CompletionTasks:
    """Outfits of random items of different categories, ``k`` of them removed."""
    rng = np.random.default_rng(1)
    first = [np.flatnonzero(catalogue.categories == category)[:outfits] for category in range(given + k)]
    items = np.stack(first, axis=1).astype(np.int32)[rng.permutation(outfits)]
    numbers = np.arange(outfits, dtype=np.int64)
    return CompletionTasks(list(items[:, :given]), items[:, given:], numbers, np.zeros_like(numbers))


def student_of(scorer: OutfitTransformer, config: TargetsConfig) -> TwoTower:
    """An untrained student, as fast as a trained one."""
    return TwoTower(config.two_stage, scorer.config.width).eval().requires_grad_(False)


def _say(what: str, device: torch.device) -> None:
    peak = peak_memory(device)
    print(f"{'?' if peak is None else f'{peak:,.0f}':>8} MiB at most, after: {what}", flush=True)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--outfits", type=int, default=2)
    parser.add_argument("--search", default="exact", choices=["exact", "two_stage"])
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "auto"])
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
