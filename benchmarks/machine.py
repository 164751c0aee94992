"""What the benchmarks ask of the machine: time, memory, its name and its best."""

import platform
import re
import time
from collections.abc import Callable
from pathlib import Path

import torch


def matrix_peak(dtype: torch.dtype, device: torch.device, side: int | None = None) -> float:
    """Operations per second of square matrix products, the best of several runs: this machine's own peak."""
    side = side or (8192 if device.type == "cuda" else 2048)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times = [seconds(lambda: left @ right, device) for _ in range(9)]
    return float(2 * side**3 / min(times))


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, queued GPU work included."""
    synchronise(device)
    started = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - started


def synchronise(device: torch.device) -> None:
    """Waits for queued GPU work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new measurement of the peak; on Linux for a CPU, elsewhere the peak is of the whole run."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> float | None:
    """Largest memory in MiB since the reset; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 2**10


def cpu_name() -> str:
    """What the system calls its processor."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()
