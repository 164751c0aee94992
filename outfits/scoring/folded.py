r"""S's weights for fast inference: the linear part of every layer norm is folded into the products beside it.

With :math:`\mathrm{LN}(x) = \gamma \odot (x - \bar x) / \sigma(x) + \beta`,

- :math:`\gamma` and :math:`\beta` go into the product behind it:
  :math:`W\,\mathrm{LN}(x) + b = (W \mathrm{diag}\,\gamma)\,(x - \bar x) / \sigma(x) + (W \beta + b)`;
- the mean over the features is taken off the tokens at the start and off the columns of every product that is added to
  them, so that :math:`\bar x = 0` throughout: only norms look at the tokens, and none of them needs the mean. A linear
  head reads the task token itself; then the mean stays, and the norms take it off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.polynomial import Chebyshev, Polynomial
from scipy.special import erf
from torch import Tensor, nn

from outfits.models.compatibility import EncoderBlock, OutfitTransformer

UPPER_HALF = -(2**16)
GELU_RANGE = 4.0


@dataclass(frozen=True)
class Affine:
    """A matrix product ``[out, in]``, in the arithmetic of the products, and a float32 bias ``[out, 1]``."""

    weight: Tensor
    bias: Tensor

    def __call__(self, columns: Tensor) -> Tensor:
        """Float32 ``[out, ...]`` of columns ``[in, ...]``."""
        return self.linear(columns) + self.bias.view(-1, *[1] * (columns.ndim - 1))

    def linear(self, columns: Tensor) -> Tensor:
        """The product without the bias."""
        product = self.weight @ columns.to(self.weight.dtype).reshape(len(columns), -1)
        return product.float().view(-1, *columns.shape[1:])

    def linear_of_both_halves(self, columns: Tensor) -> Tensor:
        """The product without the bias; weights in bf16 multiply the columns' upper 16 bits and the rest separately.

        The upper bits are a bf16 number. Bits are cut off, not rounded: compilers remove a rounding to and fro.
        """
        if self.weight.dtype != torch.bfloat16:
            return self.linear(columns)
        upper = (columns.view(torch.int32) & UPPER_HALF).view(torch.float32)
        return self.linear(upper) + self.linear(columns - upper)

    def rows(self, start: int, stop: int) -> "Affine":
        """The product for some of the outputs."""
        return Affine(self.weight[start:stop], self.bias[start:stop])


@dataclass(frozen=True)
class FoldedBlock:
    """A layer of S whose layer norms have no weights left; ``projections`` are queries scaled by
    ``1 / sqrt(width / heads)``, then keys, then values, ``up`` and ``down`` the products of the feed-forward part."""

    projections: Affine
    attention_out: Affine
    up: Affine
    down: Affine

    @property
    def query(self) -> Affine:
        """Queries alone."""
        return self.projections.rows(0, len(self.projections.bias) // 3)

    @property
    def key_value(self) -> Affine:
        """Keys, then values."""
        return self.projections.rows(len(self.projections.bias) // 3, len(self.projections.bias))


@dataclass(frozen=True)
class FoldedTransformer:
    """Everything of S behind the item tokens.

    Attributes:
        task: the task token without its mean, float32, shape ``[width]``.
        head_in: first product of the head, in float32, as is ``head_out``; None where the head is linear.
        activation: that of the layers, see :func:`gelu_for_bf16`.
        centred: whether columns have no mean; a linear head reads the mean too, so that norms have to take it off.
        norm_eps: what the layer norms add to the variance.
    """

    task: Tensor
    blocks: tuple[FoldedBlock, ...]
    head_in: Affine | None
    head_out: Affine
    width: int
    heads: int
    activation: Callable[[Tensor], Tensor]
    norm_eps: float
    centred: bool


def gelu_for_bf16(x: Tensor) -> Tensor:
    r"""GELU to 10⁻⁴ for :math:`|x| \le 4`, beyond to :math:`3 \cdot 10^{-5} |x|`: far less than rounding to bf16.

    :math:`x \,(1 + \mathrm{erf}(x / \sqrt 2)) / 2` with :math:`\mathrm{erf}(x / \sqrt 2) / (2 x)` as a polynomial in
    :math:`x^2` for :math:`|x| \le 4`, where erf has reached 1 to four digits.
    """
    within = x.clamp(-GELU_RANGE, GELU_RANGE)
    square = within * within
    polynomial = torch.full_like(x, GELU_COEFFICIENTS[-1])
    for coefficient in GELU_COEFFICIENTS[-2::-1]:
        polynomial = polynomial * square + coefficient
    return x * (0.5 + within * polynomial)


def _gelu_coefficients() -> tuple[float, ...]:
    """Coefficients by powers of :math:`x^2`, fitted at Chebyshev's points."""
    squares = GELU_RANGE**2 * (0.5 - 0.5 * np.cos(np.pi * (np.arange(400) + 0.5) / 400))
    x = np.sqrt(squares)
    fitted = Chebyshev.fit(squares, erf(x / 2**0.5) / (2 * x), deg=8, domain=[0, GELU_RANGE**2])
    return tuple(fitted.convert(kind=Polynomial).coef.tolist())


GELU_COEFFICIENTS = _gelu_coefficients()


def fold(module: OutfitTransformer, dtype: torch.dtype) -> FoldedTransformer:
    """Folds S's weights, on S's device; ``dtype`` is that of products between tokens, the head stays in float32."""
    blocks = [cast(EncoderBlock, block) for block in module.blocks]
    scale = (module.config.width // module.config.heads) ** -0.5
    *hidden, head_out = module.head
    centred = bool(hidden)
    task = module.task - module.task.mean() if centred else module.task
    return FoldedTransformer(
        task=task.detach().float(),
        blocks=tuple(
            FoldedBlock(
                projections=_stacked(
                    _affine(block.query, dtype, block.attention_norm, scale),
                    _affine(block.key_value, dtype, block.attention_norm),
                ),
                attention_out=_affine(block.attention_out, dtype, centred=centred),
                up=_affine(cast(nn.Linear, block.feedforward[0]), dtype, block.feedforward_norm),
                down=_affine(cast(nn.Linear, block.feedforward[2]), dtype, centred=centred),
            )
            for block in blocks
        ),
        head_in=_affine(cast(nn.Linear, hidden[1]), torch.float32, cast(nn.LayerNorm, hidden[0])) if hidden else None,
        head_out=_affine(cast(nn.Linear, head_out), torch.float32),
        width=module.config.width,
        heads=module.config.heads,
        activation=_activation(module.config.activation, dtype),
        norm_eps=blocks[0].attention_norm.eps,
        centred=centred,
    )


def _activation(name: str, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    if name == "mish":
        return F.mish
    return gelu_for_bf16 if dtype == torch.bfloat16 else F.gelu


def _affine(
    linear: nn.Linear,
    dtype: torch.dtype,
    norm: nn.LayerNorm | None = None,
    scale: float = 1.0,
    centred: bool = False,
) -> Affine:
    weight, bias = linear.weight.detach().double(), linear.bias.detach().double()
    if norm is not None:
        bias = bias + weight @ norm.bias.detach().double()
        weight = weight * norm.weight.detach().double()
    if centred:
        weight, bias = weight - weight.mean(0), bias - bias.mean()
    return Affine((weight * scale).to(dtype).contiguous(), (bias * scale).float()[:, None].contiguous())


def _stacked(*parts: Affine) -> Affine:
    return Affine(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]))
