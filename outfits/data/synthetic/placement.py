"""How large a garment is drawn, and where in its image: factors that say nothing about what it is."""

from dataclasses import dataclass

import numpy as np

# Few levels, so that each is a category that a measure of representations can count.
SIZES, PLACES = 4, 5


@dataclass(frozen=True)
class Placement:
    """Size and place of a garment within its image, as levels that are drawn independently of each other.

    Attributes:
        size: 0 (small) to ``SIZES - 1`` (large).
        horizontal: 0 (left) to ``PLACES - 1`` (right).
        vertical: 0 (top) to ``PLACES - 1`` (bottom).
    """

    size: int
    horizontal: int
    vertical: int

    def square(self, image: int, vary: float) -> tuple[int, int, int]:
        """The square of the image that the garment is drawn in.

        A place is a share of the room that the size leaves, so that every place goes with every size. The largest
        size leaves some too: a garment fills its square, and would else be unable to move.

        Args:
            image: width and height of the image, pixels.
            vary: 0 is the whole image whatever the levels are; 1 is sides of 40 to 75 % of the image's and places
                from edge to edge; in between, sides come nearer to the whole and places nearer to the middle.

        Returns:
            Side, left and top of the square, pixels.
        """
        smallest, largest = 1 - 0.6 * vary, 1 - 0.25 * vary
        side = round(image * (smallest + (largest - smallest) * self.size / (SIZES - 1)))
        room = image - side
        left, top = (
            round(room * (0.5 + vary * (level / (PLACES - 1) - 0.5))) for level in (self.horizontal, self.vertical)
        )
        return side, left, top


def draw_placements(count: int, rng: np.random.Generator) -> list[Placement]:
    """Draws the placements of this many garments; a garment's own does not depend on how many follow it."""
    levels = rng.integers((SIZES, PLACES, PLACES), size=(count, 3))
    return [Placement(*row) for row in levels.tolist()]
