"""Image and text encoders from open_clip: contrastive models of image and text (arXiv 2103.00020, 2212.07143)."""

import json
import logging
import pickle
import re
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError

from outfits.encoders.base import EncoderSource
from outfits.encoders.content import content_hash, weights_sha256
from outfits.encoders.images import Prepare
from outfits.encoders.precision import autocast
from outfits.errors import ArtifactError, ConfigError, one_line
from outfits.naming import did_you_mean

log = logging.getLogger(__name__)

LOCAL_DIR = "local-dir:"
HF_HUB = "hf-hub:"
LONGEST = 240  # characters of a library's message
WEIGHTS = (".safetensors", ".bin", ".pth")  # the suffixes that open_clip reads from a folder
# Errors of open_clip and its libraries if weights are missing or do not fit the architecture.
LOADING_ERRORS = (
    RuntimeError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    pickle.UnpicklingError,
    SafetensorError,
)


def resized(image: Image.Image, steps: Sequence[Callable[[Any], Any]]) -> NDArray[np.uint8]:
    """Resizes and crops an image for a model, pixels of shape ``[height, width, 3]``."""
    for step in steps:
        image = step(image)
    return np.array(image.convert("RGB"))


class OpenClip:
    """One open_clip model with pretrained weights, shared by its image and its text encoder.

    Args:
        model: architecture name, ``hf-hub:ORG/NAME`` or ``local-dir:PATH`` (a folder with ``open_clip_config.json``,
            weights and, where the configuration names one, a tokenizer).
        pretrained: pretrained tag or local weights file for an architecture name; None for the other two.
        precision: arithmetic of the model, a value of ``encoder.precision``.
        section: the section of the configuration that has the keys ``model`` and ``pretrained``, for messages.

    Raises:
        ConfigError: if model and pretrained conflict or are unknown.
        ArtifactError: if weights or tokenizer cannot be loaded. A model never keeps random weights.
    """

    def __init__(
        self, model: str, pretrained: str | None, precision: str = "auto", *, section: str = "encoder.open_clip"
    ) -> None:
        self.name = model
        self.section = section
        self.precision = precision
        self.device = torch.device("cpu")
        _check_names(model, pretrained, section)
        options = _loading_options(model, pretrained)
        try:
            self.model, transform = open_clip.create_model_from_pretrained(
                model, pretrained, precision="fp32", device="cpu", **options
            )
        except LOADING_ERRORS as error:
            source = model if pretrained is None else f"{model} with pretrained={pretrained}"
            raise ArtifactError(
                f"{section}: cannot load the weights of {source} ({one_line(error, LONGEST)})"
            ) from error
        self.model.eval().requires_grad_(False)
        self.quick_gelu = bool(options.get("force_quick_gelu", False))
        # open_clip's inference transforms end in "to tensor" and "normalise"; those run in the main process, so that
        # loader workers send 8-bit pixels instead of floats.
        steps = tuple(transform.transforms)
        self.resize: Prepare = partial(resized, steps=steps[:-2])
        self.finish = steps[-2:]
        self.dim = int(open_clip.get_model_config(model)["embed_dim"])
        self.image_size = max(np.atleast_1d(self.model.visual.image_size).tolist())
        described = re.sub(r" at 0x[0-9a-f]+", "", repr(transform))  # of functions, in versions before 3.3
        self.key = content_hash(["open_clip", precision, weights_sha256(self.model), described])

    @cached_property
    def tokenizer(self) -> Callable[[list[str]], torch.Tensor]:
        """The model's tokenizer, loaded when the first text is encoded."""
        try:
            return open_clip.get_tokenizer(self.name)  # type: ignore[no-any-return]
        except (*LOADING_ERRORS, ImportError) as error:
            raise ArtifactError(
                f"{self.section}.model: cannot load the tokenizer of {self.name} ({one_line(error, LONGEST)})"
            ) from error

    def to(self, device: torch.device | str) -> None:
        """Moves the model."""
        self.device = torch.device(device)
        self.model.to(self.device)


class OpenClipImages:
    """The image side of an :class:`OpenClip` model."""

    def __init__(self, clip: OpenClip) -> None:
        self.clip = clip
        self.dim = clip.dim
        self.key = content_hash(["images", clip.key])
        self.draft_size = 2 * clip.image_size  # the model's own, better resampling does the last halving

    @property
    def prepare(self) -> Prepare:
        """Resizes and crops for the model."""
        return self.clip.resize

    def to(self, device: torch.device | str) -> None:
        """Moves the shared model."""
        self.clip.to(device)

    @torch.inference_mode()
    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Image embeddings of resized images, ``B`` times ``[height, width, 3]``, to ``[B, dim]``."""
        clip, pixels = self.clip, []
        for image in prepared:
            value: Any = Image.fromarray(image)
            for step in clip.finish:
                value = step(value)
            pixels.append(value)
        with autocast(clip.precision, clip.device):
            vectors = clip.model.encode_image(torch.stack(pixels).to(clip.device))
        return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)


class OpenClipTexts:
    """The text side of an :class:`OpenClip` model."""

    def __init__(self, clip: OpenClip) -> None:
        self.clip = clip
        self.dim = clip.dim
        self.key = content_hash(["texts", clip.key])

    def to(self, device: torch.device | str) -> None:
        """Moves the shared model."""
        self.clip.to(device)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Text embeddings, shape ``[B, dim]``."""
        clip = self.clip
        tokens = clip.tokenizer(list(texts)).to(clip.device)
        with autocast(clip.precision, clip.device):
            vectors = clip.model.encode_text(tokens)
        return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)


def build_images(source: EncoderSource) -> OpenClipImages:
    """The image encoder of the configured model."""
    return OpenClipImages(_model(source))


def build_texts(source: EncoderSource) -> OpenClipTexts:
    """The text encoder of the configured model."""
    return OpenClipTexts(_model(source))


def _model(source: EncoderSource) -> OpenClip:
    """The configured model, loaded once for images and texts."""
    if "open_clip" not in source.shared:
        config = source.config
        source.shared["open_clip"] = OpenClip(config.open_clip.model, config.open_clip.pretrained, config.precision)
    clip: OpenClip = source.shared["open_clip"]
    return clip


def _check_names(model: str, pretrained: str | None, section: str) -> None:
    """Refuses names for which open_clip would give random weights, other weights than asked for, or a traceback."""
    if model.startswith((LOCAL_DIR, HF_HUB)):
        if pretrained is not None:
            raise ConfigError(
                [f"{section}.pretrained: {model} has its own weights and would ignore {pretrained}; set null"]
            )
        if model.startswith(LOCAL_DIR):
            _check_folder(Path(model.removeprefix(LOCAL_DIR)), section)
        return
    known = open_clip.list_models()
    if model not in known:
        hint = did_you_mean(model, known) or "; give an architecture, hf-hub:ORG/NAME or local-dir:PATH"
        raise ConfigError([f"{section}.model: open_clip has no architecture '{model}'{hint}"])
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained is None:
        offer = (
            f"a tag ({', '.join(tags[:4])}{', ...' if len(tags) > 4 else ''}) or a weights file"
            if tags
            else "a weights file"
        )
        raise ConfigError([f"{section}.pretrained: {model} alone would have random weights; give {offer}"])
    if not open_clip.is_pretrained_cfg(model, pretrained) and not Path(pretrained).is_file():
        offer = did_you_mean(pretrained, tags) or f"; it has {', '.join(tags) or 'none'}"
        raise ConfigError([f"{section}.pretrained: '{pretrained}' is neither a file nor a tag of {model}{offer}"])


def _check_folder(folder: Path, section: str) -> None:
    place = f"{section}.model: folder {folder}"
    if not folder.is_dir():
        raise ArtifactError(f"{place} does not exist")
    try:
        config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{place} has no open_clip_config.json") from None
    except ValueError as error:
        raise ArtifactError(f"{place}: open_clip_config.json is not valid JSON ({one_line(error, LONGEST)})") from error
    if "model_cfg" not in config:
        raise ArtifactError(f"{place}: open_clip_config.json has no model_cfg")
    if not any(path.suffix in WEIGHTS for path in folder.iterdir()):
        raise ArtifactError(f"{place} has no weights file ({', '.join(WEIGHTS)})")


def _loading_options(model: str, pretrained: str | None) -> dict[str, Any]:
    """Returns the options that open_clip leaves to its caller.

    The activation of a tag's weights: without QuickGELU, weights trained with it give worse embeddings and only a
    warning. The preprocessing of a bare file, which does not record it: that of the architecture's published weights,
    with a warning where those disagree.
    """
    if pretrained is None:
        return {}
    if open_clip.is_pretrained_cfg(model, pretrained):
        return {"force_quick_gelu": bool(open_clip.get_pretrained_cfg(model, pretrained).get("quick_gelu", False))}
    names = {
        "mean": "image_mean",
        "std": "image_std",
        "interpolation": "image_interpolation",
        "resize_mode": "image_resize_mode",
    }
    settings = []
    for tag in open_clip.list_pretrained_tags_by_model(model):
        config = open_clip.get_pretrained_cfg(model, tag)
        settings.append({ours: config[theirs] for theirs, ours in names.items() if config.get(theirs) is not None})
    if not settings or any(setting != settings[0] for setting in settings):
        log.warning(
            "%s does not say how its model wants images normalised and resized, and the published weights of %s %s; "
            "use local-dir: with an open_clip_config.json to be sure",
            *(pretrained, model, "disagree" if settings else "do not exist"),
        )
    return settings[0] if settings else {}
