"""Captions word by word: greedy and beam search."""

from collections.abc import Sequence

import torch
from torch import Tensor

from outfits.encoders.multitask.network import MultitaskNetwork
from outfits.encoders.multitask.tokens import Tokens


@torch.inference_mode()
def caption(network: MultitaskNetwork, tokens: Tokens, images: Tensor, width: int = 3) -> list[str]:
    """The likeliest text of every image ``[B, 3, S, S]`` by beam search.

    Hypotheses are compared by the mean log-probability of their words, the end among them. With ``width=1`` the
    likeliest word follows at every step.
    """
    memory = [part.repeat_interleave(width, 0) for part in network.memory(images)]
    found = beam_search(network, memory, tokens, len(images), width)
    return [tokens.text(words) for words in found]


def beam_search(
    network: MultitaskNetwork, memory: Sequence[Tensor], tokens: Tokens, count: int, width: int
) -> list[list[int]]:
    """Words of the best hypothesis for each of ``count`` images, whose memory is repeated ``width`` times each."""
    device, longest = memory[0].device, tokens.settings.context_length - 1
    ids = torch.full((count * width, 1), tokens.begin, device=device)
    words = torch.zeros((count, width, 0), dtype=torch.int64, device=device)
    scores = torch.full((count, width), -torch.inf, device=device)
    scores[:, 0] = 0.0  # all hypotheses of an image begin alike
    ended = torch.zeros((count, width), dtype=torch.bool, device=device)
    lengths = torch.zeros((count, width), device=device)
    for _ in range(longest):
        logits = network.word_logits(memory, ids)[:, -1].float().log_softmax(-1).view(count, width, -1)
        number = logits.shape[-1]
        # an ended hypothesis stays as it is, by one more end that costs nothing
        stays = torch.full((number,), -torch.inf, device=device)
        stays[tokens.end] = 0.0
        logits = torch.where(ended[..., None], stays, logits)
        totals = scores[..., None] + logits
        after = (lengths + (~ended).float())[..., None]
        order = (totals / after).flatten(1).topk(width, dim=1).indices  # [count, width]
        parent, word = order // number, order % number
        scores = totals.flatten(1).gather(1, order)
        lengths = after[..., 0].gather(1, parent)
        words = torch.cat([words.gather(1, parent[..., None].expand(-1, -1, words.shape[2])), word[..., None]], 2)
        ended = ended.gather(1, parent) | (word == tokens.end)
        ids = torch.cat([torch.full_like(ids[:, :1], tokens.begin), network.token_of(words).flatten(0, 1)], 1)
        if bool(ended.all()):
            break
    best = (scores / lengths.clamp(min=1)).argmax(1)
    return [_until_end(words[row, place].tolist(), tokens.end) for row, place in enumerate(best.tolist())]


def _until_end(words: list[int], end: int) -> list[int]:
    return words[: words.index(end)] if end in words else words
