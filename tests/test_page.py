"""The page in a server of its own, and in a browser where there is one."""

import json
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from outfits import Stylist
from outfits.config.load import load_serve
from outfits.config.schema.serve import ServeConfig
from outfits.errors import ConfigError
from outfits.serving import visit as visits
from outfits.serving.keeping import OUTFIT
from outfits.serving.visit import Visit
from tests.test_visit import photo_bytes
from tests.tiny_run import make_run

pytest.importorskip("gradio", reason="the page needs the extra `serve`")
gradio_client = pytest.importorskip("gradio_client")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page that is served while the tests of this file run."""
    from outfits.serving.page import launch

    root = tmp_path_factory.mktemp("page")
    make_run(root)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = launch(Stylist.load(root / "run"), ServeConfig(port=port), prevent_thread_lock=True, quiet=True)
    yield f"http://127.0.0.1:{port}"
    page.close()


def test_the_page_is_there_and_asks_no_other_host(address: str) -> None:
    answer = httpx.get(address)
    assert answer.status_code == 200
    assert "Complete an outfit" in answer.text
    fetched = re.findall(r"""(?:src|href)=["']?(https?://[^"'> ]+)""", answer.text)
    assert [url for url in fetched if not url.startswith(address)] == []


def test_the_api_completes_and_explains_an_outfit_of_the_data(address: str) -> None:
    client = gradio_client.Client(address, verbose=False)
    asked = (1, "greedy_k", 0.5, [], "", [], "", [], "")
    assert "put at least one item" in str(client.predict(*asked, api_name="/complete"))
    refused = str(client.predict("no such outfit", api_name="/take_outfit"))
    assert "there is no outfit" in refused
    name = client.predict(api_name="/outfit_ids")[0]
    assert "S of the whole" in str(client.predict(name, api_name="/take_outfit"))
    assert "put at least one item" not in str(completed := client.predict(*asked, api_name="/complete"))
    assert "adds" in str(completed)
    assert "The pair that goes together least" in str(client.predict(api_name="/explain"))
    other = gradio_client.Client(address, verbose=False)
    assert "put at least one item" in str(other.predict(*asked, api_name="/complete"))  # a visit of its own


def test_a_garment_without_a_text_is_named_by_its_category(tmp_path: Path) -> None:
    from outfits.serving.page import _explain

    make_run(tmp_path)
    stylist, visit = Stylist.load(tmp_path / "run"), Visit()
    for size in ((40, 40), (50, 40)):
        visit = visits.add_image(visit, stylist, photo_bytes("PNG", size), 50)
    table = _explain(stylist, visit)[1]
    assert f"**{visit.items[0].ref.category}" not in table
    assert re.search(r"\| \*\*\d\. \S+\*\* \|", table)


def test_the_models_are_used_in_turns_which_a_capsule_gives_back(tmp_path: Path) -> None:
    from outfits.serving.page import _capsule, _explain
    from outfits.serving.turns import TURN

    stylist = Stylist.load(make_run(tmp_path))
    visit = visits.take_outfit(Visit(), stylist.outfit(stylist.outfit_ids[0]))
    steps = _capsule(stylist, visit, 20, 0.5)
    next(steps)  # and two more can begin
    assert [TURN.acquire(blocking=False) for _ in range(3)] == [True, True, False]
    asked = threading.Thread(target=_explain, args=(stylist, visit))
    asked.start()
    asked.join(0.3)
    assert asked.is_alive()
    TURN.release(2)
    asked.join(10)
    assert not asked.is_alive()


@pytest.mark.parametrize("empty", ["removed", "cleared"])
def test_a_kept_photo_goes_with_the_last_item(tmp_path: Path, empty: str) -> None:
    from outfits.serving.page import _kept

    make_run(tmp_path)
    stylist, config = Stylist.load(tmp_path / "run"), ServeConfig(keep=str(tmp_path / "kept"))
    assert _kept(Visit(), Visit(), config).name == ""
    visit = _kept(visits.add_image(Visit(), stylist, photo_bytes("PNG"), 50), Visit(), config)
    folder = tmp_path / "kept" / visit.name
    assert len(list(folder.glob("*.jpg"))) == 1
    changed = _kept(visits.remove(visit, 0) if empty == "removed" else visits.clear(visit), visit, config)
    assert changed.name == visit.name
    assert [path.name for path in folder.iterdir()] == [OUTFIT]
    assert json.loads((folder / OUTFIT).read_text()) == {"items": []}


def test_the_command_line_names_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="run: is not set"):
        load_serve([])
    with pytest.raises(ConfigError, match=r"serve.prot: no such key; did you mean serve.port"):
        load_serve(["run=somewhere", "serve.prot=3"])
    assert load_serve(["run=somewhere", "serve.port=8080"]).serve.port == 8080


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium on the PATH")
def test_a_visit_in_a_browser(address: str, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(photo_bytes("JPEG", (300, 400)))
    (tmp_path / "broken.jpg").write_bytes(photo_bytes("JPEG", (300, 400))[:700])
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        outside: list[str] = []
        page.on("request", lambda asked: outside.append(asked.url) if asked.url.startswith("https:") else None)
        page.goto(address)
        page.locator(".thumbnail-item").first.click()
        page.get_by_text("One item: complete it").wait_for()
        page.get_by_role("button", name="Complete the outfit").click()
        page.get_by_role("button", name="Take proposal 1").click()
        page.get_by_role("button", name="Another one for it").wait_for()
        page.get_by_role("checkbox").first.check()
        page.get_by_role("button", name="Ask again for the others").click()
        page.get_by_role("button", name="Take proposal 1").wait_for()
        page.get_by_role("tab", name="Photos").click()
        page.locator("input[type=file]").first.set_input_files([str(tmp_path / "0.jpg"), str(tmp_path / "1.jpg")])
        page.wait_for_timeout(2000)
        before = page.locator(".thumbnail-item").count()
        page.locator("input[type=file]").first.set_input_files([str(tmp_path / "broken.jpg")])
        page.get_by_text("the photo cannot be read").wait_for()
        assert page.locator(".thumbnail-item").count() == before  # nothing was lost
        page.get_by_text("Which item is wrong?").click()
        page.get_by_role("button", name="Explain").click()
        page.get_by_text("The pair that goes together least").wait_for()
        browser.close()
    assert outside == []
