"""The scoring engine: equal to the plain module, whatever the outfits, the arithmetic and the blocks."""

import shutil

import numpy as np
import pytest
import torch

from outfits.completion.search import expansion
from outfits.completion.search.expansion import Hypothesis, SearchQuery, expand
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.models.compatibility import OutfitTransformer
from outfits.scoring import candidates, capacity
from outfits.scoring.candidates import CandidateScorer
from outfits.scoring.compilation import compiled
from outfits.scoring.engine import ScoringEngine
from outfits.scoring.folded import Affine, gelu_for_bf16

ITEMS, IMAGE, TEXT, CATEGORIES = 150, 10, 6, 12
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")


def transformer(layers=3, heads=4, seed=0):
    """A scorer with weights far from their initial values, so that every part of the network matters."""
    torch.manual_seed(seed)
    module = OutfitTransformer(
        ScorerArchitecture(width=32, layers=layers, heads=heads, feedforward=48), IMAGE, TEXT
    ).eval()
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(False)
        if "norm" in name or name.endswith("bias") or "head.0" in name:
            parameter.add_(0.3 * torch.randn_like(parameter))
        else:
            parameter.mul_(2)
    return module


def catalogue(seed=0):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((ITEMS, IMAGE + TEXT)).astype(np.float32)
    return vectors, rng.random((ITEMS, 2)) > 0.1, rng.integers(CATEGORIES, size=ITEMS)


def scorer_of(module, **options):
    return CandidateScorer(module, *catalogue(), num_categories=CATEGORIES, **options)


def plain_logits(module, sets):
    vectors, present, _ = catalogue()
    with torch.inference_mode():
        return module(torch.from_numpy(vectors)[sets], torch.from_numpy(present)[sets])


def sets_of(size, count=40, seed=1):
    rng = np.random.default_rng([size, seed])
    return torch.from_numpy(np.stack([rng.choice(ITEMS, size, replace=False) for _ in range(count)]))


@pytest.fixture
def own_passes(monkeypatch):
    """Every outfit is scored by itself, however few its candidates."""
    monkeypatch.setattr(candidates, "OWN_PASSES_FROM", 1)


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("block", [7, 64, 4096])
@pytest.mark.parametrize("own_passes_from", [1, 256])
def test_additions_equal_the_plain_module_for_outfits_of_every_size(layers, block, own_passes_from, monkeypatch):
    monkeypatch.setattr(candidates, "OWN_PASSES_FROM", own_passes_from)
    module = transformer(layers)
    scorer = scorer_of(module, block=block)
    spread = 0.0
    for size in range(1, 10):
        outfits = sets_of(size, count=3)
        logits = scorer.addition_logits(outfits)
        for outfit, found in zip(outfits, logits, strict=True):
            allowed = torch.isfinite(found)
            added = allowed.nonzero()
            expected = plain_logits(module, torch.cat([outfit.expand(len(added), -1), added], dim=1))
            torch.testing.assert_close(found[allowed], expected, rtol=0, atol=1e-4)
            spread = max(spread, float(expected.std()))
    assert spread > 0.2  # else equality would say little


@pytest.mark.parametrize("layers", [1, 3])
def test_sets_and_outfit_embeddings_equal_the_plain_module(layers):
    module = transformer(layers)
    scorer = scorer_of(module, block=16)
    vectors, present, _ = catalogue()
    for size in (1, 2, 5):
        sets = sets_of(size)
        torch.testing.assert_close(scorer.set_logits(sets), plain_logits(module, sets), rtol=0, atol=1e-4)
        with torch.inference_mode():
            tokens = module.tokens(torch.from_numpy(vectors)[sets], torch.from_numpy(present)[sets])
            expected = module.outfit_embedding(tokens)
        expected = expected - expected.mean(dim=1, keepdim=True)
        torch.testing.assert_close(scorer.outfit_embeddings(sets), expected, rtol=0, atol=1e-4)
    assert scorer.calls == 2 * 3 * 40


def test_external_items_are_scored_as_items_are():
    module = transformer()
    vectors, present, categories = catalogue()
    whole = scorer_of(module)
    part = CandidateScorer(module, vectors[:100], present[:100], categories[:100], num_categories=CATEGORIES)
    hosting = part.with_external(vectors[100:], present[100:], categories[100:])
    outfits = torch.tensor([[3, 120, 50], [149, 100, 101], [1, 2, 4]])
    torch.testing.assert_close(hosting.addition_logits(outfits), whole.addition_logits(outfits)[:, :100])
    torch.testing.assert_close(hosting.set_logits(outfits), whole.set_logits(outfits))
    assert len(part.categories) == len(hosting) == 100


def test_bf16_is_within_three_hundredths_and_agrees_on_the_best():
    module = transformer(seed=4)
    full, half = scorer_of(module), scorer_of(module, precision="bf16")
    outfits = torch.cat([sets_of(3, 60), sets_of(3, 60, seed=2)])
    exact, rounded = full.addition_logits(outfits), half.addition_logits(outfits)
    allowed = torch.isfinite(exact)
    error = (exact - rounded)[allowed].abs()
    assert exact[allowed].std() > 0.2
    assert 1e-5 < error.max() <= 3e-2
    first, second = exact.topk(2, dim=1).values.T
    clear = first - second > 2 * error.max()
    assert clear.sum() > 20
    assert (exact.argmax(1) == rounded.argmax(1))[clear].float().mean() >= 0.99


def test_a_product_of_both_halves_is_more_exact_than_one_of_rounded_numbers():
    torch.manual_seed(0)
    weight, columns = torch.randn(32, 64).bfloat16(), torch.randn(64, 3, 50)
    product = Affine(weight, torch.zeros(32, 1))
    exact = (weight.double() @ columns.double().flatten(1)).view(32, 3, 50)
    errors = [
        (found - exact).square().mean() for found in (product.linear_of_both_halves(columns), product.linear(columns))
    ]
    assert errors[0] < errors[1] / 1.5


def test_gelu_for_bf16_is_gelu_to_four_digits():
    x = torch.cat([torch.linspace(-30, 30, 6001), torch.zeros(1)])
    error = (gelu_for_bf16(x) - torch.nn.functional.gelu(x)).abs()
    assert error.max() < 1e-3  # of values up to 30
    assert error[x.abs() < 4].max() < 1e-4


def test_what_belongs_to_items_and_outfits_alone_is_computed_once(monkeypatch):
    counts = {"items": 0, "outfits": 0, "pairs": 0}
    originals = (ScoringEngine.item_states, ScoringEngine.outfit_states, ScoringEngine.addition_logits)

    def item_states(self, vectors, present):
        counts["items"] += len(vectors)
        return originals[0](self, vectors, present)

    def outfit_states(self, items):
        counts["outfits"] += len(items.tokens)
        return originals[1](self, items)

    def addition_logits(self, outfits, candidates):
        counts["pairs"] += len(candidates.tokens)
        return originals[2](self, outfits, candidates)

    monkeypatch.setattr(ScoringEngine, "item_states", item_states)
    monkeypatch.setattr(ScoringEngine, "outfit_states", outfit_states)
    monkeypatch.setattr(ScoringEngine, "addition_logits", addition_logits)
    scorer = scorer_of(transformer(), block=16)
    logits = scorer.addition_logits(sets_of(3, 5))
    assert counts == {"items": ITEMS, "outfits": 5, "pairs": int(torch.isfinite(logits).sum())}
    assert scorer.calls == counts["pairs"] < 5 * ITEMS  # what the rule forbids is not scored


@pytest.mark.parametrize("part", [7, 64])
@pytest.mark.parametrize("keep", [None, 1, 5, 1000])
def test_a_streamed_catalogue_gives_the_same_best_additions(part, keep, monkeypatch):
    scorer = scorer_of(transformer(), block=16)
    query = SearchQuery(scorer, torch.tensor([[3, 17, 40]]), 2)
    (whole,) = expand(query, 0, query.conditions_of(0), [Hypothesis()])
    calls = scorer.calls
    monkeypatch.setattr(expansion, "CATALOGUE_PART", part)
    (streamed,) = expand(query, 0, query.conditions_of(0), [Hypothesis()], keep)
    np.testing.assert_allclose(streamed.values, whole.values[:keep], atol=1e-5)
    value_of = dict(
        zip(whole.items.tolist(), whole.values.tolist(), strict=True)
    )  # what is all but equal may change places
    np.testing.assert_allclose([value_of[item] for item in streamed.items.tolist()], streamed.values, atol=1e-5)
    assert len(set(streamed.items.tolist())) == len(whole.items[:keep])
    assert scorer.calls == 2 * calls


def test_ties_stream_to_the_smaller_positions(monkeypatch):
    module = transformer()
    torch.nn.init.zeros_(module.head[-1].weight)
    monkeypatch.setattr(expansion, "CATALOGUE_PART", 11)
    query = SearchQuery(scorer_of(module), torch.tensor([[3, 17]]), 1)
    (streamed,) = expand(query, 0, query.conditions_of(0), [Hypothesis()], 6)
    categories = catalogue()[2]
    allowed = np.flatnonzero(~np.isin(categories, categories[[3, 17]]))
    assert streamed.items.tolist() == allowed[:6].tolist()


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_code_gives_the_same_logits_for_every_size(precision, own_passes):
    module = transformer()
    plain = scorer_of(module, precision=precision, block=50)
    quick = scorer_of(module, precision=precision, block=50, compile=True)
    for size in (1, 2, 3, 6):
        outfits = sets_of(size, 4)
        torch.testing.assert_close(
            quick.addition_logits(outfits),
            plain.addition_logits(outfits),
            rtol=0,
            atol=1e-4 if precision == "fp32" else 1e-2,
        )


def test_without_a_compiler_the_plain_function_answers(monkeypatch, own_passes):
    def broken(function):
        def call(*arguments):
            raise torch._dynamo.exc.TorchDynamoException("no compiler here")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    compiled.cache_clear()
    try:
        quick = scorer_of(transformer(), block=20, compile=True)
        with pytest.warns(RuntimeWarning, match="not compiled, and slower for it: no compiler here"):
            logits = quick.addition_logits(torch.tensor([[1, 2]]))
        torch.testing.assert_close(logits, scorer_of(transformer()).addition_logits(torch.tensor([[1, 2]])))
    finally:
        compiled.cache_clear()


def test_blocks_follow_the_free_memory(monkeypatch):
    config, cpu = transformer().config, torch.device("cpu")
    sizes = []
    for free in (2**20, 2**27, 2**40):
        monkeypatch.setattr(capacity, "_free_bytes", lambda device, free=free: free)
        sizes.append(capacity.block_size(config, cpu))
    assert sizes[0] == 16 < sizes[1] < sizes[2] == capacity.LARGEST_BLOCK["cpu"]


def test_automatic_precision_is_that_of_the_hardware(monkeypatch):
    cpu = torch.device("cpu")
    for capabilities, expected in (({"amx_bf16": True}, "bf16"), ({"avx512_bf16": True}, "bf16"), ({}, "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)
        assert capacity.resolve_precision("auto", cpu) == expected
        assert capacity.resolve_precision("fp32", cpu) == "fp32"
    with pytest.raises(ValueError, match="precision must be"):
        capacity.resolve_precision("fp8", cpu)
