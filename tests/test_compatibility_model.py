"""The compatibility model S: laws that hold for any weights, and its files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from outfits.completion.context import MethodContext
from outfits.config.schema.scorer import ScorerArchitecture, ScorerConfig
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.errors import ArtifactError
from outfits.models.compatibility import OutfitTransformer
from outfits.models.frozen import load_scorer
from outfits.weights import save_network

IMAGE_DIM, TEXT_DIM = 6, 4


def a_scorer(seed: int = 0) -> OutfitTransformer:
    torch.manual_seed(seed)
    return OutfitTransformer(
        ScorerArchitecture(width=16, layers=2, heads=4, feedforward=32), IMAGE_DIM, TEXT_DIM
    ).eval()


def some_sets(count: int, size: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(count, size, IMAGE_DIM + TEXT_DIM, generator=generator)
    present = torch.rand(count, size, 2, generator=generator) < 0.8
    return vectors, present


def test_order_of_items_does_not_change_the_logit() -> None:
    scorer = a_scorer()
    vectors, present = some_sets(5, 6)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(scorer(vectors, present), scorer(vectors[:, order], present[:, order]))


def test_padding_does_not_change_the_logit() -> None:
    scorer = a_scorer()
    vectors, present = some_sets(5, 4)
    longer, longer_present = some_sets(5, 7, seed=2)
    longer[:, :4], longer_present[:, :4] = vectors, present
    padding = torch.arange(7).expand(5, 7) >= 4
    torch.testing.assert_close(scorer(vectors, present), scorer(longer, longer_present, padding))


def test_computing_the_task_token_alone_in_the_last_layer_changes_nothing() -> None:
    scorer = a_scorer()
    tokens = scorer.tokens(*some_sets(5, 4))
    h = torch.cat([scorer.task.expand(5, 1, -1), tokens], dim=1)
    for block in scorer.blocks:
        h = block(h, None)
    torch.testing.assert_close(scorer.outfit_embedding(tokens), h[:, 0])


def test_values_of_a_missing_part_do_not_matter() -> None:
    scorer = a_scorer()
    vectors, present = some_sets(5, 4)
    present[:, 0, 0] = False
    changed = vectors.clone()
    changed[:, 0, :IMAGE_DIM] += 100
    torch.testing.assert_close(scorer(vectors, present), scorer(changed, present))
    there = present.clone()
    there[:, 0, 0] = True
    assert not torch.allclose(scorer(vectors, present), scorer(vectors, there))


def test_width_must_be_divisible_by_heads() -> None:
    with pytest.raises(ValueError, match="not divisible"):
        OutfitTransformer(ScorerArchitecture(width=10, heads=4), IMAGE_DIM, TEXT_DIM)


def test_a_saved_scorer_loads_with_the_same_logits_and_digest(tmp_path: Path) -> None:
    scorer = a_scorer()
    sha256 = save_network(scorer, tmp_path / "scorer.safetensors")
    loaded = load_scorer(tmp_path / "scorer.safetensors", sha256)
    assert loaded.sha256 == sha256 == save_network(scorer, tmp_path / "again.safetensors")
    assert loaded.module.settings == scorer.settings
    vectors, present = some_sets(3, 4)
    assert torch.equal(loaded.module(vectors, present), scorer(vectors, present))
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())


def test_a_file_tells_the_architecture_and_no_training_key(tmp_path: Path) -> None:
    section = ScorerConfig(width=16, layers=1, heads=4, feedforward=32, epochs=3)
    save_network(OutfitTransformer(section, IMAGE_DIM, TEXT_DIM), tmp_path / "scorer.safetensors")
    with safe_open(tmp_path / "scorer.safetensors", framework="pt") as file:
        (described,) = file.metadata().values()
    assert described == (  # the SHA-256 of every scorer depends on these bytes
        '{"settings": {"dropout": 0.2, "feedforward": 32, "heads": 4, "image_dim": 6, "input_dropout": 0.1, '
        '"layers": 1, "normalised_halves": false, "text_dim": 4, "width": 16}}'
    )


def test_normalised_halves_have_unit_length_in_the_engine_too() -> None:
    rng = np.random.default_rng(0)
    items = ItemEmbeddings(
        rng.normal(size=(12, IMAGE_DIM + TEXT_DIM)).astype(np.float32), rng.random((12, 2)) < 0.7, IMAGE_DIM, TEXT_DIM
    )
    torch.manual_seed(0)
    architecture = ScorerArchitecture(width=16, layers=2, heads=4, feedforward=32, normalised_halves=True)
    scorer = OutfitTransformer(architecture, IMAGE_DIM, TEXT_DIM).eval().requires_grad_(False)
    vectors, present = torch.from_numpy(items.vectors), torch.from_numpy(items.present)
    halves = scorer.tokens(vectors, present).view(12, 2, 8)
    torch.testing.assert_close(torch.linalg.norm(halves, dim=-1), torch.ones(12, 2))
    catalogue = Catalogue([str(n) for n in range(12)], np.zeros(12, np.int32), ["all"], [""] * 12, [None] * 12, items)
    sets = [np.array([0, 3, 5]), np.array([7, 1])]
    expected = [scorer(vectors[items][None], present[items][None]).item() for items in sets]
    assert MethodContext(catalogue, scorer).scorer.ragged_logits(sets).tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda settings: settings.pop("dropout"), id="a key is missing"),
        pytest.param(lambda settings: settings.update(depth=3), id="a key too many"),
        pytest.param(lambda settings: settings.update(width=32), id="weights of other shapes"),
        pytest.param(lambda settings: settings.update(heads=3), id="a value that the network refuses"),
    ],
)
def test_a_file_of_another_version_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    scorer, path = a_scorer(), tmp_path / "scorer.safetensors"
    settings = scorer.settings
    change(settings)
    save_file(scorer.state_dict(), path, {"described": json.dumps({"settings": settings})})
    with pytest.raises(ArtifactError, match="was made by another version of the network; train it again"):
        load_scorer(path)


def test_changed_weights_of_a_frozen_scorer_are_noticed(tmp_path: Path) -> None:
    save_network(a_scorer(), tmp_path / "scorer.safetensors")
    loaded = load_scorer(tmp_path / "scorer.safetensors")
    assert loaded.unchanged()
    loaded.module.task.add_(1e-6)
    assert not loaded.unchanged()


def test_another_scorer_file_is_refused(tmp_path: Path) -> None:
    sha256 = save_network(a_scorer(0), tmp_path / "one.safetensors")
    save_network(a_scorer(1), tmp_path / "other.safetensors")
    with pytest.raises(ArtifactError, match="not those that"):
        load_scorer(tmp_path / "other.safetensors", sha256)


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_damaged_scorer_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scorer.safetensors"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="cannot be read") as caught:
        load_scorer(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ArtifactError, match="does not exist"):
        load_scorer(tmp_path / "missing.safetensors")
