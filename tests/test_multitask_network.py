"""The multi-task network: its equations worked out by hand, identity at the start, gates, losses and captions."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from outfits.config.schema.multitask import CAPTIONING, RECOGNITION, REFINEMENT, RETRIEVAL, TASKS
from outfits.encoders.multitask.adapters import Adapter, CrossAttentionAdapter
from outfits.encoders.multitask.batch import MultitaskBatch, distilled, objective, pixels_of
from outfits.encoders.multitask.captions import beam_search, caption
from outfits.encoders.multitask.losses import IGNORED, alike, info_nce, soft_cross_entropy, symmetric_info_nce
from outfits.encoders.multitask.network import APART, Gates
from outfits.encoders.multitask.settings import ClipSettings
from outfits.encoders.multitask.store import load_multitask, save_multitask
from outfits.encoders.multitask.tokens import Tokens, training_vocabulary
from outfits.encoders.multitask.towers import padding, towers_of
from outfits.errors import ArtifactError, ConfigError
from tests.multitask_models import (
    CLIPS,
    CONFIG,
    PREPROCESS,
    TEXT,
    TEXTS,
    VISION,
    a_network,
    around,
    images_for,
    small_backbone,
    spoilt,
)


@pytest.fixture
def images() -> torch.Tensor:
    return images_for(CLIPS["clip"])


@pytest.fixture
def tokens() -> torch.Tensor:
    return small_backbone().tokens(TEXTS)


def normed(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


# Equations by hand


def test_adapter_by_hand() -> None:
    adapter = Adapter(2, 2)
    with torch.no_grad():
        adapter.down.weight.copy_(torch.tensor([[1.0, 0], [0, 1]]))
        adapter.down.bias.copy_(torch.tensor([0.0, 0.5]))
        adapter.up.weight.copy_(torch.tensor([[2.0, 1], [0, 3]]))
        adapter.up.bias.copy_(torch.tensor([0.0, 1.0]))
        adapter.scale.fill_(0.5)
        found = adapter(torch.tensor([[[3.0, 1.0], [1.0, 3.0]]]))
    # LN gives (1, -1) and (-1, 1); down (1, -0.5) and (-1, 1.5); ReLU (1, 0) and (0, 1.5); up (2, 1) and (1.5, 5.5)
    assert found[0].numpy() == pytest.approx(np.array([[1, 0.5], [0.75, 2.75]]), abs=1e-4)


def test_cross_attention_adapter_by_hand() -> None:
    torch.manual_seed(0)
    part = CrossAttentionAdapter(2, 3, 1, 2)
    query, key, value, out = [torch.randn(2, size) for size in (2, 3, 3, 2)]
    with torch.no_grad():
        attention = part.attention
        for weight, given in (
            (attention.q_proj_weight, query),
            (attention.k_proj_weight, key),
            (attention.v_proj_weight, value),
            (attention.out_proj.weight, out),
            (part.adapter.down.weight, torch.eye(2)),
            (part.adapter.up.weight, torch.eye(2)),
        ):
            weight.copy_(given)
        x, y = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[1.0, 0, 2], [3, 1, 1], [9, 9, 0]]])
        found = part(x, y, torch.tensor([[False, False, True]]))
    read = normed(y[0, :2].numpy())  # the third is padding
    scores = (normed(x[0].numpy()) @ query.numpy().T) @ (read @ key.numpy().T).T / np.sqrt(2)
    weights = np.exp(scores) / np.exp(scores).sum()
    attended = weights @ (read @ value.numpy().T) @ out.numpy().T
    assert found[0].numpy() == pytest.approx(np.maximum(normed(attended), 0), abs=1e-5)


def test_a_layer_is_what_its_equation_says(images: torch.Tensor, tokens: torch.Tensor) -> None:
    network = spoilt(a_network(replace(CONFIG, small=replace(CONFIG.small, layers=1))))
    block = network.clip.visual.transformer.resblocks[0]
    with torch.no_grad():
        states, said = network.image.embed(images), network.text.embed(tokens)
        seen = states + block.attn(*[block.ln_1(states)] * 3, need_weights=False)[0]  # z'
        read = network.text.attend(0, said, network.text.mask(tokens.shape[1]))  # y
        z, y = seen.numpy(), read.numpy()
        weights = {name: value.numpy() for name, value in block.state_dict().items()}
        hidden = torch.nn.functional.gelu(
            torch.from_numpy(normed(z) @ weights["mlp.c_fc.weight"].T + weights["mlp.c_fc.bias"])
        ).numpy()
        expected = hidden @ weights["mlp.c_proj.weight"].T + weights["mlp.c_proj.bias"] + z
        expected = expected + by_hand(network.adapters[f"{REFINEMENT}_image"][0], z)
        cross = network.cross["image"][0]
        attended, _ = cross.attention(
            cross.norm(seen), *[cross.norm_context(torch.from_numpy(y))] * 2, key_padding_mask=padding(tokens)
        )
        expected = expected + by_hand(cross.adapter, attended.numpy())
        found, _ = network.fused(images, tokens, REFINEMENT)
        pooled = network.image.finish(torch.from_numpy(expected), images)
    assert found.numpy() == pytest.approx(F.normalize(pooled, dim=-1).numpy(), abs=1e-5)


def by_hand(adapter: Adapter, x: np.ndarray) -> np.ndarray:
    """s (W_u ReLU(W_d LN(x) + b_d) + b_u)."""
    part = {name: value.numpy() for name, value in adapter.state_dict().items()}
    hidden = (normed(x) * part["norm.weight"] + part["norm.bias"]) @ part["down.weight"].T + part["down.bias"]
    return part["scale"] * (np.maximum(hidden, 0) @ part["up.weight"].T + part["up.bias"])


def test_info_nce_by_hand() -> None:
    x, y = torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[0.6, 0.8], [0, 1]])
    e = np.exp
    first = -np.log(e(1.2) / (e(1.2) + 1))
    second = -np.log(e(2) / (e(1.6) + e(2)))
    scale = torch.tensor(2.0)
    assert info_nce(x, y, scale).item() == pytest.approx((first + second) / 2, abs=1e-6)
    back = -np.log(e(1.2) / (e(1.2) + e(1.6))) - np.log(e(2) / (e(2) + 1))
    assert symmetric_info_nce(x, y, scale).item() == pytest.approx((first + second + back) / 4, abs=1e-6)


def test_equal_images_are_no_wrong_answers() -> None:
    same = alike(torch.tensor([4, 7, 4]))
    assert same.nonzero().tolist() == [[0, 2], [2, 0]]
    x = F.normalize(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    loss = info_nce(x, x, torch.tensor(3.0), same)
    logits = 3 * (x @ x.T).numpy()
    rows = [np.logaddexp(logits[0, 0], logits[0, 1]) - 3, np.logaddexp.reduce(logits[1]) - 3]
    rows.append(np.logaddexp(logits[2, 2], logits[2, 1]) - 3)
    assert loss.item() == pytest.approx(np.mean(rows), abs=1e-5)


def test_soft_cross_entropy_by_hand_and_with_excluded_pairs() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[np.log(3.0), 0.0]])
    assert soft_cross_entropy(student, teacher).item() == pytest.approx(np.log(2), abs=1e-6)
    masked = torch.tensor([[1.0, -torch.inf]], requires_grad=True)
    loss = soft_cross_entropy(masked, torch.tensor([[2.0, -torch.inf]]))
    loss.backward()
    assert loss.item() == 0
    assert masked.grad is not None
    assert masked.grad.isfinite().all()


# Identity, gates, tasks


@pytest.mark.parametrize("name", CLIPS)
def test_untrained_network_is_the_clip_model(name: str) -> None:
    network, images = around(CLIPS[name]), images_for(CLIPS[name])
    tokens = Tokens(CLIPS[name], network.vocabulary.numpy())(TEXTS)
    with torch.no_grad():
        seen = network.clip.encode_image(images, normalize=True)
        said = network.clip.encode_text(tokens, normalize=True)
        for task in TASKS:
            assert (network.image_vectors(images, task) - seen).abs().max() < 1e-6
            assert (network.text_vectors(tokens, task) - said).abs().max() < 1e-6
        fused = network.fused(images, tokens, REFINEMENT, Gates(image_reads=True, text_reads=True))
        assert (fused[0] - seen).abs().max() < 1e-6
        assert (fused[1] - said).abs().max() < 1e-6
    assert (seen[0] - seen[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", CLIPS)
def test_without_gates_the_towers_are_apart(name: str) -> None:
    network, images = spoilt(around(CLIPS[name])), images_for(CLIPS[name])
    tokens = Tokens(CLIPS[name], network.vocabulary.numpy())(TEXTS)
    with torch.no_grad():
        apart = network.fused(images, tokens, RECOGNITION, APART)
        together = network.fused(images, tokens, RECOGNITION)
        alone = network.image_vectors(images, RECOGNITION), network.text_vectors(tokens, RECOGNITION)
    for side in (0, 1):
        assert (apart[side] - alone[side]).abs().max() < 1e-6
        assert (together[side] - alone[side]).abs().max() > 1e-3
    with torch.no_grad():
        reading = network.fused(images, tokens, RECOGNITION, Gates(image_reads=False, text_reads=True))
    assert (reading[0] - alone[0]).abs().max() < 1e-6
    assert (reading[1] - together[1]).abs().max() > 1e-4


def test_tasks_have_adapters_of_their_own(images: torch.Tensor) -> None:
    network = spoilt(a_network())
    with torch.no_grad():
        vectors = [network.image_vectors(images, task) for task in (None, *TASKS)]
    for first, second in zip(vectors, vectors[1:], strict=False):
        assert (first - second).abs().max() > 1e-3
    pixels = torch.randint(0, 255, (4, 32, 32, 3), dtype=torch.uint8)
    objective(network, a_batch(RETRIEVAL, pixels)).loss.backward()
    with_gradient = {
        name.split(".")[1] for name, p in network.adapters.named_parameters(prefix="a") if p.grad is not None
    }
    assert with_gradient == {"retrieval_image", "retrieval_text"}
    assert all(parameter.grad is None for parameter in network.cross.parameters())


def test_padding_of_a_text_changes_nothing(images: torch.Tensor) -> None:
    network = spoilt(around(CLIPS["clip"]))
    tokens = Tokens(CLIPS["clip"], network.vocabulary.numpy())
    with torch.no_grad():
        short = network.fused(images[:1], tokens(["in red"]), REFINEMENT)
        beside = network.fused(images[:2], tokens(["in red", "navy wool trousers with dots"]), REFINEMENT)
    for side in (0, 1):
        assert (short[side][0] - beside[side][0]).abs().max() < 1e-5


def test_towers_of_different_depth_are_refused() -> None:
    model = {"embed_dim": 8, "vision_cfg": VISION, "text_cfg": {**TEXT, "layers": 3}}
    clip = ClipSettings("uneven", "CLIP", model, PREPROCESS).build()
    with pytest.raises(ConfigError, match="2 layers for images and 3 for texts"):
        towers_of(clip, "uneven")


def test_towers_without_layers_are_refused() -> None:
    model = {"embed_dim": 8, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}, "text_cfg": TEXT}
    with pytest.raises(ConfigError, match="choose one with a ViT"):
        towers_of(ClipSettings("resnet", "CLIP", model, PREPROCESS).build(), "resnet")


# Captions


def test_a_word_is_predicted_from_earlier_ones_and_the_image(images: torch.Tensor, tokens: torch.Tensor) -> None:
    network = spoilt(a_network())
    other = tokens.clone()
    other[:, 3:] = tokens[:, 3:].flip(0)
    with torch.no_grad():
        memory = network.memory(images)
        logits, changed = network.word_logits(memory, tokens), network.word_logits(memory, other)
        elsewhere = network.word_logits(network.memory(images.flip(0)), tokens)
    assert torch.allclose(logits[:, :3], changed[:, :3], atol=1e-5)
    assert not torch.allclose(logits[:, 4:], changed[:, 4:], atol=1e-3)
    assert not torch.allclose(logits, elsewhere, atol=1e-3)


def test_captions_are_causal_in_a_tower_that_is_not(images: torch.Tensor) -> None:
    network = spoilt(around(CLIPS["siglip_text"]))
    tokens = Tokens(CLIPS["clip"], network.vocabulary.numpy())(TEXTS)
    assert not network.text.causal
    with torch.no_grad():
        memory = network.memory(images)
        whole, part = network.word_logits(memory, tokens), network.word_logits(memory, tokens[:, :3])
    assert torch.allclose(whole[:, :3], part, atol=1e-5)


@pytest.mark.parametrize("width", [1, 3])
def test_beam_search_is_never_worse_than_greedy(width: int, images: torch.Tensor) -> None:
    network, tokens = spoilt(a_network()), small_backbone().tokens
    with torch.inference_mode():
        memory = network.memory(images)
        found = beam_search(network, [part.repeat_interleave(width, 0) for part in memory], tokens, 4, width)
        for image in range(4):
            one = [part[image : image + 1] for part in memory]
            greedy = greedily(network, one, tokens)
            if width == 1:
                assert found[image] == greedy
            else:
                assert mean_log_probability(network, one, tokens, found[image]) >= (
                    mean_log_probability(network, one, tokens, greedy) - 1e-5
                )


def test_a_wide_beam_finds_the_best_short_caption(images: torch.Tensor) -> None:
    small = replace(CONFIG, small=replace(CONFIG.small, context_length=4))
    network, tokens = spoilt(a_network(small)), small_backbone(small).tokens
    count = len(tokens.vocabulary)
    with torch.inference_mode():
        memory = [part[:1] for part in network.memory(images)]
        wide = [part.repeat_interleave(count**2, 0) for part in memory]
        (found,) = beam_search(network, wide, tokens, 1, count**2)
        every = [
            list(words)
            for length in range(3)
            for words in product([word for word in range(count) if word != tokens.end], repeat=length)
        ]
        best = max(every, key=lambda words: mean_log_probability(network, memory, tokens, words))
        ended = len(found) < 3
        assert not ended or found == best
        reached = mean_log_probability(network, memory, tokens, found, ended)
        assert reached >= mean_log_probability(network, memory, tokens, best) - 1e-6


def greedily(network: nn.Module, memory: list[torch.Tensor], tokens: Tokens) -> list[int]:
    words: list[int] = []
    while len(words) < tokens.settings.context_length - 1:
        ids = torch.tensor([[tokens.begin, *network.token_of(torch.tensor(words, dtype=torch.int64)).tolist()]])
        word = int(network.word_logits(memory, ids)[0, -1].argmax())
        if word == tokens.end:
            break
        words.append(word)
    return words


def mean_log_probability(
    network: nn.Module, memory: list[torch.Tensor], tokens: Tokens, words: list[int], ended: bool = True
) -> float:
    """Of the words and, where there is room for it, the end."""
    whole = [*words, tokens.end] if ended and len(words) < tokens.settings.context_length - 1 else words
    ids = torch.tensor([[tokens.begin, *network.token_of(torch.tensor(whole, dtype=torch.int64)).tolist()]])
    chances = network.word_logits(memory, ids[:, : len(whole)])[0].log_softmax(-1)
    return float(chances[range(len(whole)), whole].mean())


def test_a_trained_network_captions_what_it_was_shown(images: torch.Tensor) -> None:
    network, tokens = a_network(), small_backbone().tokens
    pixels = torch.randint(0, 255, (4, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = a_batch(CAPTIONING, pixels)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        objective(network, batch).loss.backward()
        optimizer.step()
    assert caption(network, tokens, pixels_of(network, pixels)) == TEXTS


# Tokens


def test_a_reduced_vocabulary_leaves_unknown_words_out() -> None:
    tokens = small_backbone().tokens
    assert (tokens(["a purple red shirt"]) == tokens(["a red shirt"])).all()
    assert tokens.known(["purple", "red", ""]).tolist() == [False, True, False]
    rows = tokens(TEXTS)
    following = tokens.next_words(rows)
    for text, words in zip(TEXTS, following.tolist(), strict=True):
        kept = [word for word in words if word != IGNORED]
        assert kept[-1] == tokens.end
        assert tokens.text(kept[:-1]) == text


def test_a_whole_vocabulary_keeps_the_numbers_of_the_tokenizer() -> None:
    vocabulary = training_vocabulary(TEXTS)
    reduced, whole = small_backbone().tokens, Tokens(CLIPS["clip"], vocabulary)
    rows = whole(TEXTS)
    assert (torch.from_numpy(np.searchsorted(vocabulary, rows.numpy())) == reduced(TEXTS)).all()
    assert (whole.next_words(rows) == reduced.next_words(reduced(TEXTS))).all()
    unknown = whole.next_words(whole(["a purple shirt"]))[0]
    assert unknown.tolist()[1] == IGNORED
    assert whole.text(unknown[[0, 2]].tolist()) == "a shirt"


# Objectives and files


def a_batch(task: str, pixels: torch.Tensor) -> MultitaskBatch:
    tokens = small_backbone().tokens
    rows, here = tokens(TEXTS), torch.arange(4)
    labels = tokens.next_words(rows) if task == CAPTIONING else torch.tensor([0, 1, 2, 0])
    return MultitaskBatch(task, pixels, rows, pixels.flip(0), labels, here, here)


@pytest.mark.parametrize("task", TASKS)
def test_every_objective_falls_on_a_batch(task: str) -> None:
    network = a_network()
    network.clip.requires_grad_(False)
    before = {name: value.clone() for name, value in network.clip.state_dict().items()}
    pixels = torch.randint(0, 255, (4, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = a_batch(task, pixels)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 0.01)
    first = objective(network, batch).loss.item()
    for _ in range(40):
        optimizer.zero_grad()
        objective(network, batch).loss.backward()
        optimizer.step()
    found = objective(network, batch)
    assert found.loss.item() < first / 2
    assert found.right == 1
    assert all(torch.equal(value, before[name]) for name, value in network.clip.state_dict().items())


@pytest.mark.parametrize("task", TASKS)
def test_a_student_is_taught_what_its_teacher_says(task: str) -> None:
    pixels = torch.randint(0, 255, (4, 32, 32, 3), dtype=torch.uint8)
    batch, teacher = a_batch(task, pixels), spoilt(a_network(), seed=3)
    student = a_network(seed=1)
    taught = objective(teacher, batch)
    own = distilled(taught, taught).item()  # the entropy of the teacher's choices: no student has less
    assert distilled(objective(student, batch), taught).item() > own
    student.load_state_dict(teacher.state_dict())
    assert distilled(objective(student, batch), taught).item() == pytest.approx(own, abs=1e-5)


def test_a_file_is_the_same_network(tmp_path: Path, images: torch.Tensor, tokens: torch.Tensor) -> None:
    network = spoilt(a_network())
    save_multitask(network, ["Shirts", "Trousers", "Bags"], tmp_path / "model.safetensors")
    again = load_multitask(tmp_path / "model.safetensors")
    assert again.categories == ["Shirts", "Trousers", "Bags"]
    assert (again.tokens(TEXTS) == tokens).all()
    with torch.no_grad():
        assert torch.equal(again.network.refined(images, tokens), network.refined(images, tokens))
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_multitask(tmp_path / "model.safetensors")
