"""The service in its own processes, over HTTP: under load, when a worker is killed, and when it is stopped."""

import http.client
import importlib.util
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from outfits import Stylist
from tests.runs.programs import REPOSITORY, command
from tests.tiny_run import make_run

pytest.importorskip("litserve", reason="the service needs the extra `serve`")
pytestmark = pytest.mark.slow
WORKERS = 2


@pytest.fixture(scope="module")
def bench() -> Any:
    """``benchmarks/serve.py``, whose client the tests use too."""
    spec = importlib.util.spec_from_file_location("benchmark_serve", REPOSITORY / "benchmarks" / "serve.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("served"))


def workers_of(service: int) -> list[psutil.Process]:
    """Processes of a service that have loaded torch."""
    found = psutil.Process(service).children()
    return [one for one in found if any("libtorch" in part.path for part in one.memory_maps())]


def test_load_changes_a_killed_worker_and_a_restart(bench: Any, run: Path, tmp_path: Path) -> None:
    stylist = Stylist.load(run)
    given = list({stylist.item(one).category: one for one in reversed(stylist.item_ids)}.values())
    asked = [{"items": [given[place % 5]], "k": 2, "top": 2} for place in range(1000)]
    log, category = tmp_path / "log", stylist.categories[0]
    with bench.served(run, f"serve.workers={WORKERS}", log=log) as (port, service):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        found = bench.load(port, asked, 32)
        assert found.statuses == {200: 1000}
        answer: Any = bench.ask(connection, "POST", "/complete", asked[0])[1]
        expected = stylist.complete(asked[0]["items"], 2, top=2)
        assert [outfit["score"] for outfit in answer["outfits"]] == [outfit.score for outfit in expected]

        new = {"items": [{"id": "new", "category": category, "text": "red wool"}]}
        started = time.perf_counter()
        assert bench.ask(connection, "POST", "/items", new)[0] == 200
        searched = [{"text": "red wool", "categories": category, "top": 100}] * 20
        results: list[Any] = [bench.ask(connection, "POST", "/search", one)[1] for one in searched]  # of any worker
        assert all("new" in [match["item"]["id"] for match in one["matches"]] for one in results)
        assert time.perf_counter() - started < 10  # on a busy machine; docs/serving.md has the time on an idle one
        gone = answer["outfits"][0]["added"][0]["id"]
        assert bench.ask(connection, "DELETE", f"/items/{gone}")[0] == 200
        for _ in range(10):
            again: Any = bench.ask(connection, "POST", "/complete", asked[0])[1]
            assert gone not in [item["id"] for outfit in again["outfits"] for item in outfit["added"]]

        known = [one for one in given[:5] if one != gone]
        rest = [{"items": [known[place % len(known)]], "k": 2, "method": "beam"} for place in range(300)]
        outcome: list[Any] = []
        clients = threading.Thread(target=lambda: outcome.append(bench.load(port, rest, 16)))
        clients.start()
        time.sleep(0.5)
        killed = workers_of(service)
        assert len(killed) == WORKERS
        killed[0].kill()
        clients.join(120)
        assert not clients.is_alive()
        assert set(outcome[0].statuses) <= {200, 503}
        assert outcome[0].statuses[200] >= 200
        bench.wait_for(port)
        assert bench.load(port, rest[:40], 8).statuses == {200: 40}
        processes = psutil.Process(service).children(recursive=True)
    assert psutil.wait_procs(processes, 10)[1] == []
    assert "Traceback" not in log.read_text()

    with bench.served(run) as (port, service):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        results = [bench.ask(connection, "POST", "/search", searched[0])[1]]
        assert "new" in [match["item"]["id"] for match in results[0]["matches"]]
        assert bench.ask(connection, "DELETE", f"/items/{gone}")[0] == 404
        (only,) = workers_of(service)
        only.send_signal(signal.SIGSTOP)  # as one that is stuck
        os.kill(service, signal.SIGTERM)
        assert psutil.wait_procs([psutil.Process(service)], 30)[1] == []
    assert not only.is_running() or only.status() == psutil.STATUS_ZOMBIE


def test_a_run_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    line = command("serve.py", [f"run={tmp_path}", "serve.api=true", "serve.port=18437"]).mistake()
    assert line.startswith("artifact error: ")
    assert "holds no run" in line
