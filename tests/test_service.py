"""The service without its processes: the same paths, checks and answers, from a stylist in this one."""

import base64
import json
import random
import re
import shutil
import struct
import time
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from queue import Empty
from typing import Any, get_args

import pytest
from PIL import Image

from outfits import Garment, Stylist
from outfits.completion.methods import METHODS
from outfits.config.load import load_serve
from outfits.config.schema.serve import LOOPBACK, PROPOSING_METHODS, ServeConfig
from outfits.errors import ConfigError
from outfits.models.similarity import MODALITIES, PARTS
from outfits.stylist import ItemRef
from tests.test_visit import bomb, photo_bytes
from tests.tiny_run import make_run

pytest.importorskip("litserve", reason="the service needs the extra `serve`")
from fastapi import Depends, FastAPI
from litserve.middlewares import MaxSizeMiddleware
from starlette.testclient import TestClient

from outfits.serving.answering import Answering
from outfits.serving.http import add_routes, bearer_token, may_change
from outfits.serving.photos import read_image
from outfits.serving.requests import OPERATIONS, Answer, Call, Complete, Generate, Score, Similar
from outfits.serving.service import BatchLoop

LIMITS = ServeConfig(max_upload_mb=1, max_request_mb=3, timeout=20)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose catalogue no test changes."""
    return make_run(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def stylist(run: Path) -> Stylist:
    return Stylist.load(run)


def client_of(stylist: Stylist, limits: ServeConfig = LIMITS, token: str | None = None) -> TestClient:
    """A client of the service's application, which answers in this process."""
    answering, app = Answering(stylist, limits), FastAPI()

    async def submit(call: Call) -> Answer:
        return answering.answer([call])[0]

    app.add_middleware(MaxSizeMiddleware, max_size=limits.max_request_mb * 2**20)
    add_routes(app, submit, limits, [Depends(bearer_token(token))], changeable=may_change(limits, token))
    return TestClient(app, "http://127.0.0.1:8000", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(stylist: Stylist) -> Iterator[TestClient]:
    with client_of(stylist) as client:
        yield client


@pytest.fixture(scope="module")
def ids(stylist: Stylist) -> list[str]:
    """An item of each of four categories."""
    return list({stylist.item(one).category: one for one in reversed(stylist.item_ids)}.values())[:4]


def plain(item: ItemRef) -> dict[str, str | None]:
    return {"id": item.id, "category": item.category, "text": item.text}


def outfits(found: list[Any]) -> list[dict[str, Any]]:
    """Outfits as the service answers them."""
    return [
        {
            **vars(outfit),
            "items": [plain(item) for item in outfit.items],
            "added": [plain(item) for item in outfit.added],
            "step_scores": list(outfit.step_scores),
        }
        for outfit in found
    ]


@pytest.mark.parametrize("method", PROPOSING_METHODS)
def test_completions_equal_the_stylists_to_the_bit(
    client: TestClient, stylist: Stylist, ids: list[str], method: str
) -> None:
    words = stylist.item(ids[2]).text
    asked = {"items": ids[:2], "k": 2, "method": method, "texts": [words, ""], "alpha": 0.25, "top": 3}
    answer = client.post("/complete", json=asked)
    assert answer.json()["outfits"] == outfits(
        stylist.complete(ids[:2], 2, method=method, texts=[words, ""], alpha=0.25, top=3)
    )


def test_other_answers_equal_the_stylists_to_the_bit(client: TestClient, stylist: Stylist, ids: list[str]) -> None:
    assert client.post("/score", json={"items": ids}).json()["score"] == stylist.score(ids)
    explained, found = client.post("/explain", json={"items": ids}).json(), stylist.explain(ids)
    assert (explained["score"], explained["suspect"]) == (found.score, found.suspect)
    assert [effect["replaced"] for effect in explained["items"]] == [effect.replaced for effect in found.items]
    assert [pair["score"] for pair in explained["pairs"]] == [pair.score for pair in found.pairs]
    for path, asked, matches in (
        ("/similar", {"item": ids[0], "top": 4, "modality": "text"}, stylist.similar(ids[0], 4, modality="text")),
        ("/search", {"text": "red", "top": 4}, stylist.search("red", 4)),
        (
            "/search",
            {"text": "red", "categories": stylist.categories[0]},
            stylist.search("red", categories=stylist.categories[0]),
        ),
    ):
        expected = [{"item": plain(match.item), "similarity": match.similarity} for match in matches]
        assert client.post(path, json=asked).json()["matches"] == expected
    answer = client.post("/generate", json={"text": "red", "size": 3, "method": "generator_beam"})
    assert answer.json()["outfits"] == outfits(stylist.generate("red", size=3, method="generator_beam"))


def test_a_photo_may_come_in_three_ways(client: TestClient, stylist: Stylist, ids: list[str]) -> None:
    photo = photo_bytes("JPEG", (300, 400))
    category = stylist.item(ids[1]).category
    expected = stylist.score([ids[0], Garment(category, "", read_image(photo, 50))])
    coded = {"category": category, "image": base64.b64encode(photo).decode()}
    named = json.dumps({"items": [ids[0], {"category": category, "photo": "front"}]})
    for answer in (
        client.post("/score", json={"items": [ids[0], coded]}),
        client.post("/score", data={"request": named}, files={"front": ("../../x.jpg", photo, "image/jpeg")}),
        client.post("/score", files={"request": ("x.json", named.encode()), "front": ("x", photo)}),
    ):
        assert answer.json()["score"] == expected


def test_requests_answered_together_are_answered_as_alone(stylist: Stylist, ids: list[str]) -> None:
    own = {"category": stylist.item(ids[0]).category, "text": "red wool"}
    asked = [
        {"items": [ids[0]]},
        {"items": [ids[1]], "texts": "red"},
        {"items": [own]},
        {"items": [ids[2], ids[3]], "k": 1},
        {"items": [ids[3]], "categories": [stylist.item(ids[0]).category, stylist.item(ids[1]).category]},
        {"items": [ids[0]], "method": "greedy_k"},
    ]
    calls = [Call("complete", Complete.model_validate(one)) for one in asked]
    calls.insert(2, Call("score", Score(items=ids[:2])))
    together = Answering(stylist, LIMITS).answer(calls)
    assert together == [Answering(stylist, LIMITS).answer([call])[0] for call in calls]
    assert {answer.status for answer in together} == {200}


def test_a_wrong_request_costs_those_beside_it_nothing(stylist: Stylist, ids: list[str]) -> None:
    asked: list[Any] = [[ids[0]], ["nothing"], [ids[1]], [{"category": "Spaceships", "text": "red"}]]
    calls = [Call("complete", Complete.model_validate({"items": items})) for items in asked]
    answers = Answering(stylist, LIMITS).answer(calls)
    assert [answer.status for answer in answers] == [200, 422, 200, 422]
    assert answers[0] == Answering(stylist, LIMITS).answer(calls[:1])[0]


ONE = {"items": ["ID"]}
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("/complete", {}, "items"),
    ("/complete", {"items": []}, "items"),
    ("/complete", {"items": ["nothing"]}, "items.0"),
    ("/complete", {**ONE, "k": "2"}, "k"),
    ("/complete", {**ONE, "k": 2.5}, "k"),
    ("/complete", {**ONE, "k": 10**400}, "k"),
    ("/complete", {**ONE, "k": True}, "k"),
    ("/complete", {**ONE, "k": 0}, "k"),
    ("/complete", {**ONE, "k": 8}, "k"),  # more than the generator has learned
    ("/complete", {**ONE, "alpha": 2}, "alpha"),
    ("/complete", {**ONE, "methd": "beam"}, "methd"),
    ("/complete", {**ONE, "method": "exhaustive"}, "method"),
    ("/complete", {**ONE, "method": "beam:width=1000000000"}, "method"),
    ("/complete", {**ONE, "texts": ["red"] * 3}, "texts"),
    ("/complete", {**ONE, "texts": ["red"] * 9}, "texts"),
    ("/complete", {**ONE, "categories": ["Spaceships"]}, ""),
    ("/complete", {"items": [{"category": "Hats"}]}, "items.0"),
    ("/score", {"items": ["ID", "ID"]}, ""),
    ("/score", {"items": [{"category": "Hats", "image": "%%%"}]}, "items.0.image"),
    ("/score", {"items": [{"category": "Hats", "image": base64.b64encode(b"no image").decode()}]}, "items.0.image"),
    ("/score", {"items": [{"category": "Hats", "image": base64.b64encode(bomb()).decode()}]}, "items.0.image"),
    ("/score", {"items": [{"category": "Hats", "image": "A" * 1_400_004}]}, "items.0.image"),
    ("/score", {"items": [{"category": "Hats", "photo": "front"}]}, "items.0.photo"),
    ("/score", {"items": [{"category": "Hats", "image": "AAAA", "photo": "x"}]}, "items.0.image"),
    ("/explain", {"items": ["ID"]}, "items"),
    ("/similar", {"item": "../../etc/passwd"}, "item"),
    ("/similar", {"item": "ID", "modality": "parts"}, "modality"),
    ("/refine", {"item": "ID", "text": "in red"}, ""),
    ("/search", {"text": "xyzzy"}, ""),
    ("/generate", {"text": "red", "size": 9}, "size"),
    ("/items", {"items": [{"id": "ID", "category": "Hats", "text": "red"}]}, ""),
    ("/items", {"items": [{"id": "a", "category": "Hats", "text": "red"}] * 2}, "items"),
    ("/items", {"items": [{"category": "Hats", "text": "red"}]}, "items.0.id"),
]


@pytest.mark.parametrize(("path", "asked", "field"), WRONG, ids=[f"{row[0][1:]}_{i}" for i, row in enumerate(WRONG)])
def test_what_cannot_be_used_is_named_by_its_field(
    client: TestClient, ids: list[str], path: str, asked: dict[str, Any], field: str
) -> None:
    answer = client.post(path, json=json.loads(json.dumps(asked).replace('"ID"', f'"{ids[0]}"')))
    assert answer.status_code == 422
    fields = [one["field"] for one in answer.json()["detail"]]
    assert any(one == field or (field and one.startswith(f"{field}.")) for one in fields), answer.text


def huge_png(width: int, height: int) -> bytes:
    """A PNG whose header promises what its few bytes do not hold."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def text_bomb() -> bytes:
    """A PNG with a compressed text of 60 megabytes."""
    buffer = BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    body = b"zTXt" + b"k\x00\x00" + zlib.compress(bytes(60_000_000))
    bomb = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return buffer.getvalue()[:33] + bomb + buffer.getvalue()[33:]


HOSTILE_FILES = (
    b"",
    b"PK\x03\x04" + bytes(300),
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    photo_bytes("JPEG", (300, 400))[:700],
    photo_bytes("PNG")[:60],
    huge_png(60_000, 60_000),
    huge_png(2**31 - 1, 2**31 - 1),
    text_bomb(),
    bomb(),
    b"GIF89a" + bytes(40),
    b"\xff\xd8\xff\xe0" + bytes(2000),
)
HOSTILE_TEXTS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "../../../../etc/passwd",
    "'; DROP TABLE changes; --",
    "\x00",
    "\u202e\ufeff",
    "{{7*7}}${7*7}",
    "a" * 100_000,
    "🧥" * 900,
    "%s%n%x",
    "",
    " ",
)
HOSTILE_NUMBERS = (-1, 0, 10**30, -(10**30), 1e308, 1e-320, 3.5, True, "2", None, float("nan"), float("inf"), [], {})


def hostile_value(draw: random.Random, depth: int = 0) -> Any:
    """Something that a field does not expect."""
    kind = draw.randrange(6 if depth < 3 else 3)
    if kind == 0:
        return draw.choice(HOSTILE_NUMBERS)
    if kind == 1:
        return draw.choice(HOSTILE_TEXTS)
    if kind == 2:
        photo = base64.b64encode(draw.choice(HOSTILE_FILES)).decode()
        return {"category": draw.choice(["Hats", *HOSTILE_TEXTS]), "text": draw.choice(HOSTILE_TEXTS), "image": photo}
    if kind == 3:
        return [hostile_value(draw, depth + 1) for _ in range(draw.randrange(4))]
    if kind == 4:
        return {draw.choice([*HOSTILE_TEXTS, "category", "image", "id"]): hostile_value(draw, depth + 1)}
    return [["x"] * draw.randrange(50)] * draw.randrange(50)


def hostile_request(draw: random.Random, known: list[str]) -> dict[str, Any]:
    """Arguments of a request: some fields as they should be, others not, or a body that is no JSON."""
    operation = draw.choice([one for one in OPERATIONS.values() if one.method == "POST"])
    usual: dict[str, Any] = {"items": known, "item": known[0], "text": "red", "k": 1, "top": 2}
    fields = list(operation.request.model_fields)
    asked = {name: usual[name] for name in fields if name in usual and draw.random() < 0.8}
    for name in draw.sample(fields, draw.randrange(len(fields)) + 1):
        if draw.random() < 0.6:
            asked[name] = hostile_value(draw)
    kind = draw.randrange(12)
    if kind == 0:
        raw = draw.choice(
            [b"", b"[" * 100_000, b"\xff\xfe", b'{"k": 1e999999}', b'{"items": ["\\ud800"]}', b"null", b"{}"]
        )
        return {"url": operation.path, "content": raw, "headers": {"content-type": "application/json"}}
    if kind == 1:
        files = {draw.choice(["front", "request", "<b>", "../x"]): ("../../x", draw.choice(HOSTILE_FILES))}
        form = json.dumps({"items": [*known, {"category": "Hats", "photo": "front"}]})
        return {"url": operation.path, "data": {draw.choice(["request", "other"]): form}, "files": files}
    if kind == 2:
        head = {"content-type": draw.choice(["multipart/form-data", "multipart/form-data; boundary=x", "text/html"])}
        return {"url": operation.path, "content": b"--x\r\nnonsense", "headers": head}
    return {"url": operation.path, "content": json.dumps(asked), "headers": {"content-type": "application/json"}}


def test_two_hundred_hostile_requests_are_refused_in_one_line_each(run: Path, tmp_path: Path, capsys: Any) -> None:
    shutil.copytree(run, tmp_path / "run")
    stylist = Stylist.load(tmp_path / "run")
    client, draw = client_of(stylist), random.Random(15)
    statuses: dict[int, int] = {}
    for number in range(200):
        asked = hostile_request(draw, list(stylist.item_ids[:2]))
        started = time.perf_counter()
        if number % 20:
            answer = client.post(**asked)
        else:
            answer = client.delete(f"/items/{draw.choice(['..%2f..%2fetc', '%00', '<b>', '%ff', 'x' * 5000, ' '])}")
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        assert time.perf_counter() - started < 5
        assert answer.status_code in (200, 400, 404, 413, 415, 422), (asked["url"], answer.text[:300])
        assert answer.headers["content-type"] == "application/json"
        assert "Traceback" not in answer.text
        assert str(tmp_path.parent) not in answer.text
        answer.json()
    assert statuses[422] > 80
    assert statuses[200] > 10
    assert capsys.readouterr().err == ""


def test_a_request_may_not_be_larger_than_the_limit(client: TestClient) -> None:
    large = {"content": b" " * (3 * 2**20 + 1), "headers": {"content-type": "application/json"}}
    assert client.post("/score", **large).status_code == 413
    unsaid = {"content": iter([b" " * 2**20] * 4), "headers": {"content-type": "application/json"}}
    assert client.post("/score", **unsaid).status_code == 413


def test_a_token_is_asked_for_and_other_origins_are_not_invited(stylist: Stylist, ids: list[str]) -> None:
    client, asked = client_of(stylist, token="sesame"), {"json": {"items": ids}}
    for header in ({}, {"authorization": "Bearer Sesam"}, {"authorization": "sesame"}, {"authorization": "Bearer é"}):
        coded = {name: value.encode() for name, value in header.items()}
        assert client.post("/score", headers=coded, **asked).status_code == 401
    right = {"authorization": "Bearer sesame", "origin": "http://elsewhere"}
    answer = client.post("/score", headers=right, **asked)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(("host", "token", "status"), [("::", None, 403), ("::", "x", 422), (LOOPBACK, None, 422)])
def test_a_network_changes_the_catalogue_with_a_token_alone(
    stylist: Stylist, ids: list[str], host: str, token: str | None, status: int
) -> None:
    client, header = client_of(stylist, ServeConfig(host=host), token), {"authorization": f"Bearer {token}"}
    item = {"id": ids[0], "category": "Spaceships", "text": "red"}
    answer = client.post("/items", json={"items": [item]}, headers=header)
    assert answer.status_code == status
    assert ("without a token" in answer.json()["detail"][0]["message"]) == (status == 403)
    assert client.delete("/items/nothing", headers=header).status_code == (403 if status == 403 else 404)
    assert client.post("/score", json={"items": ids}, headers=header).status_code == 200


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"host": "localhost:8000"}, True),
        ({"host": "shop.example"}, False),
        ({"host": "127.0.0.1.shop.example:8000"}, False),
        ({"origin": "http://shop.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://["}, False),
        ({"host": "["}, False),
        ({"origin": "http://127.0.0.1:8000"}, True),
        ({"origin": "http://127.0.0.1:9000"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "same-origin", "origin": "https://127.0.0.1"}, True),
        ({"sec-fetch-site": "none"}, True),
    ],
)
@pytest.mark.parametrize("token", [None, "x"])
def test_a_page_elsewhere_cannot_change_the_catalogue(
    stylist: Stylist, ids: list[str], headers: dict[str, str], allowed: bool, token: str | None
) -> None:
    client, known = client_of(stylist, token=token), {"authorization": f"Bearer {token}"}
    item = {"id": ids[0], "category": "Spaceships", "text": "red"}
    form = {"request": (None, json.dumps({"items": [item]}))}  # which a browser sends to other origins unasked
    status = 422 if allowed or token else 403
    assert client.post("/items", files=form, headers={**known, **headers}).status_code == status
    assert client.delete("/items/nothing", headers={**known, **headers}).status_code == (404 if status == 422 else 403)
    assert client.post("/score", json={"items": ids}, headers={**known, **headers}).status_code == 200


class SteadyQueue:
    """A queue into which the next call comes just before one stops waiting for it."""

    def get(self, timeout: float) -> tuple[str, float, None]:
        sent = time.monotonic()
        time.sleep(timeout / 2)
        return "", sent, None

    def get_nowait(self) -> None:
        raise Empty


def test_gathering_requests_ends_however_many_come() -> None:
    started = time.monotonic()
    batch = BatchLoop._batch(SteadyQueue(), 32, 0.1, 0.2)
    assert 1 < len(batch) <= 32
    assert time.monotonic() - started < 1


def test_what_takes_too_long_is_refused(stylist: Stylist, ids: list[str]) -> None:
    app = FastAPI()

    async def submit(call: Call) -> Answer:
        import asyncio

        await asyncio.sleep(60)
        raise AssertionError

    add_routes(app, submit, ServeConfig(timeout=0.05))
    answer = TestClient(app).post("/score", json={"items": ids})
    assert answer.status_code == 503
    assert "within 0.05 seconds" in answer.text


def test_a_changed_catalogue_is_seen_by_every_worker_and_after_a_restart(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    one, other = (client_of(Stylist.load(tmp_path / "run")) for _ in range(2))
    stylist = Stylist.load(tmp_path / "run")
    category = stylist.categories[0]
    photo = base64.b64encode(photo_bytes("JPEG", (300, 400))).decode()
    new = [{"id": "a/ b", "category": category, "text": "red wool", "image": photo}]
    added = one.post("/items", json={"items": new})
    assert added.json() == {"added": ["a/ b"], "items": len(stylist) + 1}
    assert one.post("/items", json={"items": new}).status_code == 422
    searched = {"json": {"text": "red wool", "categories": category, "top": 3}}
    for client in (other, client_of(Stylist.load(tmp_path / "run"))):
        assert "a/ b" in [match["item"]["id"] for match in client.post("/search", **searched).json()["matches"]]
    assert other.delete("/items/a%2F%20b").json()["removed"] == "a/ b"
    assert one.delete("/items/a%2F%20b").status_code == 404
    assert one.post("/search", **searched).json()["matches"] == other.post("/search", **searched).json()["matches"]
    gone = stylist.item_ids[0]
    assert one.delete(f"/items/{gone}").status_code == 200
    assert other.post("/score", json={"items": [gone]}).status_code == 422


def test_the_documentation_has_every_operation_and_field(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    for operation in OPERATIONS.values():
        described = schema["paths"][operation.path.replace(":path", "")][operation.method.lower()]
        assert described["description"] == operation.request.__doc__
    text = json.dumps(schema)
    known = schema["components"]["schemas"]
    for reference in {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in known
    assert set(known["Complete"]["properties"]) == set(Complete.model_fields)


def test_the_page_of_the_documentation_fetches_nothing(client: TestClient) -> None:
    answer = client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert re.findall(r"""(?:src|href)=["']?([^"'> ]+)""", answer.text) == ["openapi.json"]
    for operation in OPERATIONS.values():
        assert f"<code>{operation.method} {operation.path.replace(':path', '')}</code>" in answer.text
        assert all(f"<code>{name}</code>" in answer.text for name in operation.request.model_fields)
    assert "integer from 1 to 8" in answer.text


def test_names_of_choices_are_those_of_the_stylist(stylist: Stylist) -> None:
    assert get_args(Similar.model_fields["modality"].annotation) == (*MODALITIES, PARTS)
    assert all(stylist.can(name) and name in METHODS for name in PROPOSING_METHODS)
    for method in get_args(Generate.model_fields["method"].annotation):
        assert stylist.generate("red", size=2, method=method)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve.host=example.org"], "serve.host: the service is on one of"),
        (["serve.port=80"], "serve.port: the service has a port from 1024 on"),
        (["serve.keep=visits"], "serve.keep: belongs to the page"),
        (["serve.workers=0"], "serve.workers"),
    ],
    ids=["host", "port", "keep", "workers"],
)
def test_what_the_service_cannot_be_is_one_line(arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_serve(["run=somewhere", "serve.api=true", *arguments])
