"""The benchmarks of large catalogues run, on sizes that say nothing."""

import sys
from pathlib import Path

import dealt_catalogue
import pytest
import ten_million


def test_numbered_ids_are_those_of_a_catalogue(tmp_path: Path) -> None:
    ten_million.write_embeddings(tmp_path / "vectors.npy", 300)
    catalogue = ten_million.large_catalogue(tmp_path / "vectors.npy", 300)
    assert len(catalogue) == len(catalogue.positions) == 300
    assert catalogue.item_ids[7:9] == ["7", "8"]
    assert catalogue.positions["12"] == 12
    tasks = ten_million.random_tasks(catalogue.categories, 5)
    assert [len(set(catalogue.categories[given])) for given in tasks.given] == [3] * 5


@pytest.mark.slow
def test_ten_million_measures_every_part(tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="needs the extra lance")
    found = ten_million.main(["--items", "3000", "--turns", "2", "--threads", "1", "--folder", str(tmp_path)])
    assert [row["part"] for row in found] == list(ten_million.PARTS)
    assert all(row["one"] > 0 and row["peak"] > 0 for row in found)
    assert [row["disk"] > 0 for row in found] == [False, True, True]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from the system")
def test_targets_over_two_processes_are_those_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    peaks = dealt_catalogue.main(["--items", "3000", "--part", "700", "--outfits", "1"])
    assert peaks["one"] > 0
    assert "targets equal" in capsys.readouterr().out
