"""The CLIP model inside a multi-task network: its architecture, its tokens and how images are prepared for it."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from inspect import signature
from typing import Any

import open_clip
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import nn

from outfits.config.schema.multitask import SMALL, MultitaskConfig, SmallClipConfig
from outfits.encoders.images import Prepare
from outfits.encoders.open_clip import OpenClip, resized
from outfits.errors import ConfigError

CLASSES = {"CLIP": CLIP, "CustomTextCLIP": CustomTextCLIP}
SECTION = "multitask"


@dataclass(frozen=True)
class ClipSettings:
    """What a CLIP model is built from.

    Attributes:
        name: of the model, for messages.
        kind: open_clip's class, a key of :data:`CLASSES`.
        model: arguments of that class.
        preprocess: how images are resized and normalised, in open_clip's words.
        tokenizer: name by which open_clip finds the tokenizer; None: CLIP's own.
        reduced: whether the model knows the tokens of training texts alone.
    """

    name: str
    kind: str
    model: dict[str, Any]
    preprocess: dict[str, Any]
    tokenizer: str | None = None
    reduced: bool = False

    @classmethod
    def from_json(cls, text: str) -> "ClipSettings":
        """Reads what :meth:`to_json` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Writes the settings as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def embed_dim(self) -> int:
        """Width of the common space."""
        return int(self.model["embed_dim"])

    @property
    def marks_end(self) -> bool:
        """Whether the end of a text is the largest number among its tokens, as in CLIP."""
        return self.tokenizer is None

    @property
    def context_length(self) -> int:
        """Tokens of a text."""
        return int(self.model["text_cfg"].get("context_length", 77))

    def build(self) -> nn.Module:
        """Builds the model with random weights."""
        built: nn.Module = CLASSES[self.kind](**deepcopy(self.model))
        return built

    @property
    def image_size(self) -> int:
        """Longer side of the model's images, pixels."""
        size = self.preprocess["size"]
        return max(size) if isinstance(size, list) else int(size)

    @cached_property
    def _steps(self) -> list[Callable[[Any], Any]]:
        return list(image_transform_v2(PreprocessCfg(**self.preprocess), is_train=False).transforms)

    @property
    def prepare(self) -> Prepare:
        """Resizes and crops an image to 8-bit pixels ``[S, S, 3]``."""
        return partial(resized, steps=tuple(self._steps[:-2]))  # the last two convert to a tensor and normalise

    @property
    def normalisation(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of colours in [0, 1], by which images are normalised."""
        return list(self.preprocess["mean"]), list(self.preprocess["std"])


def small_settings(config: SmallClipConfig, words: int) -> ClipSettings:
    """The settings of a small CLIP that knows so many tokens."""
    tower = {"width": config.width, "layers": config.layers}
    image = {"image_size": config.image_size, "patch_size": config.patch_size}
    text = {"context_length": config.context_length, "vocab_size": words, "heads": config.heads}
    model = {
        "embed_dim": config.embed_dim,
        "vision_cfg": {**tower, **image, "head_width": config.width // config.heads},
        "text_cfg": {**tower, **text},
    }
    preprocess = {
        "size": config.image_size,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "longest",
        "fill_color": 255,
    }
    return ClipSettings(SMALL, "CLIP", model, preprocess, reduced=True)


def pretrained_clip(config: MultitaskConfig) -> tuple[ClipSettings, nn.Module]:
    """Loads an open_clip model with its weights; errors are those of :class:`outfits.encoders.open_clip.OpenClip`."""
    clip = OpenClip(config.model, config.pretrained, "fp32", section=SECTION)
    kind = type(clip.model).__name__
    if kind not in CLASSES:
        raise ConfigError([f"multitask.model: {config.model} is a {kind}; choose a {' or a '.join(CLASSES)}"])
    given = deepcopy(open_clip.get_model_config(config.model))
    model = {name: value for name, value in given.items() if name in signature(CLASSES[kind].__init__).parameters}
    if clip.quick_gelu:
        model["quick_gelu"] = True
    if "timm_model_name" in model["vision_cfg"]:
        model["vision_cfg"]["timm_model_pretrained"] = False
    simple = isinstance(clip.tokenizer, open_clip.SimpleTokenizer)
    preprocess = {name: _plain(value) for name, value in clip.model.visual.preprocess_cfg.items() if name != "mode"}
    settings = ClipSettings(config.model, kind, model, preprocess, None if simple else config.model)
    return settings, clip.model


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
