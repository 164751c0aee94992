"""Encodes texts with any sentence-transformers model, by name, from a folder, or from a Python package."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from outfits.encoders.base import EncoderSource
from outfits.encoders.content import content_hash, weights_sha256
from outfits.encoders.precision import autocast
from outfits.errors import ArtifactError, ConfigError, one_line
from outfits.packages import PACKAGE_PREFIX, packaged_file

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH = 64  # texts per forward pass; longer batches gain nothing and pad more


def _load(name: str) -> "SentenceTransformer":
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise ConfigError(
            [
                "encoder.text=sentence_transformers needs the package sentence-transformers; "
                "install it with `pip install .[text]`"
            ]
        ) from None
    packaged = name.startswith(PACKAGE_PREFIX)
    if packaged:
        package, what = name.removeprefix(PACKAGE_PREFIX), "sentence-transformers model"
        local = packaged_file(package, ("modules.json",), "encoder.sentence.model", what).parent
    else:
        local = Path(name).expanduser()
    if local.is_dir():
        source = str(local)
        if not (local / "modules.json").is_file():
            raise ArtifactError(
                f"encoder.sentence.model: folder {local} holds no sentence-transformers model (modules.json is missing)"
            )
    elif local.is_absolute() or name.startswith((".", "~")):
        raise ArtifactError(f"encoder.sentence.model: there is no folder {local}")
    else:
        source = name
    try:
        return SentenceTransformer(source, device="cpu", local_files_only=local.is_dir())
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ArtifactError(
            f"encoder.sentence.model: cannot load '{name}' ({one_line(error, 200)}). "
            "Give a local folder or package:NAME to work offline."
        ) from error


class SentenceTexts:
    """Sentence embeddings (arXiv 1908.10084).

    ``model`` is a name on the model hub, a local folder, or ``package:NAME`` for a model in an installed package.

    Raises:
        ConfigError: if sentence-transformers or the named package is not installed.
        ArtifactError: if the model cannot be loaded.
    """

    def __init__(self, model: str, precision: str = "auto") -> None:
        self.model = _load(model)
        self.precision = precision
        self.device = torch.device("cpu")
        # The name of the method for the width differs between releases; an embedding always has one.
        self.dim = self.encode(["a"]).shape[1]
        self.key = content_hash(
            ["sentence-transformers", precision, weights_sha256(self.model), *_settings(self.model)]
        )

    def to(self, device: torch.device | str) -> None:
        """Moves the model."""
        self.device = torch.device(device)
        self.model.to(self.device)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Sentence embeddings, shape ``[B, dim]``."""
        with autocast(self.precision, self.device):
            vectors = self.model.encode(list(texts), batch_size=BATCH, convert_to_tensor=True, show_progress_bar=False)
        return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)


def build_texts(source: EncoderSource) -> SentenceTexts:
    """The configured text encoder."""
    return SentenceTexts(source.config.sentence.model, source.config.precision)


def _settings(model: "SentenceTransformer") -> list[str]:
    """Lists what shapes the vectors besides the weights: each module's settings and the tokenizer's vocabulary."""
    settings = [str(model.max_seq_length)]
    for module in model.children():
        get_config: Callable[[], dict[str, Any]] | None = getattr(module, "get_config_dict", None)
        config = {} if get_config is None else get_config()
        settings.append(json.dumps([type(module).__name__, config], sort_keys=True, default=str))
    get_vocab = getattr(model.tokenizer, "get_vocab", None)
    if get_vocab is not None:
        settings.append(json.dumps(get_vocab(), sort_keys=True))
    return settings
