"""How fast S is asked about a catalogue: ``python benchmarks/search_speed.py [ITEMS] [WIDTH] [LAYERS]``.

Prints sets per second of one greedy step (every item added to an outfit of three) on random embeddings, for each
arithmetic and block size, as the median of repeated runs. Compare lines of one run; machines differ and so do hours.
"""

import statistics
import sys
import time

import numpy as np
import torch

from outfits.completion.candidates import CandidateScorer
from outfits.models.compatibility import OutfitTransformer

REPEATS = 5
BLOCKS = (256, 1024, 4096)
IMAGE_DIM, TEXT_DIM, CATEGORIES = 384, 384, 100


def seconds_per_step(scorer: CandidateScorer, outfit: torch.Tensor) -> float:
    """Median wall time of scoring every addition to an outfit, after one step to warm up."""
    times = []
    for _ in range(1 + REPEATS):
        started = time.perf_counter()
        scorer.addition_logits(outfit).sum().item()  # .item() waits for queued GPU work
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def main(items: int = 10_000, width: int = 128, layers: int = 2) -> None:
    """Prints the table."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((items, IMAGE_DIM + TEXT_DIM)).astype(np.float32)
    present = np.ones((items, 2), dtype=bool)
    categories = rng.integers(CATEGORIES, size=items)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = OutfitTransformer(IMAGE_DIM, TEXT_DIM, width, layers, width // 32, 2 * width).eval().requires_grad_(False)
    print(f"{items:,} items, width {width}, {layers} layers, {device}, {torch.get_num_threads()} threads")
    print(f"{'precision':>9} {'block':>6} {'sets/s':>12}")
    for precision in ("fp32", "bf16"):
        for block in BLOCKS:
            scorer = CandidateScorer(module, vectors, present, categories, device, precision, block)
            outfit = torch.tensor([[0, 1, 2]])
            allowed = int(torch.isfinite(scorer.addition_logits(outfit)).sum())
            print(f"{precision:>9} {block:>6} {allowed / seconds_per_step(scorer, outfit):>12,.0f}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
