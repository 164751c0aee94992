"""The selections of greedy search under the frozen S, from which a generator learns."""

from outfits.mining.mined import MinedTargets, mine

__all__ = ["MinedTargets", "mine"]
