"""Checkpoints of owj0421's OutfitTransformer as S: equal to the network that they were made from, and in use."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from outfits.config.load import load_config
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.data.load import load_dataset
from outfits.errors import ArtifactError, ConfigError
from outfits.models.compatibility import OutfitTransformer
from outfits.models.frozen import load_scorer
from outfits.models.published import load_published
from outfits.scoring.candidates import CandidateScorer
from outfits.weights import save_network
from pipeline.compatibility import train_scorers
from pipeline.embeddings import embed_dataset
from pipeline.run import open_run
from tests.tiny_run import RECIPE

HALF, LAYERS, HEADS, FEEDFORWARD = 12, 2, 4, 20


class Theirs(nn.Module):
    """The published network's forward pass for sets of items of one size, written from its description."""

    def __init__(self, half: int = HALF) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(2 * half, HEADS, FEEDFORWARD, 0.3, F.mish, batch_first=True, norm_first=True)
        self.style_enc = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.predict_ffn = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * half, 1), nn.Sigmoid())
        self.embed_ffn = nn.Sequential(nn.Linear(2 * half, 8, bias=False))
        for name in ("task_emb", "predict_emb", "embed_emb"):
            setattr(self, name, nn.Parameter(torch.randn(half)))
        self.pad_emb = nn.Parameter(torch.randn(2 * half))

    def forward(self, vectors: Tensor) -> Tensor:
        task = torch.cat([self.task_emb, self.predict_emb]).expand(len(vectors), 1, -1)
        tokens = torch.cat([task, vectors], dim=1).unflatten(-1, (2, -1))
        encoded = self.style_enc(F.normalize(tokens, dim=-1).flatten(2))
        score: Tensor = self.predict_ffn(encoded[:, 0]).squeeze(-1)
        return score


def their_network(half: int = HALF) -> Theirs:
    """Weights far from their initial values, means of columns included, so that every part matters."""
    torch.manual_seed(0)
    network = Theirs(half).eval().requires_grad_(False)
    for parameter in network.style_enc.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter) + 0.05)
    network.predict_ffn[1].weight.add_(0.2)
    return network


def write_checkpoint(network: Theirs, path: Path, prefix: str = "", **config: Any) -> Path:
    state = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    state[f"{prefix}item_enc.image_enc.model.visual_projection.weight"] = torch.zeros(3, 3)
    torch.save(
        {"config": {"transformer_n_head": HEADS, "aggregation_method": "concat", **config}, "model": state}, path
    )
    return path


def some_sets(size: int, half: int = HALF) -> Tensor:
    vectors = torch.randn(6, size, 2, half, generator=torch.Generator().manual_seed(size))
    return F.normalize(vectors, dim=-1).flatten(2)


def all_present(vectors: Tensor) -> Tensor:
    return torch.ones(*vectors.shape[:-1], 2, dtype=torch.bool)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_scores_equal_those_of_the_published_network(tmp_path: Path, prefix: str) -> None:
    theirs = their_network()
    scorer = load_published(write_checkpoint(theirs, tmp_path / "best.pth", prefix))
    for size in range(1, 9):
        vectors = some_sets(size)
        expected = theirs(vectors)
        torch.testing.assert_close(torch.sigmoid(scorer(vectors, all_present(vectors))), expected, rtol=0, atol=1e-5)
        assert size == 1 or expected.std() > 1e-3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_scoring_engine_equals_a_published_network(tmp_path: Path, precision: str) -> None:
    theirs = their_network()
    scorer = load_published(write_checkpoint(theirs, tmp_path / "best.pth"))
    items = some_sets(30)[0]
    numbers = np.arange(30)
    engine = CandidateScorer(scorer, items.numpy(), np.ones((30, 2), dtype=np.bool_), numbers, precision=precision)
    tolerance = 1e-5 if precision == "fp32" else 2e-2
    for size in range(1, 6):
        outfit = torch.arange(size)[None]
        found = engine.addition_logits(outfit)[0, size:]
        expected = theirs(torch.stack([items[[*range(size), added]] for added in range(size, 30)]))
        torch.testing.assert_close(torch.sigmoid(found), expected, rtol=0, atol=tolerance)
        sets = torch.stack([outfit[0], outfit[0] + 7])
        torch.testing.assert_close(torch.sigmoid(engine.set_logits(sets)), theirs(items[sets]), rtol=0, atol=tolerance)


def test_files_of_the_converted_network_load_as_s(tmp_path: Path) -> None:
    scorer = load_published(write_checkpoint(their_network(), tmp_path / "best.pth"))
    save_network(scorer, tmp_path / "scorer.safetensors")
    vectors = some_sets(3)
    loaded = load_scorer(tmp_path / "scorer.safetensors").module
    assert torch.equal(loaded(vectors, all_present(vectors)), scorer(vectors, all_present(vectors)))


def test_a_missing_part_counts_as_a_zero_vector(tmp_path: Path) -> None:
    theirs = their_network()
    scorer = load_published(write_checkpoint(theirs, tmp_path / "best.pth"))
    vectors = some_sets(3)
    present = all_present(vectors)
    present[:, 1, 1] = False
    without = vectors.clone()
    without[:, 1, HALF:] = 0
    torch.testing.assert_close(torch.sigmoid(scorer(vectors, present)), theirs(without), rtol=0, atol=1e-5)


def without(name: str, path: Path) -> Path:
    stored = torch.load(write_checkpoint(their_network(), path))
    del stored["model"][name]
    torch.save(stored, path)
    return path


def test_a_file_that_is_no_checkpoint_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"there is no file .*gone\.pth"):
        load_published(tmp_path / "gone.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ArtifactError, match=r"text\.pth is no checkpoint"):
        load_published(tmp_path / "text.pth")
    with pytest.raises(ArtifactError, match=r"lacks the tensor 'predict_ffn\.1\.bias'"):
        load_published(without("predict_ffn.1.bias", tmp_path / "part.pth"))
    with pytest.raises(ArtifactError, match="'mean', not by 'concat'"):
        load_published(write_checkpoint(their_network(), tmp_path / "mean.pth", aggregation_method="mean"))
    with pytest.raises(ArtifactError, match=r"odd\.pth do not fit together"):
        load_published(write_checkpoint(their_network(), tmp_path / "odd.pth", transformer_n_head=5))


def test_tokens_without_projection_have_the_embeddings_width() -> None:
    with pytest.raises(ConfigError, match=r"set scorer\.width=24"):
        OutfitTransformer(ScorerArchitecture(width=32, projected=False), HALF, HALF)


def a_run(root: Path, checkpoint: Path, *options: str) -> Any:
    place = [f"data.root={root / 'data'}", f"cache_dir={root / 'cache'}", f"run_dir={root / 'run'}"]
    return open_run(load_config([f"experiment={RECIPE}", *place, f"scorer.weights={checkpoint}", *options]))


def test_widths_of_another_encoder_are_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(their_network(), tmp_path / "best.pth")
    run = a_run(tmp_path, checkpoint, "judge.share=0")
    dataset = embed_dataset(run, load_dataset(run.config.data))
    with pytest.raises(ArtifactError, match=r"vectors of 12 numbers each, but the encoder's have \d+ and \d+; set"):
        train_scorers(run, dataset)
