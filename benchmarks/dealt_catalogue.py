"""How much memory S takes over a catalogue that is dealt to ranks: ``python benchmarks/dealt_catalogue.py``.

Mines targets for a few outfits from a catalogue of random embeddings in a memory-mapped file, in one process and then
in several (gloo), each in processes of its own. Prints the largest peak of the resident memory of a process, mapped
pages of the file included, with and without what libraries and catalogue take before S is built, and checks that
targets are equal to the bit.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import outfits.threads  # noqa: F401, before torch  # isort: skip

import numpy as np
import torch
import torch.distributed as dist
from machine import peak_memory, reset_peak_memory
from mining_memory import random_catalogue, random_tasks
from score_catalogue import IMAGE_DIM, MODELS, TEXT_DIM

from outfits.completion.search import expansion
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.config.schema.targets import TargetsConfig
from outfits.mining.search import Miner
from outfits.models.compatibility import OutfitTransformer

FIELDS = ("chosen", "logits", "candidates", "candidate_logits", "calls")


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Prints both measurements; returns the peaks in MiB and their ratio."""
    asked = _arguments(arguments)
    if asked.rank is not None:
        _mine(asked)
        return {}
    with tempfile.TemporaryDirectory() as folder:
        random_catalogue(Path(folder) / "vectors.npy", asked.items)
        one, several = (_run(asked, Path(folder), ranks) for ranks in (1, asked.ranks))
    different = [name for name in FIELDS if not np.array_equal(one[0][name], several[0][name])]
    measured = ((1, one), (asked.ranks, several))
    peaks = {ranks: max(rank["peak"] for rank in found) for ranks, found in measured}
    added = {ranks: max(rank["peak"] - rank["before"] for rank in found) for ranks, found in measured}
    ratio = added[asked.ranks] / added[1]
    print(f"{asked.items:,} items, width {asked.width or MODELS['default']['width']}, {asked.outfits} outfits, k = 2")
    for ranks, found in measured:
        states = ", ".join(f"{rank['states']:,.0f}" for rank in found)
        print(
            f"{ranks} process(es): S adds {added[ranks]:,.0f} MiB at most (states {states}, the rest mapped embeddings "
            f"and what is computed), {peaks[ranks]:,.0f} MiB with libraries and catalogue; {found[0]['seconds']:.1f} s"
        )
    print(
        f"S takes {ratio:.1%} of one process's memory, whole processes {peaks[asked.ranks] / peaks[1]:.1%}; "
        f"targets {'differ: ' + ', '.join(different) if different else 'equal'}"
    )
    if different:
        raise SystemExit(1)
    return {"one": peaks[1], "several": peaks[asked.ranks], "ratio": ratio}


def _run(asked: argparse.Namespace, folder: Path, ranks: int) -> list[dict[str, float]]:
    """What every rank measured and, under the names of its fields, the trace that the first one found."""
    programs = []
    for rank in range(ranks):
        options = [f"--{name}={value}" for name, value in vars(asked).items() if value is not None and name != "ranks"]
        options += [f"--folder={folder}", f"--rank={rank}", f"--ranks={ranks}"]
        programs.append(subprocess.Popen([sys.executable, __file__, *options]))
    statuses = [program.wait() for program in programs]
    if any(statuses):
        raise SystemExit("a process failed")
    measured = [json.loads((folder / f"{ranks}-{rank}.json").read_text()) for rank in range(ranks)]
    with np.load(folder / f"{ranks}-0.npz") as trace:
        measured[0] |= {name: trace[name] for name in trace.files}
    return measured


def _mine(asked: argparse.Namespace) -> None:
    """Mines as one of the ranks, and leaves what it measured in the folder."""
    expansion.CATALOGUE_PART = asked.part
    folder, cpu = Path(asked.folder), torch.device("cpu")
    if asked.ranks > 1:
        place = f"file://{folder}/rendezvous"
        dist.init_process_group("gloo", place, timedelta(minutes=30), world_size=asked.ranks, rank=asked.rank)
    torch.set_num_threads(1)
    catalogue = random_catalogue(folder / "vectors.npy", asked.items, written=True)
    torch.manual_seed(0)
    options = MODELS["default"] | ({} if asked.width is None else {"width": asked.width})
    scorer = OutfitTransformer(ScorerArchitecture(**options), IMAGE_DIM, TEXT_DIM).eval().requires_grad_(False)
    config = TargetsConfig(states="dealt" if asked.ranks > 1 else "whole", compile="never")
    reset_peak_memory(cpu)
    before = peak_memory(cpu) or float("nan")
    started = time.perf_counter()
    miner = Miner(scorer, catalogue, config, cpu)
    trace = miner.mine(random_tasks(asked.outfits, catalogue))
    measured = {
        "before": before,
        "peak": peak_memory(cpu) or float("nan"),
        "states": sum(part.nbytes for part in miner.context.scorer._items) / 2**20,
        "seconds": time.perf_counter() - started,
    }
    (folder / f"{asked.ranks}-{asked.rank}.json").write_text(json.dumps(measured))
    np.savez(folder / f"{asked.ranks}-{asked.rank}.npz", **{name: getattr(trace, name) for name in FIELDS})


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--items", type=int, default=655_360)
    parser.add_argument("--outfits", type=int, default=1)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--width", type=int, help="of S; by default that of the default model")
    parser.add_argument("--part", type=int, default=expansion.CATALOGUE_PART, help="items that are scored at once")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
