"""Trainings end with the same weights whether or not something interrupted them."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_modules.companions import WithCompanions
from lightning_modules.fitting import Checkpoints, fit_resumable
from outfits.config.schema.trainer import TrainerConfig
from outfits.errors import ArtifactError

CONFIG = TrainerConfig(accelerator="cpu", devices=1, enable_progress_bar=False, max_epochs=5)


class Regression(L.LightningModule):
    """A network with dropout that is interrupted at a training step."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 1))
        self.stop_at = stop_at
        self.epochs: list[int] = []

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
        if self.global_step == self.stop_at:
            raise KeyError("interrupted")
        return self.error(batch)

    def validation_step(self, batch: list[Tensor], batch_index: int) -> None:
        self.log("error", self.error(batch))
        self.epochs.append(self.current_epoch)

    def error(self, batch: list[Tensor]) -> Tensor:
        return (self.net(batch[0]).squeeze(1) - batch[1]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.05)


class Numbers(L.LightningDataModule):
    """Eight batches of fixed numbers."""

    def train_dataloader(self) -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(32, 3, generator=generator)
        return DataLoader(TensorDataset(inputs, inputs.sum(1)), batch_size=4)

    val_dataloader = train_dataloader


def fitted(folder: Path, stop_at: int | None = None, seed: int = 0, mode: str = "min", patience: int = 0) -> Regression:
    kept = Checkpoints(folder, "error", mode, patience)
    return fit_resumable(lambda: Regression(stop_at), Numbers(), CONFIG, kept, seed=seed)


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = fitted(tmp_path / "whole")
    with pytest.raises(KeyError, match="interrupted"):
        fitted(tmp_path / "cut", stop_at=20)
    resumed = fitted(tmp_path / "cut")
    assert (min(whole.epochs), min(resumed.epochs)) == (0, 2)
    for name, weights in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weights), name
    other = fitted(tmp_path / "other", seed=1)
    assert not torch.equal(other.net[0].weight, whole.net[0].weight)  # type: ignore[arg-type]


def test_the_weights_are_those_of_the_best_epoch(tmp_path: Path) -> None:
    module = fitted(tmp_path, mode="max")  # the error falls, so an early epoch is best
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert torch.equal(module.net[0].weight, best["state_dict"]["net.0.weight"])  # type: ignore[arg-type]
    assert best["epoch"] < last["epoch"] == CONFIG.max_epochs - 1


def test_a_checkpoint_of_another_network_is_one_line(tmp_path: Path) -> None:
    fitted(tmp_path)
    path = tmp_path / "last.ckpt"
    whole = torch.load(path, weights_only=True)
    for name, change, said in (
        ("net.0.weight", lambda weight: weight[:, :2], r"net\.0\.weight is \(8, 2\), configured is \(8, 3\)"),
        ("net.0.bias", None, r"net\.0\.bias is nothing, configured is \(8,\)"),
        ("net.9.bias", lambda _: torch.zeros(2), r"net\.9\.bias is \(2,\), configured is nothing"),
    ):
        weights = dict(whole["state_dict"])
        weights[name] = change(weights.get(name)) if change else None
        weights = {key: value for key, value in weights.items() if value is not None}
        torch.save(whole | {"state_dict": weights}, path)
        with pytest.raises(ArtifactError, match=f"{said}; restore config.yaml"):
            fitted(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ArtifactError, match="last.ckpt cannot be read"):
        fitted(tmp_path)


def test_patience_ends_a_training(tmp_path: Path) -> None:
    assert max(fitted(tmp_path, mode="max", patience=1).epochs) < CONFIG.max_epochs - 1


class Scripted(Regression):
    """A network whose validation errors are given."""

    def __init__(self, errors: list[float], stop_at: int | None = None) -> None:
        super().__init__(stop_at)
        self.errors = errors

    def validation_step(self, batch: list[Tensor], batch_index: int) -> None:
        self.log("error", torch.tensor(self.errors[self.current_epoch]))
        self.epochs.append(self.current_epoch)


def scripted(folder: Path, errors: list[float], stop_at: int | None = None, patience: int = 0) -> Scripted:
    kept = Checkpoints(folder, "error", "min", patience)
    return fit_resumable(lambda: Scripted(errors, stop_at), Numbers(), CONFIG, kept, seed=0)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    weights = other.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in one.state_dict().items())


def test_a_training_that_was_moved_keeps_its_best_epoch(tmp_path: Path) -> None:
    errors = [1.0, 0.1, 0.6, 0.5, 0.8]
    whole = scripted(tmp_path / "whole", errors)
    with pytest.raises(KeyError, match="interrupted"):
        scripted(tmp_path / "cut", errors, stop_at=20)
    (tmp_path / "cut").rename(tmp_path / "moved")
    resumed = scripted(tmp_path / "moved", errors)
    assert min(resumed.epochs) == 2
    assert same_weights(resumed, whole)
    (tmp_path / "moved").rename(tmp_path / "again")
    assert same_weights(scripted(tmp_path / "again", errors), whole)  # which had finished
    assert torch.load(tmp_path / "again" / "best.ckpt", weights_only=True)["epoch"] == 1


def test_checkpoints_of_lightnings_own_callbacks_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As earlier versions of this module wrote them."""
    errors = [1.0, 0.1, 0.6, 0.5, 0.8]
    with monkeypatch.context() as before:
        before.setattr("lightning_modules.fitting.MovableCheckpoint", ModelCheckpoint)
        before.setattr("lightning_modules.fitting.LastingStop", EarlyStopping)
        with pytest.raises(KeyError, match="interrupted"):
            scripted(tmp_path, errors, stop_at=20, patience=3)
    scripted(tmp_path, errors, patience=3)
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["epoch"] == 1
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 4


def test_a_training_that_had_stopped_does_not_go_on(tmp_path: Path) -> None:
    errors = [1.0, 0.5, 0.6, 0.1, 0.1]
    stopped = scripted(tmp_path, errors, patience=1)
    assert set(stopped.epochs) == {0, 1, 2}
    again = scripted(tmp_path, errors, patience=1)
    assert again.epochs == []
    assert same_weights(again, stopped)
    assert scripted(tmp_path / "other", [float("nan")] * 5, patience=1).epochs  # stopped in its first epoch
    assert scripted(tmp_path / "other", [float("nan")] * 5, patience=1).epochs == []


def test_companions_are_on_the_device_while_training() -> None:
    moves: list[torch.device] = []

    class Lent:
        def to(self, device: torch.device) -> None:
            moves.append(device)

    class Module(WithCompanions):
        device = torch.device("meta")  # type: ignore[assignment]

        def companions(self) -> list[Lent]:
            return [Lent()]

    module = Module()
    module.on_fit_start()
    assert moves == [torch.device("meta")]
    module.on_fit_end()
    assert moves[1:] == [torch.device("cpu")]
