"""The arithmetic of a device, and how many sets fit into one forward pass."""

from collections.abc import Mapping
from functools import cache

import psutil
import torch

from outfits.config.schema.scorer import ScorerArchitecture

MEMORY_SHARE = 0.1
"""Share of a device's free memory that a forward pass may take."""
TYPICAL_TOKENS = 16
"""Tokens of a large outfit, for which a forward pass must still fit."""
LARGEST_BLOCK = {"cpu": 768, "cuda": 32_768}
"""Sets beyond which larger passes are not faster: on CPUs they leave the caches."""
CPU_BF16 = ("amx_bf16", "avx512_bf16")


def resolve_precision(precision: str, device: torch.device) -> str:
    """``fp32`` or ``bf16``; ``auto`` becomes bf16 where the hardware multiplies in it."""
    if precision not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision must be auto, fp32 or bf16, not {precision!r}")
    if precision != "auto":
        return precision
    return "bf16" if has_bf16(device) else "fp32"


def has_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16 products: AMX or AVX-512 on CPUs."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch lacks it
    return device.type == "cpu" and any(bool(capabilities.get(name)) for name in CPU_BF16)


def block_size(config: ScorerArchitecture, device: torch.device) -> int:
    """Sets in one forward pass of a model of this architecture, from the free memory found at the first call.

    The largest block or a power of two, so that small changes of the free memory do not change it: the rounding of
    logits depends on the block.
    """
    floats_per_token = 12 * config.width + 2 * config.feedforward
    bytes_per_set = 4 * TYPICAL_TOKENS * (floats_per_token + TYPICAL_TOKENS * config.width)
    fitting = max(16, int(MEMORY_SHARE * _free_bytes(device) / bytes_per_set))
    largest = LARGEST_BLOCK.get(device.type, 4096)
    return largest if fitting >= largest else 2 ** (fitting.bit_length() - 1)


@cache
def _free_bytes(device: torch.device) -> int:
    """Free memory, found once per device, so that blocks, and with them bits, stay the same in one process."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)
