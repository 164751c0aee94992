"""Keys that trainings share: how long, in which batches, how fast; a section states its defaults."""

from outfits.config.fields import key


def epochs(default: int, what: str = "training epochs") -> int:
    """Number of epochs."""
    return key(default, what, ge=1)


def batch_size(default: int, samples: str, fewest: int = 1) -> int:
    """Samples of a step; ``samples`` says what they are."""
    return key(default, f"{samples} per optimiser step and rank", ge=fewest)


def lr(default: float, what: str = "peak learning rate") -> float:
    """Peak learning rate."""
    return key(default, f"{what} (AdamW)", gt=0)


def weight_decay(default: float) -> float:
    """Weight decay."""
    return key(default, "AdamW weight decay", ge=0)


def warmup(default: float = 0.05) -> float:
    """Share of the steps that warm up."""
    return key(default, "share of the steps with linearly rising learning rate; cosine decay after", ge=0, lt=1)


def patience(better: str, default: int = 0) -> int:
    """Early stopping; ``better`` says which validation figure has to become better."""
    return key(default, f"early stopping: epochs without a better {better}; 0 never stops early", ge=0)
