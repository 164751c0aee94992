"""Chooses the arithmetic of pretrained encoders."""

from contextlib import AbstractContextManager, nullcontext

import torch


def encoder_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Returns the type of matrix products; ``auto`` is bfloat16 on GPUs that support it and float32 elsewhere."""
    if precision == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Runs matrix products in the chosen type; weights, normalisations and softmax stay in float32."""
    dtype = encoder_dtype(precision, device)
    return nullcontext() if dtype is torch.float32 else torch.autocast(device.type, dtype=dtype)
