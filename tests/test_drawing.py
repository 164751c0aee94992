"""A user's text in drawings: dollar signs are dollar signs, and no character becomes a box."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw

from outfits.data.dataset import Item
from outfits.metrics.disentanglement import Disentanglement, FactorMetrics
from outfits.report import drawing
from outfits.report.comparison import gallery
from outfits.report.drawing import drawable, font, image_bytes, svg_uri
from outfits.report.representation import sheets
from outfits.report.representation.heatmap import heat_map
from outfits.stylist.results import ItemRef, StyledOutfit
from outfits.stylist.sheet import draw_outfits

UNDRAWABLE = chr(0x10FFFD)  # for private use; no typeface has it
TEXTS = ["$15 to $20", "red $5} $9", "$x$", r"1% \frac{1} $a_b$", "a_b ^ c", f"red{UNDRAWABLE} dress"]


@pytest.fixture(autouse=True)
def first_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_warned", [])


def sheet_texts(text: str) -> list[str]:
    item = ItemRef(text, text, text, None)
    figure = draw_outfits([StyledOutfit((item, item), (item,), 0.5, True, 0.5)])
    image_bytes(figure)
    return [shown.get_text() for axis in figure.axes for shown in axis.texts]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.filterwarnings("ignore:pictures leave out")
def test_a_sheet_shows_texts_ids_and_categories_as_they_are(text: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*[Gg]lyph.*")
        shown = sheet_texts(text)
    expected = " ".join(text.replace(UNDRAWABLE, "").split())
    assert [" ".join(one.split()) for one in shown] == [expected] * len(shown)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.filterwarnings("ignore:pictures leave out")
def test_the_report_s_drawings_take_any_name(text: str) -> None:
    tile = gallery._tile(Item(text, text, text, None), (132, 176))
    assert np.asarray(tile.convert("L")).std() > 5
    assert sheets.note(text).width > 5
    rows = [torch.zeros(1, 3, 20, 20)]
    assert sheets.sheet(rows, [f"{text}\n{text}"], [text], text).width > 20
    one = np.eye(2)
    factor = FactorMetrics(text, 2, 9, informativeness=0.5, accuracy=0.7, majority=0.4, compactness=0.1, mig=0.1)
    metrics = Disentanglement(0.1, 0.1, 0.2, 0.1, 2, {text: factor, "mood": factor}, one, one, np.zeros(2))
    assert image_bytes(heat_map(metrics))
    svg_uri(heat_map(metrics))


def test_a_text_that_loses_nothing_stays_as_it_is() -> None:
    assert drawable("a  b\n c\td")[0] == "a  b\n c\td"
    assert drawable("a\u2060b")[0] in ("a\u2060b", "ab")  # and what is invisible is no reason to warn


def test_characters_that_no_typeface_has_are_left_out_with_one_warning() -> None:
    with pytest.warns(UserWarning, match=rf"such as {UNDRAWABLE} \(U\+10FFFD\); install one") as said:
        shown = [drawable(text)[0] for text in (f"red {UNDRAWABLE} dress", UNDRAWABLE)]
    assert shown == ["red dress", ""]
    assert len(said) == 1


def test_a_text_gets_an_installed_typeface_that_has_its_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands in for an installed typeface: one whose characters are made up."""
    own, other = drawing._typeface(bold=False), tmp_path / "Other.ttf"
    other.write_bytes(Path(font_manager.findfont("STIXGeneral")).read_bytes())
    letters = {own: frozenset("red dres"), other: frozenset("red dres裙")}
    monkeypatch.setattr(drawing, "_characters", lambda file: letters.get(file, frozenset()))
    entry = font_manager.FontEntry(fname=str(other), name="Other", style="normal", weight=400)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [entry])
    assert drawable("red 裙") == ("red 裙", other)
    assert drawable("red dress") == ("red dress", own)
    image = Image.new("L", (100, 30), 255)
    ImageDraw.Draw(image).text((0, 0), "red", 0, font(20, file=other))
    assert np.asarray(image).std() > 10


def test_the_nearest_weight_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"Bold": 700, "Regular": 400, "Thin": "light"}
    entries = [
        font_manager.FontEntry(fname=f"/{name}.ttf", name=name, style="normal", weight=weight)
        for name, weight in names.items()
    ] + [font_manager.FontEntry(fname="/Italic.ttf", name="Italic", style="italic", weight=400)]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    own = (drawing._typeface(bold=False), drawing._typeface(bold=True))
    monkeypatch.setattr(drawing, "_characters", lambda file: frozenset() if file in own else frozenset("裙"))
    assert drawable("裙")[1] == Path("/Regular.ttf")
    assert drawable("裙", bold=True)[1] == Path("/Bold.ttf")


def test_the_typeface_of_boxes_and_files_that_are_none_have_no_characters(tmp_path: Path) -> None:
    (tmp_path / "x.ttf").write_bytes(b"nothing")
    assert drawing._characters(tmp_path / "x.ttf") == frozenset()
    (boxes,) = [face.fname for face in font_manager.fontManager.ttflist if face.name.startswith("Last Resort")]
    assert drawing._characters(Path(boxes)) == frozenset()
    own = drawing._typeface(bold=False)
    assert drawing._characters(own) == frozenset(map(chr, FT2Font(str(own)).get_charmap()))
