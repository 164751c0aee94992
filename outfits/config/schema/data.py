"""Keys of the data set: its place, its splits and the policies for bad input."""

from dataclasses import dataclass

from outfits.config.fields import key, rooted, section
from outfits.registry import Entry, Table


@dataclass(frozen=True)
class DataFormat(Entry):
    """A reader of data sets.

    Attributes:
        licence: licence of the data; empty where only their owner knows it.
        images: patterns of Parquet files in which a root without a folder ``images`` may have them, relative to it; the
            first that a file matches counts.
    """

    licence: str = ""
    images: tuple[str, ...] = ()


DATA_FORMATS = Table(
    "data format",
    (
        DataFormat("synthetic", "outfits.data.synthetic:read_format", "Apache-2.0"),
        DataFormat(
            "maryland", "outfits.data.maryland:read_format", "Apache-2.0, without the images", ("data/*.parquet",)
        ),
        DataFormat(
            "polyvore_outfits",
            "outfits.data.polyvore_forms:read_format",
            "CC BY 4.0, for research and education",
            ("data/*/*.parquet", "data/*.parquet"),
        ),
        DataFormat("pog", "outfits.data.pog:read_format"),
        DataFormat("iqon3000", "outfits.data.iqon3000:read_format", "none stated; for research"),
        DataFormat("shift15m", "outfits.data.shift15m:read_format", "CC BY-NC 4.0"),
        DataFormat("polyvore_u", "outfits.data.polyvore_u:read_format"),
        DataFormat("fashion_hash_net", "outfits.data.fashion_hash_net:read_format"),
        DataFormat("hfgn", "outfits.data.hfgn:read_format"),
        DataFormat("fashion_iq", "outfits.data.fashion_iq:read_format"),
        DataFormat("fashion_gen", "outfits.data.fashion_gen:read_format", "by a signed form; for research"),
        DataFormat("tables", "outfits.data.tables:read_format"),
    ),
)
"""Readers of data sets: functions of a :class:`DataConfig` that return a :class:`outfits.data.dataset.RawDataset`."""


@dataclass
class SplitConfig:
    mode: str = key(
        "grouped",
        "how far related outfits may part: official (the split the data set comes with), random, grouped (outfits with "
        "Jaccard overlap >= split.overlap stay together) or disjoint (no item in two splits; straddling outfits are "
        "left out and counted)",
        choices=("official", "random", "grouped", "disjoint"),
    )
    shares: list[float] = key([0.8, 0.1, 0.1], "shares of train, validation and test outfits", ge=0)
    overlap: float = key(
        0.5, "Jaccard overlap of item sets from which on `grouped` keeps two outfits together", gt=0, le=1
    )
    seed: int = key(0, "seed of the split, apart from `seed` so that retraining keeps the split", ge=0)
    users: str = key(
        "given",
        "splits of what users like: given (as the data set has them, else that of the outfit) or per_user (shares of "
        "each user's outfits, the latest for testing where times are known)",
        choices=("given", "per_user"),
    )
    valid_share: float = key(
        0.05,
        "polyvore_u, hfgn, fashion_iq and fashion_gen: share of what is given for training kept for validation",
        gt=0,
        lt=1,
    )
    strict: bool = key(
        False,
        "official: leave out training outfits with an item of a validation or test outfit, and validation outfits with "
        "one of a test outfit; published splits called disjoint share some",
    )


@dataclass
class TablesConfig:
    items: str = key("items.csv", "items table, CSV or Parquet, relative to data.root")
    outfits: str = key(
        "outfits.csv", "outfits table, one row per (outfit, item), CSV or Parquet, relative to data.root"
    )
    item_id: str = key("item_id", "items table: column of the item's id")
    category: str = key("category", "items table: column of the item's category")
    image: str | None = key(None, "items table: column of the image's path relative to data.root; null: no images")
    text: str = key("{text}", "template of an item's text over the items table's columns, as in '{colour} {name}'")
    attributes: list[str] = key(
        [],
        "items table: columns kept as the items' attributes, against which learned representations are measured, as in "
        "[colour,fabric]",
    )
    outfit_id: str = key("outfit_id", "outfits table: column of the outfit's id")
    outfit_item_id: str = key("item_id", "outfits table: column of the item's id")
    split: str | None = key(None, "outfits table: column with train, valid or test; null: seeded split by data.split")
    score: str | None = key(
        None, "outfits table: column with the outfit's score, to which S is fitted; null: outfits are real, no more"
    )
    users: str | None = key(
        None, "users table, one row per (user, outfit), CSV or Parquet, relative to data.root; null: no users"
    )
    user_id: str = key("user_id", "users table: column of the user's id")
    user_outfit_id: str = key("outfit_id", "users table: column of the outfit's id")
    user_split: str | None = key(
        None, "users table: column with train, valid or test; null: as the outfit's, or by data.split.users"
    )
    user_time: str | None = key(None, "users table: column with a time, any number that grows; null: no times")
    pairs: str | None = key(
        None,
        "pairs table, one row per (item, another image of it), CSV or Parquet, relative to data.root, for stage parts; "
        "null: no pairs",
    )
    pair_item_id: str = key("item_id", "pairs table: column of the item's id")
    pair_image: str = key("image", "pairs table: column of the other image's path relative to data.root")
    pair_kind: str | None = key(
        None, "pairs table: column that says how the image differs, as in cropped; null: all are called paired"
    )


@dataclass
class SyntheticConfig:
    items: int = key(2400, "number of garments drawn; a garment worn in several outfits is an item of each", ge=60)
    outfits: int = key(1000, "number of outfits made by the hidden style rules, of some five items each", ge=60)
    image_size: int = key(96, "width and height of the drawn images, pixels", ge=16, le=1024)
    seed: int = key(0, "seed of the generated data set", ge=0)
    graded: float = key(
        0.0,
        "share of outfits with some garments swapped for others of their categories; every outfit then has a score, "
        "the share of its pairs that keep the rules",
        ge=0,
        le=1,
    )
    users: int = key(
        0, "number of users with a hidden taste, who like some of the outfits; 0: none, and no file of users", ge=0
    )
    further_images: int = key(
        0, "number of times that every garment is drawn anew elsewhere and in another size, as in vary=1", ge=0
    )
    vary: float = key(
        0.0,
        "how much garments vary in size and place within their images: 0 draws all alike, 1 draws them at 40 to 75 "
        "percent of the image's width and anywhere in it; values between do less of both",
        ge=0,
        le=1,
    )


@dataclass
class DataConfig:
    format: str = key(
        "synthetic",
        "layout of data.root; synthetic writes a small Maryland-layout root there first if it is missing",
        choices=DATA_FORMATS,
    )
    root: str = key(
        "data/synthetic",
        "folder of the data set, or hf://ORG/NAME on the Hugging Face Hub, taken from the hub's cache if it is there",
        check=rooted,
    )
    images: str | None = key(
        None,
        "Parquet files or WebDataset tars with the images, relative to data.root, as in data/*.parquet, or "
        "hf://ORG/NAME/data/*.parquet; null: image files, or where the format has them in Parquet",
    )
    image_id: str | None = key(
        None, "data.images: column of the item's id; null: item_id, item_ID, id or __key__, whichever is there"
    )
    image_column: str = key("image", "data.images: column of the image's bytes")
    variant: str = key("nondisjoint", "polyvore_outfits: which official split", choices=("disjoint", "nondisjoint"))
    category_level: str = key(
        "fine", "polyvore_outfits: category level of the one-item-per-category rule", choices=("fine", "semantic")
    )
    limit: int | None = key(
        None, "keep at most this many outfits, drawn with split.seed (a tiny subset for smoke runs)", ge=1
    )
    min_items: int = key(2, "outfits with fewer distinct items are left out and counted", ge=2)
    on_missing_image: str = key(
        "error",
        "an image file that is missing: error, or mask (the item keeps its text, the image part is masked)",
        choices=("error", "mask"),
    )
    on_corrupt_image: str = key(
        "error", "an image file that cannot be decoded: error or mask", choices=("error", "mask")
    )
    on_repeated_image: str = key(
        "first",
        "data.images has several images of one item: error, or first (the first, in the order of the files)",
        choices=("error", "first"),
    )
    on_missing_item: str = key(
        "error",
        "an outfit names an item that the catalogue lacks: error, or drop that item from the outfit",
        choices=("error", "drop"),
    )
    on_missing_outfit: str = key(
        "error",
        "a user likes an outfit that the data lack: error, or drop that row",
        choices=("error", "drop"),
    )
    on_repeated_item: str = key(
        "drop", "an outfit names one item twice: error, or drop the repetition", choices=("error", "drop")
    )
    on_rule_break: str = key(
        "keep",
        "an outfit has two items of one category: keep (a positive, scored by S without the zero, never produced by a "
        "method) or drop the outfit",
        choices=("keep", "drop"),
    )
    score_scale: str = key(
        "given",
        "scores of outfits: given (numbers in [0, 1]) or rank (any numbers; the share of outfits with a lower one)",
        choices=("given", "rank"),
    )
    likes: bool = key(False, "maryland, shift15m: score outfits by their likes, with data.score_scale=rank")
    on_bad_score: str = key(
        "error",
        "a score that is missing, no number or, as given, outside [0, 1]: error, or drop the outfit",
        choices=("error", "drop"),
    )
    on_contradictory_scores: str = key(
        "error",
        "different scores for one set of items: error, drop the outfit, or mean",
        choices=("error", "drop", "mean"),
    )
    num_workers: int = key(0, "loader worker processes per rank", ge=0)
    split: SplitConfig = section(SplitConfig)
    tables: TablesConfig = section(TablesConfig)
    synthetic: SyntheticConfig = section(SyntheticConfig)
