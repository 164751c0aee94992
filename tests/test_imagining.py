"""Imagined items: the decoder of latents, what its images find, and the stylist, the command and the page with it."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import complete
from outfits import Stylist, run_files
from outfits.completion.context import MethodContext
from outfits.config.command import run_command
from outfits.config.schema.imaging_conditional import ConditionalArchitecture
from outfits.config.schema.model import GeneratorArchitecture
from outfits.config.schema.scorer import ScorerArchitecture
from outfits.data.catalogue import Catalogue, ItemEmbeddings
from outfits.encoders.packed import PackedImages
from outfits.errors import ArtifactError, ConfigError
from outfits.imaging.conditional import ConditionalGenerator
from outfits.imaging.decoder import beside, decoded, decoder_inputs, load_decoder, retrieval_vectors, save_decoder
from outfits.metrics.imagined import completed_scores, retrieved, seen_share
from outfits.models.compatibility import OutfitTransformer
from outfits.models.generator import Generator
from outfits.serving import visit as visits
from outfits.serving.visit import CompletionRequest, Visit
from tests.tiny_run import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("imagining"))


@pytest.fixture(scope="module")
def stylist(run: Path) -> Stylist:
    return Stylist.load(run)


def _items(count: int = 6, image: int = 4, text: int = 2) -> ItemEmbeddings:
    vectors = np.random.default_rng(0).normal(size=(count, image + text)).astype(np.float32)
    for part in (slice(0, image), slice(image, None)):
        vectors[:, part] /= np.linalg.norm(vectors[:, part], axis=1, keepdims=True)
    return ItemEmbeddings(vectors, np.ones((count, 2), dtype=np.bool_), image, text)


def _catalogue(items: ItemEmbeddings, categories: list[int]) -> Catalogue:
    count, names = len(items.vectors), [f"c{number}" for number in range(max(categories) + 1)]
    ids = [f"i{place}" for place in range(count)]
    return Catalogue(ids, np.array(categories, dtype=np.int32), names, [""] * count, [None] * count, items)


def _generator(seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    return Generator(GeneratorArchitecture(k_max=2, width=8, layers=1, retrieval_dim=6), 4, 2, 3).eval()


def test_the_decoder_reads_the_space_that_the_index_searches() -> None:
    items, generator = _items(), _generator()
    vectors = retrieval_vectors(generator, items)
    context = MethodContext(_catalogue(items, [0, 1, 2, 0, 1, 2]), generator=generator)
    np.testing.assert_allclose(np.diag(context.index.cosines(vectors)), 1.0, atol=1e-5)


def test_inputs_beside_items_keep_length_and_category_and_lie_near() -> None:
    latents = torch.randn(200, 32, generator=torch.Generator().manual_seed(0))
    inputs = decoder_inputs(latents, np.arange(200) % 4, 3)
    length = 32**0.5
    torch.testing.assert_close(inputs[:, :32].norm(dim=1), torch.full((200,), length))
    np.testing.assert_allclose(inputs[:4, 32:], length * np.eye(4, 3), rtol=1e-6)  # the fourth is not known
    torch.manual_seed(0)
    moved = beside(inputs, 0.5, 32)
    torch.testing.assert_close(moved[:, 32:], inputs[:, 32:])
    torch.testing.assert_close(moved[:, :32].norm(dim=1), inputs[:, :32].norm(dim=1))
    cosines = torch.nn.functional.cosine_similarity(moved[:, :32], inputs[:, :32])
    assert cosines.max() > 0.99
    assert 0.8 < cosines.min() < 0.95
    torch.testing.assert_close(beside(inputs, 0.0, 32), inputs)


def test_a_category_changes_what_is_drawn_of_a_latent() -> None:
    torch.manual_seed(0)
    decoder = ConditionalGenerator(ConditionalArchitecture(width=8, hidden=8), 6 + 2, 16).eval()
    same = torch.ones(3, 6)
    one, other, unknown = decoded(decoder, same, np.array([0, 1, 7]))[0]
    assert not torch.equal(one, other)
    assert not torch.equal(one, unknown)


def test_a_decoder_of_another_generator_is_refused(tmp_path: Path) -> None:
    decoder = ConditionalGenerator(ConditionalArchitecture(width=8, hidden=8), 6 + 3, 16)
    save_decoder(decoder, tmp_path / "decoder", _generator())
    assert load_decoder(tmp_path / "decoder", _generator()).inputs == 6 + 3
    without_categories = ConditionalGenerator(ConditionalArchitecture(width=8, hidden=8), 6, 16)
    save_decoder(without_categories, tmp_path / "earlier", _generator())
    with pytest.raises(ArtifactError, match="earlier version"):
        load_decoder(tmp_path / "earlier", _generator())
    with pytest.raises(ArtifactError, match="another generator; delete it"):
        load_decoder(tmp_path / "decoder", _generator(1))


def test_images_find_items_by_rank_and_category() -> None:
    items = _items(12)
    items.vectors[1, :4] = items.vectors[0, :4]  # the same image
    catalogue = _catalogue(items, [0, 0, *([1] * 10)])
    found = retrieved(items.take(np.array([0, 5])), np.array([1, 5]), catalogue)
    assert found.ranks.tolist() == [0, 0]
    assert found.category_first.tolist() == [True, True]
    cosines = items.image @ items.image[5]
    wanted = int(np.argsort(-cosines)[3])
    assert retrieved(items.take(np.array([5])), np.array([wanted]), catalogue).ranks.tolist() == [3]
    nearest = np.argsort(-cosines, kind="stable")[:10]
    assert found.category_share[1] == pytest.approx((catalogue.categories[nearest] == 1).mean())


def test_images_look_items_up_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    items, wanted = _items(12), np.arange(12)[::-1].copy()
    catalogue = _catalogue(items, [0, 1, 2] * 4)
    whole = retrieved(items, wanted, catalogue)
    monkeypatch.setattr("outfits.metrics.imagined.BATCH", 5)
    parts = retrieved(items, wanted, catalogue)
    assert parts.ranks.tolist() == whole.ranks.tolist()
    assert parts.values() == whole.values()


def test_the_share_of_seen_images_counts_copies() -> None:
    pixels = np.arange(6, dtype=np.uint8)[:, None, None, None].repeat(4, axis=3)
    pixels[4] = pixels[0]
    images = PackedImages(pixels, np.ones(6, dtype=np.bool_))
    assert seen_share(images, np.array([4, 2, 3, 1]), np.array([0, 1])) == 0.5


def test_real_items_in_the_place_of_images_score_as_themselves() -> None:
    items = _items()
    torch.manual_seed(0)
    scorer = OutfitTransformer(ScorerArchitecture(width=8, layers=1, heads=2, feedforward=8), 4, 2).eval()
    categories = [0, 1, 2, 0, 1, 2]
    context = MethodContext(_catalogue(items, categories), scorer_module=scorer)
    added = np.array([1, 2, 4, 5])
    scores = completed_scores(context, [np.array([0]), np.array([3])], items.take(added), np.array(categories)[added])
    expected = torch.sigmoid(context.scorer.ragged_logits([np.array([0, 1, 2]), np.array([3, 4, 5])]))
    assert scores == {"S": pytest.approx(expected.mean().item(), abs=1e-6)}


def test_the_stylist_draws_beside_what_the_generator_finds(stylist: Stylist) -> None:
    first = stylist.item_ids[0]
    (answer,) = stylist.complete([first], 2, method="generator")
    imagined = stylist.imagine([first], 2)
    assert [one.found for one in imagined] == list(answer.added)
    assert {one.image.size for one in imagined} == {(16, 16)}
    assert {one.mask.mode for one in imagined} == {"L"}
    assert imagined[0].image.tobytes() != imagined[1].image.tobytes()
    # the same items in the other order go with the same latents
    turned = stylist.imagine([first], 2, found=[str(item.id) for item in answer.added[::-1]])
    by_item = {one.found: (one.image.tobytes(), one.similarity) for one in turned}
    total = sum(one.similarity for one in imagined)
    assert sum(similarity for _, similarity in by_item.values()) >= total - 1e-5
    assert {image for image, _ in by_item.values()} == {one.image.tobytes() for one in imagined}


def test_with_conditions_each_image_answers_its_own(stylist: Stylist) -> None:
    first = stylist.item_ids[0]
    names = [name for name in stylist.categories if name != stylist.item(first).category][:2]
    imagined = stylist.imagine([first], 2, categories=[[names[1]], [names[0]]])
    assert [one.found.category for one in imagined] == [names[1], names[0]]


def test_a_run_without_a_decoder_says_how_to_get_one(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / run_files.DECODER).unlink()
    stylist = Stylist.load(folder)
    assert not stylist.can_imagine
    with pytest.raises(ArtifactError, match=r"cannot imagine items: .* evaluate.imagine=true"):
        stylist.imagine([stylist.item_ids[0]], 1)


def test_found_items_are_as_many_as_missing_ones(stylist: Stylist) -> None:
    assert stylist.can_imagine
    with pytest.raises(ConfigError, match="found: 1 items for k=2"):
        stylist.imagine([stylist.item_ids[0]], 2, found=[stylist.item_ids[1]])


def test_the_command_draws_a_column_more_for_every_added_item(
    run: Path, stylist: Stylist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    widths = []
    for imagine in ("false", "true"):
        out = f"{imagine}.png"
        arguments = [f"run={run}", f"items=[{stylist.item_ids[0]}]", "top=2", f"imagine={imagine}", f"out={out}"]
        assert run_command(complete.main, arguments) == 0
        with Image.open(out) as image:
            widths.append(image.width)
    assert widths[1] / widths[0] == pytest.approx(5 / 3, abs=0.1)
    capsys.readouterr()
    assert run_command(complete.main, [f"run={run}", "text=red", "imagine=true"]) == 2
    assert re.search(r"imagine: the generator imagines missing items", capsys.readouterr().err)


@pytest.mark.parametrize("imagine", [False, True])
def test_a_visit_shows_imagined_items_where_asked(stylist: Stylist, imagine: bool) -> None:
    visit = visits.add_item(Visit(), stylist, stylist.item_ids[0])
    visit = visits.complete(visit, stylist, CompletionRequest(2, imagine=imagine))
    assert visit.proposals
    for proposal in visit.proposals:
        found = {one.found.id for one in proposal.imagined}
        assert found == ({item.id for item in proposal.outfit.added} if imagine else set())
