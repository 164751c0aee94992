"""What greedy search under the frozen S selects, for a generator to learn from."""

from outfits.mining.mined import MinedTargets, mine

__all__ = ["MinedTargets", "mine"]
