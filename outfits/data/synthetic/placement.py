"""Size and place of a garment within its image: factors independent of the garment."""

from dataclasses import dataclass

import numpy as np

# Few levels, so that metrics of representations can treat each as a category.
SIZES, PLACES = 4, 5


@dataclass(frozen=True)
class Placement:
    """Size and place of a garment within its image, as independent levels.

    Attributes:
        size: 0 (small) to ``SIZES - 1`` (large).
        horizontal: 0 (left) to ``PLACES - 1`` (right).
        vertical: 0 (top) to ``PLACES - 1`` (bottom).
    """

    size: int
    horizontal: int
    vertical: int

    def square(self, image: int, vary: float) -> tuple[int, int, int]:
        """Returns side, left and top of the square that the garment is drawn in, pixels of an image of side ``image``.

        A place is a share of the room that the size leaves, so every place is possible with every size, the largest
        one included. ``vary`` 0 gives the whole image whatever the levels are; 1 gives sides of 40 to 75 % of the
        image's and places from edge to edge; values between interpolate.
        """
        smallest, largest = 1 - 0.6 * vary, 1 - 0.25 * vary
        side = round(image * (smallest + (largest - smallest) * self.size / (SIZES - 1)))
        room = image - side
        left, top = (
            round(room * (0.5 + vary * (level / (PLACES - 1) - 0.5))) for level in (self.horizontal, self.vertical)
        )
        return side, left, top


def draw_placements(count: int, rng: np.random.Generator) -> list[Placement]:
    """Draws placements; a garment's own does not depend on how many follow it."""
    levels = rng.integers((SIZES, PLACES, PLACES), size=(count, 3))
    return [Placement(*row) for row in levels.tolist()]
