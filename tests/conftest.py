"""What every test finds: few threads, no network, and the real data sets where the machine has them."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Before torch, transformers or wandb are imported here or in a process that a test starts.
os.environ.update(
    OMP_NUM_THREADS="1",
    MPLBACKEND="Agg",
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    WANDB_MODE="offline",
    WANDB_SILENT="true",
)
os.environ.pop("WANDB_API_KEY", None)

import torch

ROOT = Path(__file__).resolve().parent.parent
LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "")

torch.set_num_threads(1)
# A shell without job control starts what it puts in the background with SIGINT ignored, and tests interrupt programs.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Folder of a real data set by name; skips the test where the machine does not have it."""
    home = Path(os.environ.get("OUTFIT_DATA", ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        folder = home / name
        if not folder.is_dir():
            pytest.skip(f"real data set {name!r} is not here; set OUTFIT_DATA to the folder that holds it")
        return folder

    return find


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Lets a test that reaches for another machine fail at once instead of hanging or passing by luck."""
    connect = socket.socket.connect

    def local_connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in LOCAL_HOSTS:
            raise AssertionError(f"a test tried to reach {address[0]}:{address[1]}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local_connect)
        yield
