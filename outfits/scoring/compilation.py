"""Compiled functions that fall back to plain ones."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._dynamo import maybe_mark_dynamic
from torch._dynamo.exc import TorchDynamoException

COMPILED_MULTIPLE = 16
"""Compiled code scores a multiple of this number of sets: the float32 lanes of the widest common CPU vectors."""


@cache
def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compiles the function for its arguments' shapes at the first call; warns and keeps it plain where that fails.

    Compilation takes some ten seconds and a C++ compiler (on GPUs Triton); torch keeps the result on disk.
    """
    quick: Callable[..., Tensor] | None = torch.compile(function)

    def call(*arguments: Any) -> Tensor:
        nonlocal quick
        if quick is not None:
            try:
                return quick(*arguments)
            except TorchDynamoException as error:
                reason = str(error).strip().splitlines()[0]
                warnings.warn(f"S is not compiled, and slower for it: {reason}", RuntimeWarning, stacklevel=2)
                quick = None
        return function(*arguments)

    return call


def of_any_size(tensor: Tensor, *dimensions: int) -> Tensor:
    """Marks the tensor, so that one compiled function serves all its sizes along these dimensions."""
    for dimension in dimensions:
        if tensor.shape[dimension] > 1:
            maybe_mark_dynamic(tensor, dimension)
    return tensor
