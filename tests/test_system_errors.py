"""What the operating system refuses is one line with key, path and reason; a mistake does not take the run's folder."""

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import complete
import evaluate
import train
from lightning_modules.trainer import CheckpointsInOnePiece
from outfits import run_files
from outfits.config.command import naming_keys, run_command
from outfits.config.load import load_config
from outfits.config.schema import Config
from outfits.data.load import load_dataset
from outfits.errors import DataError, SystemFault
from outfits.processes import Stopped
from outfits.storage import reserve, write_arrays, write_text, writing
from pipeline.run import open_run
from tests.layouts import write_polyvore_root
from tests.tiny_run import RECIPE, make_run

FAST = ["wandb.mode=off", "stages=[embeddings,compatibility]"]


def line_of(main, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a command that ends with status 2."""
    capsys.readouterr()
    assert run_command(main, arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    return {name: str(tmp_path / name) for name in ("data.root", "cache_dir", "run_dir")}


def arguments_of(place: dict[str, str], *more: str) -> list[str]:
    return [f"experiment={RECIPE}", *(f"{key}={value}" for key, value in place.items()), *FAST, *more]


@pytest.mark.parametrize("key", ["run_dir", "cache_dir", "data.root"])
@pytest.mark.parametrize("below", ["", "/x", "/x/y"])
def test_a_file_where_a_folder_should_be(
    tmp_path: Path, place: dict[str, str], key: str, below: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    line = line_of(train.main, arguments_of(place | {key: f"{file}{below}"}), capsys)
    assert line.startswith((f"system error: {key}: {file}", "data error: ")), line
    assert str(file) in line
    assert file.read_text() == "mine"


@pytest.mark.parametrize("key", ["run_dir", "cache_dir", "data.root"])
def test_a_folder_that_cannot_be_made(place: dict[str, str], key: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = line_of(train.main, arguments_of(place | {key: "/proc/nope/x"}), capsys)
    assert line.startswith(f"system error: {key}: /proc/nope")


@contextmanager
def write_limit(size: int) -> Iterator[None]:
    """Lets no file of this process grow above ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_write_limit_is_named_and_what_was_finished_stays(
    tmp_path: Path, place: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    load_dataset(load_config(arguments_of(place)).data)  # writes the drawn data
    with write_limit(16_000):
        line = line_of(train.main, arguments_of(place), capsys)
    assert line.startswith(f"system error: cache_dir: {tmp_path / 'cache_dir'}")
    assert line.endswith(os.strerror(errno.EFBIG))
    assert run_command(train.main, arguments_of(place)) == 0


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_arrays(path, {"a": np.zeros(50_000)}),
        lambda path: write_text(path, "a" * 100_000),
        lambda path: CheckpointsInOnePiece().save_checkpoint({"a": torch.zeros(50_000)}, path),
    ],
    ids=["arrays", "text", "checkpoint"],
)
def test_every_writer_names_its_file_and_leaves_the_old_one(tmp_path: Path, write) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with write_limit(10_000), pytest.raises(OSError, match=os.strerror(errno.EFBIG)) as caught:
        write(path)
    assert caught.value.filename == str(path)
    assert caught.value.strerror
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_space_is_taken_before_a_file_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "map"
    np.memmap(path, np.uint8, "w+", shape=(5000,))
    reserve(path)
    assert path.stat().st_blocks * 512 >= 5000

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left") as caught:
        reserve(path)
    assert caught.value.filename == str(path)


def test_an_error_about_no_key_is_still_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv: object) -> None:
        with naming_keys(Config()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/elsewhere/file")

    assert line_of(main, [], capsys) == "system error: /elsewhere/file: No space left on device"

    def of_a_worker(argv: object) -> None:
        raise OSError("Caught OSError in worker 0.\nTraceback:\nOSError: [Errno 5] Input/output error")

    assert line_of(of_a_worker, [], capsys).endswith("[Errno 5] Input/output error")


def test_the_nearest_key_is_named(tmp_path: Path) -> None:
    config = Config(run_dir=str(tmp_path / "a"), cache_dir=str(tmp_path / "a" / "cache"))
    for name, key in (("a/cache/x", "cache_dir"), ("a/report/x", "run_dir"), ("a", "run_dir")):
        with pytest.raises(SystemFault, match=f"^system error: {key}: "), naming_keys(config):
            raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / name))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("finished"))


def test_the_other_programs_too(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    line = line_of(evaluate.main, [f"run={finished}", f"cache_dir={file}", *FAST[:1]], capsys)
    assert line.startswith(f"system error: cache_dir: {file}")
    line = line_of(complete.main, [f"run={finished}", "text=red", "size=2", f"out={file}/x.png"], capsys)
    assert line.startswith(f"system error: out: {file}")


MISTAKES = {
    "a missing photo": ([], "Set data.on_missing_image=mask", ["data.on_missing_image=mask"]),
    "a device": (["trainer.accelerator=gpu"], "trainer.accelerator", ["trainer.accelerator=cpu"]),
    "too few outfits": (["data.min_items=50"], "data.min_items", ["data.min_items=2"]),
    "no such encoder": (
        ["encoder.image=learned", "encoder.learned.run=/nowhere"],
        "/nowhere",
        ["encoder.image=classical"],
    ),
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU that is asked for in vain")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_corrected_command_takes_the_same_folder(
    mistake: str, place: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(place["data.root"])
    write_polyvore_root(root)
    next(iter((root / "images").iterdir())).unlink()
    wrong, said, right = MISTAKES[mistake]
    common = arguments_of(place, "data.format=polyvore_outfits", "data.split.mode=official", "scorer.epochs=1")
    masks = [] if mistake == "a missing photo" else ["data.on_missing_image=mask"]
    assert said in line_of(train.main, [*common, *masks, *wrong], capsys)
    assert not Path(place["run_dir"]).exists()
    assert run_command(train.main, [*common, *masks, *right]) == 0, capsys.readouterr().err


def in_trouble(error: BaseException):
    def main(argv: object) -> None:
        with writing(Path("/somewhere")):
            raise error

    return main


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_full_disk_without_a_name_is_that_of_what_was_written(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    main = in_trouble(OSError(number, os.strerror(number)))
    assert line_of(main, [], capsys) == f"system error: /somewhere: {os.strerror(number)}"


@pytest.mark.parametrize("error", [BrokenPipeError(errno.EPIPE, "Broken pipe"), OSError(errno.EMFILE, "Too many")])
def test_an_error_of_something_else_is_not_blamed_on_what_was_written(
    error: OSError, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line_of(in_trouble(error), [], capsys) == f"system error: {error.strerror}"


def test_a_file_system_that_cannot_reserve_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    (tmp_path / "map").write_bytes(b"1")
    monkeypatch.setattr(os, "posix_fallocate", unable)
    reserve(tmp_path / "map")


def a_run(folder: Path) -> list[str]:
    return [f"experiment={RECIPE}", f"run_dir={folder}", f"data.root={folder}-data", f"cache_dir={folder}-cache"]


@pytest.mark.parametrize("what", ["link", "working folder"])
def test_a_folder_that_cannot_be_removed_hides_no_error(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    if what == "link":
        (tmp_path / "real").mkdir()
        folder.symlink_to(tmp_path / "real")
    else:
        folder.mkdir()
        monkeypatch.chdir(folder)
    place = folder if what == "link" else "."
    run = open_run(load_config([*a_run(folder), f"run_dir={place}"]))
    with pytest.raises(DataError, match="the real reason"), run.left_in_order():
        raise DataError("the real reason")
    assert not (folder / run_files.CONFIG).exists()


def test_a_run_taken_up_again_is_never_removed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = open_run(load_config(a_run(folder)))
    again = open_run(load_config([f"resume={folder}"]))
    second = open_run(load_config(a_run(folder)))
    for run in (again, second):
        with pytest.raises(Stopped) as caught, run.left_in_order():
            raise Stopped(signal.SIGINT)
        assert caught.value.__notes__ == [f"train.py resume={folder} goes on from here"]
        assert (folder / run_files.CONFIG).is_file()
    with pytest.raises(Stopped) as caught, first.left_in_order():
        raise Stopped(signal.SIGINT)
    assert "the same command starts again" in caught.value.__notes__[0]
    assert not folder.exists()


def test_a_folder_with_a_product_is_kept(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = finished.parent / "data" / "images"
    images.rename(images.with_name("elsewhere"))
    try:
        line = line_of(train.main, [f"resume={finished}", "wandb.mode=off"], capsys)
    finally:
        images.with_name("elsewhere").rename(images)
    assert line.startswith("data error"), line
    assert (finished / run_files.CONFIG).is_file()
    assert (finished / run_files.SCORER).is_file()
