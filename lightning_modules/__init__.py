"""Trains the networks of ``outfits``: LightningModules with losses, metrics and optimisers."""

from lightning_modules.compatibility import CompatibilityModule
from lightning_modules.generator import GeneratorModule
from lightning_modules.representation import RepresentationModule

__all__ = ["CompatibilityModule", "GeneratorModule", "RepresentationModule"]
