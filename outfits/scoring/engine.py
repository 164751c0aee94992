"""S's network arranged for scoring many additions to one outfit: no shared term is computed twice.

Arrays are feature-major, ``[width, tokens, sets]``: a matrix product is one call for all tokens of all sets, and what
stands between two products (norms, attention over a handful of tokens, GELU) runs along the sets, where neighbouring
values do not depend on each other. A compiler fuses it into few passes without reductions across a vector.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from outfits.models.compatibility import OutfitTransformer
from outfits.scoring.compilation import COMPILED_MULTIPLE, compiled, of_any_size
from outfits.scoring.folded import FoldedBlock, FoldedTransformer, fold


class ItemStates(NamedTuple):
    """What S computes of items alone, in any outfit: float32 tokens ``[..., width]``, without their mean if the network
    is centred, and queries, keys and values of the first layer ``[..., 3 * width]``."""

    tokens: Tensor
    first: Tensor

    def at(self, positions: Tensor) -> "ItemStates":
        """The states at positions ``[...]``."""
        return ItemStates(self.tokens[positions], self.first[positions])


class OutfitStates(NamedTuple):
    """What S computes of ``g`` outfits of ``n`` items before anything is added; the task token stands first.

    Attributes:
        attended: task token and item tokens after they attended to each other in the first layer, float32, shape
            ``[width, 1 + n, g]``; so are their query, key and value.
        mixed: the values that they attend to among themselves, shape ``[width, 1 + n, g]``.
        log_mass: log of the sum of exponentials of that attention, shape ``[heads, 1 + n, g]``.
    """

    attended: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    mixed: Tensor
    log_mass: Tensor

    def at(self, rows: Tensor) -> "OutfitStates":
        """The states of outfits ``rows``, one for each addition, shape ``[..., len(rows)]``."""
        return OutfitStates(*(state[..., rows] for state in self))


class ScoringEngine:
    """Logits of a frozen S, computed with as little work as the formula allows.

    Equal to :class:`outfits.models.compatibility.OutfitTransformer` up to rounding. Without positional encoding the
    first layer's queries, keys and values of an item are the same in every outfit, and the attention among the outfit's
    tokens is the same for every candidate: a candidate joins it by one sigmoid per head and token. The last layer
    updates the task token alone.

    Args:
        module: S in evaluation mode, on the device where to compute.
        precision: ``fp32`` or ``bf16``; bf16 is used for the matrix products for every candidate, float32 between them
            and for what is computed once per item or outfit.
        compile: whether additions to a single outfit, of which there are thousands, go through compiled code, see
            :func:`outfits.scoring.compilation.compiled`.
    """

    def __init__(self, module: OutfitTransformer, precision: str = "fp32", compile: bool = False) -> None:
        self._module = module
        self._folded = fold(module, torch.bfloat16 if precision == "bf16" else torch.float32)
        self._once = self._folded if precision == "fp32" else fold(module, torch.float32)
        self._compiled = compiled(_addition_logits) if compile else None

    def item_states(self, vectors: Tensor, present: Tensor) -> ItemStates:
        """States of items with embeddings ``[B, d]`` and presence ``[B, 2]``."""
        tokens = self._module.tokens(vectors, present).float()
        if self._once.centred:
            tokens = tokens - tokens.mean(dim=-1, keepdim=True)
        return ItemStates(tokens, self._once.blocks[0].projections(_normed(self._once, tokens.T)).T.contiguous())

    def empty_states(self, count: int) -> ItemStates:
        """Uninitialised states of ``count`` items."""
        device, width = self._folded.task.device, self._folded.width
        return ItemStates(torch.empty(count, width, device=device), torch.empty(count, 3 * width, device=device))

    def outfit_states(self, items: ItemStates) -> OutfitStates:
        """States of ``g`` outfits from those of their items ``[g, n]``."""
        network, block = self._once, self._once.blocks[0]
        task = network.task[:, None]
        ahead = block.projections(_normed(network, task))[:, :, None]  # [3 * width, 1, 1]
        outfits = len(items.tokens)
        tokens = torch.cat([task[:, :, None].expand(-1, 1, outfits), items.tokens.permute(2, 1, 0)], dim=1)
        projected = torch.cat([ahead.expand(-1, 1, outfits), items.first.permute(2, 1, 0)], dim=1)
        query, key, value = projected.chunk(3)
        scores = _scores(query, key, network.heads)  # [heads, 1 + n, 1 + n, g]
        mixed = _mix(torch.softmax(scores, dim=2), value)
        attended = tokens + block.attention_out(mixed)
        states = (attended, query, key, value, mixed, torch.logsumexp(scores, dim=2))
        return OutfitStates(*(state.contiguous() for state in states))

    def addition_logits(self, outfits: OutfitStates, candidates: ItemStates) -> Tensor:
        """Logits ``[B]`` of one outfit, ``g = 1``, or of ``B`` outfits with a candidate ``[B]`` each."""
        if self._compiled is None or outfits.attended.shape[2] > 1:
            return _addition_logits(self._folded, outfits, candidates)
        count = len(candidates.tokens)
        if count % COMPILED_MULTIPLE:
            filled = torch.arange(-(-count // COMPILED_MULTIPLE) * COMPILED_MULTIPLE, device=candidates.tokens.device)
            candidates = candidates.at(filled.clamp(max=count - 1))  # the last one again
        any_outfit = OutfitStates(*(of_any_size(state, 1) for state in outfits))
        any_candidate = ItemStates(*(of_any_size(state, 0) for state in candidates))
        return self._compiled(self._folded, any_outfit, any_candidate)[:count]

    def set_logits(self, items: ItemStates) -> Tensor:
        """Logits ``[B]`` of sets, given as the states of their items ``[B, n]``."""
        return _logits(self._folded, _task_output(self._folded, _with_task(self._folded, items.tokens)))

    def set_embeddings(self, items: ItemStates) -> Tensor:
        """The task token's output for sets ``[B, n]``, float32, shape ``[B, width]``; centred as item tokens are."""
        return _task_output(self._folded, _with_task(self._folded, items.tokens)).T


def _addition_logits(network: FoldedTransformer, outfits: OutfitStates, candidates: ItemStates) -> Tensor:
    return _logits(network, _task_output(network, _first_layer(network, outfits, candidates), done=1))


def _with_task(network: FoldedTransformer, tokens: Tensor) -> Tensor:
    """Columns ``[width, 1 + n, B]`` of item tokens ``[B, n, width]``, the task token first."""
    task = network.task[:, None, None].expand(-1, 1, len(tokens))
    return torch.cat([task, tokens.permute(2, 1, 0)], dim=1)


def _first_layer(network: FoldedTransformer, outfits: OutfitStates, candidates: ItemStates) -> Tensor:
    """Columns after the first layer: ``[width, n + 2, B]``, or those of the task token if it is the only layer."""
    block, heads = network.blocks[0], network.heads
    own = candidates.tokens.T[:, None]  # [width, 1, B]
    query, key, value = candidates.first.T[:, None].chunk(3)
    kept = 1 if len(network.blocks) == 1 else None
    attended, mixed, log_mass = outfits.attended[:, :kept], outfits.mixed[:, :kept], outfits.log_mass[:, :kept]
    share = torch.sigmoid(_scores(outfits.query[:, :kept], key, heads).squeeze(2) - log_mass)  # [heads, 1 + n, B]
    change = _per_feature(share, network.width) * (value - mixed)  # of what the outfit's tokens attend to
    columns = attended.expand(-1, -1, own.shape[2])
    if kept is None:
        scores = torch.cat([_scores(query, outfits.key, heads), _scores(query, key, heads)], dim=2)
        attention = torch.softmax(scores, dim=2)  # [heads, 1, n + 2, B]
        answer = _mix(attention[:, :, :-1], outfits.value)
        change = torch.cat([change, answer + _per_feature(attention[:, :, -1], network.width) * value], dim=1)
        columns = torch.cat([columns, own + block.attention_out.bias[:, :, None]], dim=1)
    # Of all roundings to bf16, that of this product's input moves the logits most.
    return _feedforward(network, block, columns + block.attention_out.linear_of_both_halves(change))


def _task_output(network: FoldedTransformer, columns: Tensor, done: int = 0) -> Tensor:
    """The task token's output ``[width, B]`` from columns ``[width, T, B]`` after the first ``done`` layers."""
    for block in network.blocks[done:-1]:
        columns = _layer(network, block, columns)
    if done < len(network.blocks):
        columns = _layer(network, network.blocks[-1], columns, updated=1)
    return columns[:, 0]


def _layer(network: FoldedTransformer, block: FoldedBlock, columns: Tensor, updated: int | None = None) -> Tensor:
    """The first ``updated`` tokens (all by default) after a layer, ``[width, updated, B]``."""
    normed = _normed(network, columns)
    if updated is None:
        query, key, value = block.projections(normed).chunk(3)
    else:
        query, (key, value) = block.query(normed[:, :updated]), block.key_value(normed).chunk(2)
    attention = torch.softmax(_scores(query, key, network.heads), dim=2)
    columns = columns[:, :updated] + block.attention_out(_mix(attention, value))
    return _feedforward(network, block, columns)


def _feedforward(network: FoldedTransformer, block: FoldedBlock, columns: Tensor) -> Tensor:
    return columns + block.down(network.activation(block.up(_normed(network, columns))))


def _logits(network: FoldedTransformer, task: Tensor) -> Tensor:
    """Logits ``[B]`` of task tokens ``[width, B]``."""
    if network.head_in is None:
        return network.head_out(task)[0]
    return network.head_out(F.gelu(network.head_in(_normed(network, task))))[0]


def _normed(network: FoldedTransformer, columns: Tensor) -> Tensor:
    """Layer norm, without weights, of columns ``[width, ...]``."""
    if not network.centred:
        columns = columns - columns.mean(0, keepdim=True)
    return columns * torch.rsqrt(columns.square().mean(0, keepdim=True) + network.norm_eps)


def _scores(query: Tensor, key: Tensor, heads: int) -> Tensor:
    """Products of queries ``[width, Q, B]`` and keys ``[width, T, B]`` by head, ``[heads, Q, T, B]``; B may be 1."""
    query = query.view(heads, -1, *query.shape[1:]).unsqueeze(3)
    return (query * key.view(heads, -1, *key.shape[1:]).unsqueeze(2)).sum(1)


def _mix(attention: Tensor, value: Tensor) -> Tensor:
    """Values ``[width, T, B]`` weighted by attention ``[heads, Q, T, B]``, ``[width, Q, B]``."""
    heads, queries, _, batch = attention.shape
    mixed = (attention[:, None] * value.view(heads, -1, *value.shape[1:]).unsqueeze(2)).sum(3)
    return mixed.view(-1, queries, batch)


def _per_feature(by_head: Tensor, width: int) -> Tensor:
    """Repeats every head's value ``[heads, ...]`` for each of its features, ``[width, ...]``."""
    return by_head.repeat_interleave(width // len(by_head), dim=0)
