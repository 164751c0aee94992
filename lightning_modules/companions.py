"""Frozen parts that a module trains with: on its device while it trains, and nowhere in its checkpoints."""

from collections.abc import Iterable
from typing import Any, Protocol

import lightning as L
import torch


class Companion(Protocol):
    """What can be moved to a device in place."""

    def to(self, device: torch.device) -> Any:
        """Moves it."""
        ...


class WithCompanions(L.LightningModule):
    """A module with frozen parts that are no submodules, since checkpoints hold every network that is an attribute.

    Lightning moves submodules alone. Companions go to this rank's device for the training, and back to the processor
    after it, like the module: other code that has them goes on there.
    """

    def companions(self) -> Iterable[Companion]:
        """Returns the frozen parts."""
        raise NotImplementedError

    def on_fit_start(self) -> None:
        """Moves the companions to this rank's device."""
        self._move(self.device)

    def on_fit_end(self) -> None:
        """Moves them back."""
        self._move(torch.device("cpu"))

    def _move(self, device: torch.device) -> None:
        for companion in self.companions():
            companion.to(device)
