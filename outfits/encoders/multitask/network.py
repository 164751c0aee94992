"""The multi-task network: FAME-ViL (Han et al. 2023) around any open_clip model whose towers are equally deep."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from outfits.config.schema.multitask import (
    CAPTIONING,
    RECOGNITION,
    REFINEMENT,
    RETRIEVAL,
    TASKS,
    MultitaskArchitecture,
)
from outfits.encoders.multitask.adapters import Adapter, CrossAttentionAdapter
from outfits.encoders.multitask.settings import ClipSettings
from outfits.encoders.multitask.towers import padding, towers_of, unit
from outfits.weights import Network

IMAGE, TEXT = "image", "text"
TEMPERATURE = 0.07  # of a contrastive loss, before it is learned
LARGEST_SCALE = 100.0  # of similarities in a contrastive loss, as in CLIP


@dataclass(frozen=True)
class Gates:
    """Which towers read the other one: the gate of the cross-attention adapters."""

    image_reads: bool
    text_reads: bool


APART = Gates(image_reads=False, text_reads=False)
GATES = {
    RETRIEVAL: APART,
    REFINEMENT: Gates(image_reads=True, text_reads=True),
    RECOGNITION: Gates(image_reads=True, text_reads=True),
    CAPTIONING: Gates(image_reads=False, text_reads=True),
}
"""The gate of every task; of refinement that of the query, its target is encoded apart."""


class MultitaskNetwork(Network[MultitaskArchitecture]):
    r"""Puts adapters into every layer of both towers of a CLIP model.

    With :math:`z'` the output of a layer's self-attention with its residual and :math:`y` the same of the other tower,
    a layer is :math:`z = \mathrm{MLP}(\mathrm{LN}(z')) + z' + \mathrm{TSA}_t(z') + \epsilon_t \mathrm{XAA}(z', y)`
    for task t. Adapters start at 0, so that the untrained network is the CLIP model.

    Args:
        config: tasks and widths of the adapters.
        clip: JSON of :class:`outfits.encoders.multitask.settings.ClipSettings`.
        categories: number of categories.
        words: number of tokens of training texts.
    """

    vocabulary: Tensor

    def __init__(self, config: MultitaskArchitecture, clip: str, categories: int, words: int) -> None:
        super().__init__(MultitaskArchitecture, config, clip=clip, categories=categories, words=words)
        self.clip_settings = ClipSettings.from_json(clip)
        self.clip = self.clip_settings.build()
        self.normalisation = self.clip_settings.normalisation
        self.image, self.text = towers_of(self.clip, self.clip_settings.name)
        tasks, towers = self.config.tasks, {IMAGE: self.image, TEXT: self.text}
        width, bottleneck, dropout = self.clip_settings.embed_dim, self.config.bottleneck, self.config.dropout
        self.adapters = nn.ModuleDict(
            {
                f"{task}_{name}": nn.ModuleList(Adapter(tower.width, bottleneck, dropout) for _ in range(tower.layers))
                for task in TASKS
                if task in tasks
                for name, tower in towers.items()
            }
        )
        self.cross = nn.ModuleDict(
            {
                name: nn.ModuleList(
                    CrossAttentionAdapter(
                        reading.width, read.width, reading.heads, self.config.cross_bottleneck, dropout
                    )
                    for _ in range(reading.layers)
                )
                for name, reading, read, wanted in (
                    (IMAGE, self.image, self.text, {REFINEMENT, RECOGNITION}),
                    (TEXT, self.text, self.image, {REFINEMENT, RECOGNITION, CAPTIONING}),
                )
                if wanted & set(tasks)
            }
        )
        self.log_scales = nn.ParameterDict(
            {
                task: nn.Parameter(torch.tensor(1 / TEMPERATURE).log())
                for task in (RETRIEVAL, REFINEMENT)
                if task in tasks or task == RETRIEVAL
            }
        )
        self.classes = nn.Linear(width, categories) if RECOGNITION in tasks else None
        self.words = nn.Linear(self.text.width, words) if CAPTIONING in tasks else None
        self.register_buffer("vocabulary", torch.zeros(words, dtype=torch.int64))

    @torch.no_grad()
    def begin_from(self, vocabulary: Tensor, clip: nn.Module | None) -> None:
        """Takes over the tokens of training texts ``[words]``, ascending, and, if given, the weights of a CLIP model.

        Words are predicted from their embeddings at first.
        """
        self.vocabulary.copy_(vocabulary)
        if clip is not None:
            self.clip.load_state_dict(clip.state_dict())
        if self.words is not None:
            self.words.weight.copy_(self.token_table.weight[self.token_of(torch.arange(len(vocabulary)))])
            nn.init.zeros_(self.words.bias)

    def task_or_none(self, task: str) -> str | None:
        """The task if the network has adapters for it; None, for none, otherwise."""
        return task if task in self.config.tasks else None

    @property
    def token_table(self) -> nn.Embedding:
        """Embeddings of the CLIP model's tokens."""
        table: nn.Embedding = getattr(self.clip, "text", self.clip).token_embedding
        return table

    def token_of(self, words: Tensor) -> Tensor:
        """Numbers, for the CLIP model, of tokens by their place in the vocabulary."""
        return words if self.clip_settings.reduced else self.vocabulary[words]

    def scale(self, task: str) -> Tensor:
        """The learned factor, an inverse temperature, of similarities in the contrastive loss of a task."""
        found: Tensor = self.log_scales[task].exp().clamp(max=LARGEST_SCALE)
        return found

    def image_vectors(self, images: Tensor, task: str | None = RETRIEVAL) -> Tensor:
        """Vectors of unit length ``[B, D]`` of images ``[B, 3, S, S]``, with a task's adapters or none."""
        states = self.image.embed(images)
        for layer in range(self.image.layers):
            states = self._fed(IMAGE, layer, self.image.attend(layer, states, None), task)
        return unit(self.image.finish(states, images))

    def text_vectors(self, tokens: Tensor, task: str | None = RETRIEVAL) -> Tensor:
        """Vectors of unit length ``[B, D]`` of tokens ``[B, L]``, with a task's adapters or none."""
        tokens = self._trimmed(tokens)
        states, mask = self.text.embed(tokens), self.text.mask(tokens.shape[1])
        for layer in range(self.text.layers):
            states = self._fed(TEXT, layer, self.text.attend(layer, states, mask), task)
        return unit(self.text.finish(states, tokens))

    def fused(self, images: Tensor, tokens: Tensor, task: str, gates: Gates | None = None) -> tuple[Tensor, Tensor]:
        """Vectors of unit length, ``[B, D]`` each, of images and texts that read each other by their gates."""
        gates, tokens = gates or GATES[task], self._trimmed(tokens)
        absent = padding(tokens) if self.clip_settings.marks_end else None
        image, text = self.image.embed(images), self.text.embed(tokens)
        mask = self.text.mask(tokens.shape[1])
        for layer in range(self.text.layers):
            seen, said = self.image.attend(layer, image, None), self.text.attend(layer, text, mask)
            image, text = self._fed(IMAGE, layer, seen, task), self._fed(TEXT, layer, said, task)
            if gates.image_reads:
                image = image + self.cross[IMAGE][layer](seen, said, absent)  # type: ignore[index]
            if gates.text_reads:
                text = text + self.cross[TEXT][layer](said, seen)  # type: ignore[index]
        return unit(self.image.finish(image, images)), unit(self.text.finish(text, tokens))

    def refined(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Queries ``[B, D]`` of unit length: what images would be if texts ``[B, L]`` came true."""
        return unit(sum_of(self.fused(images, tokens, REFINEMENT)))

    def class_logits(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Logits of the categories, ``[B, categories]``; a text may have no word."""
        assert self.classes is not None
        found: Tensor = self.classes(sum_of(self.fused(images, tokens, RECOGNITION)))
        return found

    def memory(self, images: Tensor) -> list[Tensor]:
        """What captions read of images: z' of every layer, ``[B, M, width]`` each."""
        states, found = self.image.embed(images), []
        for layer in range(self.image.layers):
            found.append(self.image.attend(layer, states, None))
            states = self._fed(IMAGE, layer, found[-1], CAPTIONING)
        return found

    def word_logits(self, memory: Sequence[Tensor], tokens: Tensor) -> Tensor:
        """Logits of the next word after every token ``[B, L]``, ``[B, L, words]``, by :meth:`memory` of the images."""
        assert self.words is not None
        states, mask = self.text.embed(tokens), self.text.mask(tokens.shape[1], causal=True)
        for layer, seen in enumerate(memory):
            said = self.text.attend(layer, states, mask)
            read = self.cross[TEXT][layer](said, seen)  # type: ignore[index]
            states = self._fed(TEXT, layer, said, CAPTIONING) + read
        found: Tensor = self.words(self.text.normed(states))
        return found

    def _fed(self, name: str, layer: int, x: Tensor, task: str | None) -> Tensor:
        """A layer's output from z', without cross-attention."""
        tower = self.image if name == IMAGE else self.text
        found = x + tower.feed(layer, x)
        return found if task is None else found + self.adapters[f"{task}_{name}"][layer](x)  # type: ignore[index]

    def _trimmed(self, tokens: Tensor) -> Tensor:
        """Tokens without what is padding in all rows; a tower in which tokens see later ones needs all."""
        if not (self.text.causal and self.clip_settings.marks_end):
            return tokens
        return tokens[:, : int(tokens.argmax(1).max()) + 1]


def sum_of(pair: tuple[Tensor, Tensor]) -> Tensor:
    """The fused output of both towers, ``[B, D]``."""
    return pair[0] + pair[1]
