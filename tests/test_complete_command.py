"""``complete.py`` as a person calls it: a table and an image, or what is wrong with the command in one line each."""

import re
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

import complete
from outfits.config.command import run_command
from outfits.config.help import help_text
from outfits.config.keys import keys
from outfits.config.load import load_complete
from outfits.config.schema.complete import CompleteConfig
from outfits.config.sources import in_quotes
from outfits.stylist import Stylist
from outfits.stylist.sheet import FRAME, draw_outfits
from tests.tiny_run import added_ids, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("command"))


@pytest.fixture(scope="module")
def stylist(run):
    return Stylist.load(run)


@pytest.fixture
def person(run, tmp_path, monkeypatch, capsys):
    """Calls the command from a working folder of one's own; gives status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, run=run):
        status = run_command(complete.main, [f"run={run}", *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_it_prints_what_the_stylist_says_and_writes_a_picture(person, stylist, tmp_path):
    first, second = stylist.item_ids[0], stylist.item_ids[2]
    conditions = ["red wool", ""]
    status, output, errors = person(
        f"items=[{first},{second}]", "k=2", "texts=[red wool,'']", "method=beam:width=3", "top=3", "alpha=0.4"
    )
    assert (status, errors) == (0, "")
    expected = stylist.complete([first, second], 2, texts=conditions, method="beam:width=3", top=3, alpha=0.4)
    for outfit in expected:
        assert f"S {outfit.score:.3f}  similarity {outfit.similarity:.3f}  objective {outfit.objective:.3f}" in output
        assert all(item_id in output for item_id in added_ids(outfit))
    assert output.splitlines()[-1] == "image: completions.png"
    with Image.open(tmp_path / "completions.png") as image:
        assert image.width > 500
        assert np.asarray(image.convert("L")).std() > 10


def test_one_text_stands_for_all_missing_items_and_categories_for_each(person, stylist):
    first = stylist.item_ids[0]
    names = [name for name in stylist.categories if name != stylist.item(first).category][:2]
    _, output, _ = person(f"items=[{first}]", "texts=[red]", f"categories=[[{names[0]}],[{names[1]}]]", "top=1")
    (expected,) = stylist.complete([first], 2, texts="red", categories=[[names[0]], [names[1]]], top=1)
    assert [item.category for item in expected.added] == names
    assert all(item_id in output for item_id in added_ids(expected))


def test_garments_of_ones_own_give_a_completion(person, stylist, tmp_path):
    """Two photos and two texts that are in no catalogue; photos are looked for in the working folder."""
    categories = stylist.categories
    for name, colour in (("one.jpg", "navy"), ("two.png", "orange")):
        Image.new("RGB", (30, 40), colour).save(tmp_path / name)
    garments = ", ".join(
        [
            f"{{image: one.jpg, category: {categories[0]}}}",
            f"{{image: two.png, text: 'orange: wool', category: {categories[1]}}}",
            f"{{text: black leather, category: {categories[2]}}}",
        ]
    )
    status, output, errors = person(f"garments=[{garments}]", "k=3", "out=images/mine.png")
    assert (status, errors) == (0, "")
    assert [f"own {name}" in output for name in categories[:4]] == [True, True, True, False]
    assert (tmp_path / "images" / "mine.png").is_file()


def test_a_text_generates_an_outfit(person, stylist):
    status, output, _ = person("text=red: wool", "max_items=3", "method=generator")
    assert status == 0
    best = stylist.generate("red: wool", 3, method="generator")[0]
    assert f"objective {best.objective:.3f}" in output.split("\n2 ")[0]
    assert person("text=red", "size=2", "top=2")[1].count("  S ") == 2


def one_line(finished):
    status, _, errors = finished
    assert status == 2
    assert errors.count("\n") == 1, errors
    return errors.strip()


def test_a_broken_or_missing_photo_is_one_line(person, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    line = one_line(person("garments=[{image: broken.jpg, category: Hats}]"))
    assert line.startswith("data error: own Hats: its image broken.jpg cannot be opened")
    assert "nowhere.jpg" in one_line(person("garments=[{image: nowhere.jpg, category: Hats}]"))


def test_an_unknown_id_suggests_the_nearest_ones(person, stylist):
    item_id = stylist.item_ids[7]
    line = one_line(person(f"items=[{item_id[:-1]}]"))
    assert line.startswith(f"data error: the catalogue has no item '{item_id[:-1]}'; did you mean")
    assert re.search(r"did you mean .*_\d", line)


def test_all_errors_of_a_command_are_shown_at_once(person):
    status, _, errors = person(
        "itmes=[a]",
        "k=0",
        "alpha=2",
        "texts=[a,b,c]",
        "method=beem",
        "categories=[a,[b]]",
        "garments=[{imge: 3}]",
        "top",
    )
    assert status == 2
    lines = errors.splitlines()
    assert all(line.startswith("config error: ") for line in lines)
    for text in (
        "itmes: no such key; did you mean items?",
        "k: 0 is out of range",
        "alpha: 2.0 is out of range",
        "did you mean beam?",
        "categories: names and lists are mixed",
        "garments: element 0: no such key 'imge'; did you mean image?",
        "garments: element 0: has no category",
        "top: not of the form key=value",
    ):
        assert text in errors, text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "items: give the partial outfit"),
        (["items=[a]", "text=red"], "text: generates an outfit from nothing; beside items"),
        (["text=' '"], "text: is empty"),
        (["text=red", "texts=[blue]"], "texts: conditions belong to a partial outfit"),
        (["text=red", "user=u1"], "user: whom an outfit is for belongs to a partial outfit"),
        (["text=red", "beta=0"], "beta: whom an outfit is for belongs to a partial outfit"),
        (["items=[a]", "beta=2"], "beta: weighs the preference of a user; say whose with user="),
        (["items=[a]", "texts=[a,b,c]"], "texts: 3 texts for k=2"),
        (["items=[a]", "categories=[[a]]"], "categories: 1 lists for k=2"),
        (["items=[a]", "method=original"], "method: original"),
        (["garments=[red]"], "garments: element 0: 'red' is not {image: PHOTO"),
        (["garments=[{category: Hats}]"], "has neither image nor text"),
        (["items=[a]", "k=two"], "k: expected a whole number"),
        (["items=[null]"], """YAML reads null as null; to mean the text, put quotes around it: 'items=["null"]'"""),
        (["items=[12_1,~]"], """'items=["12_1", "~"]'"""),
        (['items=["it\'s",~]'], """'items=["it'"'"'s", "~"]'"""),
        (["items=[#tag]"], """'items=["#tag"]'"""),
        (["items=[@x,a]"], """'items=["@x", "a"]'"""),
        (["items=[a: b]"], """'items=["a: b"]'"""),
        (["items=[no]"], """'items=["no"]'"""),
        (["items=[a]", "texts=[%5,x]"], """'texts=["%5", "x"]'"""),
        (["items=[${x}]"], r"""'items=["\\${x}"]'"""),
        (
            ["text=${x}"],
            r"""Interpolation key 'x' not found; to mean the text, put quotes around it: 'text="\\${""",
        ),
    ],
)
def test_conflicts_of_a_command_are_named(person, arguments, text):
    assert text in one_line(person(*arguments))


@pytest.mark.parametrize(
    "name", ["null", "~", "#tag", "@x", "%5", "a: b", "no", "{a}", "*a", "0x1", "1e3", "$5", "${x}", "'"]
)
def test_an_id_in_the_quotes_that_messages_show_is_taken_as_it_is(name):
    key = keys(CompleteConfig)["items"]
    (argument,) = shlex.split(in_quotes(key, [name]).partition("quotes around it: ")[2])
    assert load_complete(["run=x", argument]).items == [name]


def test_a_run_that_is_not_there_or_not_set_is_named(person, tmp_path, capsys):
    assert "holds no run" in one_line(person("items=[a]", run=tmp_path / "nowhere"))
    assert run_command(complete.main, ["items=[a]"]) == 2
    assert "run: is not set" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_is_one_line(person, stylist, tmp_path):
    (tmp_path / "folder.png").mkdir()
    line = one_line(person(f"items=[{stylist.item_ids[0]}]", "out=folder.png"))
    assert line == "system error: out: folder.png: Is a directory"


STARTS = {"jpg": b"\xff\xd8", "JPEG": b"\xff\xd8", "webp": b"RIFF", "pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}


@pytest.mark.parametrize(("suffix", "start"), STARTS.items())
def test_a_picture_is_what_its_name_says(person, stylist, tmp_path, suffix, start):
    assert person(f"items=[{stylist.item_ids[0]}]", "k=1", "top=1", f"out=x.{suffix}")[0] == 0
    assert (tmp_path / f"x.{suffix}").read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["x", "x.bmp", "x.png.txt"])
def test_a_picture_of_another_kind_is_refused_before_the_run_is_loaded(person, name):
    assert one_line(person("items=[a]", f"out={name}", run="nowhere")).startswith(
        f"config error: out: '{name}' does not"
    )


def test_help_names_every_key_once_and_fits_a_terminal(capsys):
    with pytest.raises(SystemExit) as caught:
        complete.main(["nonsense", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text == help_text("complete")
    assert re.findall(r"^  ([a-z_.]+) = ", text, flags=re.MULTILINE) == list(keys(CompleteConfig))
    assert max(map(len, text.splitlines())) <= 100
    words = " ".join(text.split())
    assert all(" ".join(key.help.split()) in words for key in keys(CompleteConfig).values())


def test_the_picture_has_a_row_for_every_outfit_and_frames_what_was_added(stylist, run, tmp_path):
    first = stylist.item_ids[0]
    completed = stylist.complete([first], 2, method="beam", top=3)
    figure = draw_outfits(completed)
    rows = np.array(figure.axes).reshape(3, 3)
    framed = [[any(line.get_color() == FRAME for line in axis.lines) for axis in row] for row in rows]
    assert framed == [[False, True, True]] * 3
    captions = [[axis.texts[-1].get_text().split("\n")[-1] for axis in row] for row in rows]
    assert captions == [[item.id for item in outfit.items] for outfit in completed]


def test_pictures_that_are_gone_are_replaced_by_words(run, stylist, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    blind = Stylist.load(tmp_path / "run", data_root=tmp_path / "nowhere")
    (outfit,) = blind.complete([blind.item_ids[0]], 1, top=1)
    axis = draw_outfits([outfit]).axes[0]
    assert not axis.images
    assert outfit.items[0].text.split()[0] in axis.texts[0].get_text()
