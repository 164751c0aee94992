"""Texts as the tokens of a multi-task network, and back."""

from collections.abc import Iterable, Sequence

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor

from outfits.encoders.multitask.losses import IGNORED
from outfits.encoders.multitask.settings import ClipSettings
from outfits.errors import ConfigError

PAD = 0  # what CLIP's tokenizer puts after the end


def training_vocabulary(texts: Iterable[str]) -> NDArray[np.int64]:
    """Numbers of the tokens of CLIP's tokenizer in some texts, ascending, with padding, begin and end."""
    tokenizer = open_clip.SimpleTokenizer()
    found = {PAD, tokenizer.sot_token_id, tokenizer.eot_token_id}
    for text in dict.fromkeys(texts):
        found.update(tokenizer.encode(text))
    return np.array(sorted(found), dtype=np.int64)


class Tokens:
    """The tokenizer of a network.

    Args:
        settings: of its CLIP model.
        vocabulary: tokens of training texts, ascending, int64, shape ``[words]``.

    Raises:
        ConfigError: if the words of captions are asked of a tokenizer other than CLIP's.
    """

    def __init__(self, settings: ClipSettings, vocabulary: NDArray[np.int64]) -> None:
        self.settings = settings
        self.vocabulary = vocabulary
        name, length = settings.tokenizer, settings.context_length
        self._clip = open_clip.SimpleTokenizer(context_length=length)
        self._other = None if name is None else open_clip.get_tokenizer(name)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Tokens as the CLIP model numbers them, ``[B, context_length]``.

        A reduced model leaves out tokens that no training text has.
        """
        if self._other is not None:
            other: Tensor = self._other(list(texts))
            return other
        rows = np.full((len(texts), self.settings.context_length), PAD, dtype=np.int64)
        for row, text in enumerate(texts):
            inner = self._known(text)[: self.settings.context_length - 2]
            whole = [self._clip.sot_token_id, *inner, self._clip.eot_token_id]
            rows[row, : len(whole)] = np.searchsorted(self.vocabulary, whole) if self.settings.reduced else whole
        return torch.from_numpy(rows)

    def known(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which texts have a token that the model knows, shape ``[B]``."""
        if self._other is not None:
            return np.ones(len(texts), dtype=np.bool_)
        return np.array([bool(self._known(text)) for text in texts], dtype=np.bool_)

    def next_words(self, tokens: Tensor) -> Tensor:
        """Places in the vocabulary of the token after each but the last, ``[B, L - 1]``; ignored after the end.

        Raises:
            ConfigError: if the tokens are not those of CLIP's tokenizer.
        """
        self.require_words()
        following = tokens[:, 1:]
        ended = torch.arange(following.shape[1]) >= tokens.argmax(1, keepdim=True)
        if self.settings.reduced:
            return following.masked_fill(ended, IGNORED)
        known = torch.from_numpy(self.vocabulary)
        places = torch.searchsorted(known, following.contiguous()).clamp(max=len(known) - 1)
        return places.masked_fill(ended | (known[places] != following), IGNORED)

    def require_words(self) -> None:
        """Raises ConfigError if the tokenizer is not CLIP's, whose begin and end captions need."""
        if self._other is not None:
            text = f"captioning needs CLIP's tokenizer, and {self.settings.name} has another; leave it out"
            raise ConfigError([f"multitask.tasks: {text}"])

    @property
    def begin(self) -> int:
        """Number, for the CLIP model, of the token before a text."""
        token = int(self._clip.sot_token_id)
        return int(np.searchsorted(self.vocabulary, token)) if self.settings.reduced else token

    @property
    def end(self) -> int:
        """Place in the vocabulary of the token after a text."""
        return int(np.searchsorted(self.vocabulary, int(self._clip.eot_token_id)))

    def text(self, words: Sequence[int]) -> str:
        """The text of words, given by their places in the vocabulary."""
        return str(self._clip.decode([int(self.vocabulary[word]) for word in words])).strip()

    def _known(self, text: str) -> list[int]:
        found: list[int] = self._clip.encode(text)
        if not self.settings.reduced:
            return found
        places = np.searchsorted(self.vocabulary, found).clip(max=len(self.vocabulary) - 1)
        return [token for token, place in zip(found, places, strict=True) if self.vocabulary[place] == token]
