"""The garments of the synthetic data set: their attributes and the number of each category."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

STYLES = ("casual", "sporty", "boho", "formal")
SUMMER, MILD, WINTER = -1, 0, 1
PLAIN = "plain"


@dataclass(frozen=True)
class Colour:
    """A named colour.

    Attributes:
        name: the word used in item names.
        hue: position on the colour wheel, degrees; None for a neutral, which goes with every colour.
        hsv: hue, saturation and value of the cloth, each in [0, 1].
    """

    name: str
    hue: float | None
    hsv: tuple[float, float, float]


def _chromatic(name: str, hue: float, saturation: float, value: float) -> Colour:
    return Colour(name, hue, (hue / 360, saturation, value))


COLOURS: tuple[Colour, ...] = (
    Colour("black", None, (0.0, 0.0, 0.16)),
    Colour("white", None, (0.12, 0.02, 0.98)),
    Colour("grey", None, (0.6, 0.03, 0.62)),
    Colour("beige", None, (0.10, 0.22, 0.87)),
    Colour("brown", None, (0.07, 0.55, 0.48)),
    Colour("navy", None, (0.625, 0.62, 0.33)),
    _chromatic("red", 356, 0.80, 0.80),
    _chromatic("orange", 26, 0.80, 0.92),
    _chromatic("yellow", 48, 0.72, 0.95),
    _chromatic("green", 132, 0.55, 0.62),
    _chromatic("teal", 178, 0.68, 0.62),
    _chromatic("blue", 214, 0.66, 0.80),
    _chromatic("purple", 276, 0.50, 0.66),
    _chromatic("pink", 332, 0.45, 0.93),
)
SHADES = ("light", "", "dark")
PATTERNS = (PLAIN, "stripes", "dots", "checks")


@dataclass(frozen=True)
class Category:
    """A category of garments.

    Attributes:
        name: as in ``category_id.txt``.
        slot: its role in an outfit; see :mod:`outfits.data.synthetic.rules`.
        share: relative number of garments.
        warmths: seasons it is made for, one of them drawn per garment.
        patterned: share of garments with a bold pattern.
        nouns: its name in each of :data:`STYLES`, for item names.
    """

    name: str
    slot: str
    share: float
    warmths: tuple[int, ...]
    patterned: float
    nouns: Mapping[str, tuple[str, ...]]


def _category(
    name: str, slot: str, share: float, warmths: tuple[int, ...], patterned: float, *nouns: tuple[str, ...]
) -> Category:
    return Category(name, slot, share, warmths, patterned, MappingProxyType(dict(zip(STYLES, nouns, strict=True))))


# Nouns follow the order of STYLES: casual, sporty, boho, formal.
CATEGORIES: tuple[Category, ...] = (
    _category(
        "Tops", "upper", 2.0, (SUMMER, SUMMER, MILD), 0.35,
        ("t-shirt", "tee"), ("training top", "jersey"), ("peasant top", "tunic"), ("blouse", "shell top"),
    ),
    _category(
        "Shirts", "upper", 1.5, (SUMMER, MILD, MILD), 0.4,
        ("shirt", "denim shirt"), ("polo shirt", "polo"), ("gauze shirt", "kaftan shirt"),
        ("dress shirt", "button-down shirt"),
    ),
    _category(
        "Sweaters", "upper", 1.5, (MILD, WINTER, WINTER), 0.3,
        ("sweater", "jumper"), ("hoodie", "sweatshirt"), ("chunky knit", "crochet sweater"),
        ("turtleneck", "fine knit"),
    ),
    _category(
        "Trousers", "lower", 2.0, (SUMMER, MILD, MILD, WINTER), 0.2,
        ("jeans", "chinos"), ("track pants", "joggers"), ("harem pants", "wide leg pants"),
        ("tailored trousers", "dress pants"),
    ),
    _category(
        "Skirts", "lower", 1.5, (SUMMER, MILD, WINTER), 0.35,
        ("mini skirt", "denim skirt"), ("tennis skirt", "skort"), ("maxi skirt", "tiered skirt"),
        ("pencil skirt", "midi skirt"),
    ),
    _category(
        "Dresses", "dress", 2.0, (SUMMER, SUMMER, MILD, WINTER), 0.35,
        ("day dress", "shirt dress"), ("tennis dress", "jersey dress"), ("maxi dress", "peasant dress"),
        ("cocktail dress", "sheath dress"),
    ),
    _category(
        "Jackets", "outer", 1.5, (MILD, MILD, WINTER), 0.15,
        ("denim jacket", "bomber jacket"), ("track jacket", "windbreaker"), ("fringed jacket", "suede jacket"),
        ("blazer", "tailored jacket"),
    ),
    _category(
        "Coats", "outer", 1.5, (MILD, WINTER, WINTER), 0.2,
        ("duffle coat", "pea coat"), ("parka", "puffer coat"), ("blanket coat", "afghan coat"),
        ("overcoat", "trench coat"),
    ),
    _category(
        "Shoes", "footwear", 2.5, (SUMMER, SUMMER, MILD, MILD), 0.0,
        ("loafers", "flats"), ("sneakers", "running shoes"), ("sandals", "strappy sandals"), ("pumps", "heels"),
    ),
    _category(
        "Boots", "footwear", 2.0, (MILD, WINTER, WINTER), 0.0,
        ("ankle boots", "chelsea boots"), ("hiking boots", "trail boots"), ("fringed boots", "western boots"),
        ("heeled boots", "knee boots"),
    ),
    _category(
        "Bags", "accessory", 2.5, (SUMMER, MILD, MILD, WINTER), 0.15,
        ("tote bag", "shopper"), ("backpack", "gym bag"), ("hobo bag", "fringed bag"), ("handbag", "clutch"),
    ),
    _category(
        "Hats", "accessory", 1.5, (SUMMER, MILD, WINTER), 0.1,
        ("bucket hat", "sun hat"), ("cap", "baseball cap"), ("floppy hat", "wide brim hat"), ("fedora", "trilby"),
    ),
    _category(
        "Scarves", "accessory", 1.2, (MILD, WINTER, WINTER), 0.4,
        ("scarf", "knitted scarf"), ("snood", "tube scarf"), ("tasselled scarf", "shawl"),
        ("silk scarf", "neckerchief"),
    ),
    _category(
        "Sunglasses", "accessory", 1.2, (SUMMER, SUMMER, MILD), 0.0,
        ("sunglasses", "square sunglasses"), ("shield sunglasses", "sport sunglasses"),
        ("round sunglasses", "tinted sunglasses"), ("cat eye sunglasses", "slim sunglasses"),
    ),
    _category(
        "Belts", "accessory", 1.2, (MILD,), 0.0,
        ("leather belt", "belt"), ("webbing belt", "canvas belt"), ("braided belt", "woven belt"),
        ("slim belt", "buckle belt"),
    ),
)  # fmt: skip

# Levels of formality that a style's garments may have.
FORMALITY: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"casual": (0, 1, 1, 2), "sporty": (0, 0, 1), "boho": (1, 1, 2), "formal": (2, 3, 3)}
)
_NEUTRAL_SHARE: Mapping[str, float] = MappingProxyType({"casual": 0.4, "sporty": 0.3, "boho": 0.35, "formal": 0.55})


@dataclass(frozen=True)
class Garment:
    """One underlying garment; drawn once, it may be worn in several outfits.

    Attributes:
        category: position in :data:`CATEGORIES`.
        style: one of :data:`STYLES`.
        formality: 0 (sport) to 3 (evening).
        warmth: -1 (summer), 0 (mild) or 1 (winter).
        colour: main colour.
        shade: one of :data:`SHADES`.
        pattern: one of :data:`PATTERNS`; all but plain are bold.
        variant: which of two designs of its category and style it is, 0 or 1.
    """

    category: int
    style: str
    formality: int
    warmth: int
    colour: Colour
    shade: str
    pattern: str
    variant: int

    @property
    def kind(self) -> Category:
        """Its category."""
        return CATEGORIES[self.category]


def make_wardrobe(count: int, rng: np.random.Generator) -> list[Garment]:
    """Draws ``count`` garments.

    Categories get their shares and styles alternate within a category, so that even a small wardrobe has all of them;
    all other attributes are random.
    """
    return [_make_garment(category, turn, rng) for category, turn in _quotas(count)]


def _quotas(count: int) -> list[tuple[int, int]]:
    """Returns pairs of category and running number in it, by largest remainders."""
    shares = np.array([category.share for category in CATEGORIES])
    exact = shares / shares.sum() * count
    numbers = np.floor(exact).astype(int)
    rest = count - int(numbers.sum())
    numbers[np.argsort(numbers - exact, kind="stable")[:rest]] += 1
    return [(category, turn) for category, number in enumerate(numbers) for turn in range(number)]


def _make_garment(category: int, turn: int, rng: np.random.Generator) -> Garment:
    kind = CATEGORIES[category]
    style = STYLES[turn % len(STYLES)]
    neutral = rng.random() < _NEUTRAL_SHARE[style]
    colours = [colour for colour in COLOURS if (colour.hue is None) == neutral]
    return Garment(
        category=category,
        style=style,
        formality=_pick(FORMALITY[style], rng),
        warmth=_pick(kind.warmths, rng),
        colour=colours[int(rng.integers(len(colours)))],
        shade=SHADES[int(rng.integers(len(SHADES)))],
        pattern=PATTERNS[int(rng.integers(1, len(PATTERNS)))] if rng.random() < kind.patterned else PLAIN,
        variant=int(rng.integers(2)),
    )


def _pick(values: Sequence[int], rng: np.random.Generator) -> int:
    return values[int(rng.integers(len(values)))]
