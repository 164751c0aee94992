"""benchmarks/multitask.py: runs of other arguments do not stand for those that are asked for."""

from pathlib import Path

import multitask
import pytest


def test_a_folder_of_other_arguments_is_refused(tmp_path: Path) -> None:
    multitask.check_arguments(tmp_path, ["data=mango", "seed=1"])
    multitask.check_arguments(tmp_path, ["seed=1", "data=mango"])
    with pytest.raises(SystemExit, match=r"holds runs with data=mango seed=1; give another folder"):
        multitask.check_arguments(tmp_path, [])
