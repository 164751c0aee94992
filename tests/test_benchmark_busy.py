"""benchmarks/busy.py: its pieces of work are done, its busy processes end, and its table holds medians."""

import json
import os

import busy
import pytest


@pytest.fixture(scope="module")
def works():
    return busy.make_works()


@pytest.mark.parametrize(("work", "count"), [("scorer", 1), ("generator", 1), ("greedy", 1), ("gradient", 4)])
def test_a_piece_of_work_is_done_as_often_as_asked(works, work, count):
    assert tuple(works) == busy.WORKS
    assert [works[work](), works[work]()] == [count, count]


def test_busy_processes_end_with_the_block():
    with busy.busy_processes(2) as processes:
        assert [process.poll() for process in processes] == [None, None]
    assert all(process.returncode is not None for process in processes)


def test_a_busy_process_ends_by_itself(monkeypatch):
    monkeypatch.setattr(busy, "BUSY_LIMIT", 0.05)
    with busy.busy_processes(1) as (process,):
        assert process.wait(timeout=20) == 0


class Recorded:
    """A worker that answers at once: one after the other 1, 2, 6, … times a second, by threads and busy processes."""

    asked: list[tuple[int, str, str]] = []
    busy = 0

    def __init__(self, threads, wait):
        self.threads, self.wait, self.answers = threads, wait, {}

    def measure(self, work, seconds):
        Recorded.asked.append((self.threads, self.wait, work))
        answers = self.answers.setdefault((work, Recorded.busy), [1.0, 2.0, 6.0])
        return answers.pop(0) * self.threads / (1 + Recorded.busy), 7.0

    def stop(self):
        Recorded.asked.append((self.threads, self.wait, "stopped"))


def test_the_table_holds_medians_of_rounds_in_turn(monkeypatch, tmp_path, capsys):
    def no_processes(count):
        Recorded.busy = count
        return busy.ExitStack()

    monkeypatch.setattr(Recorded, "asked", [])
    monkeypatch.setattr(busy, "Worker", Recorded)
    monkeypatch.setattr(busy, "busy_processes", no_processes)
    path = tmp_path / "rows.json"
    rows = busy.main(["--works", "scorer", "greedy", "--busy", "0", "1", "--json", str(path)])
    found = {(row.work, row.threads, row.wait, row.busy): row.per_second for row in rows}
    settings = [(1, "passive"), (2, "active"), (2, "passive")]  # one thread waits for no other
    assert found == {
        (work, threads, wait, beside): 2.0 * threads / (1 + beside)
        for work in ("scorer", "greedy")
        for threads, wait in settings
        for beside in (0, 1)
    }
    assert Recorded.asked[:6] == [(*setting, work) for work in ("scorer", "greedy") for setting in settings]
    assert Recorded.asked[-3:] == [(*setting, "stopped") for setting in reversed(settings)]
    assert json.loads(path.read_text())[0] == vars(rows[0])
    printed = capsys.readouterr().out
    assert " ".join(printed.splitlines()[-1].split()) == "greedy 2 passive 4.00/s 7.0 ms 2.00/s 7.0 ms"


@pytest.mark.slow
def test_a_worker_measures_in_a_process_of_its_own():
    worker = busy.Worker(1, "passive")
    try:
        per_second, cpu_ms = worker.measure("scorer", 0.2)
    finally:
        worker.stop()
    assert per_second > 0
    assert 0 < cpu_ms <= 1000 * (os.cpu_count() or 1) / per_second
