"""Polyvore-U, the users of Polyvore (Lu et al. 2019), as DiFashion (Xu et al. 2024) cut it, in tables.

There are no images and no texts. Of the outfits for training a seeded share is kept for validation, and those for
validation are the test split, since there is no other.
"""

from dataclasses import replace

from outfits.config.schema.data import DataConfig, TablesConfig
from outfits.data.dataset import FillInTheBlank, RawDataset
from outfits.data.files import root_of
from outfits.data.tables import read_table, read_tables
from outfits.data.users import with_validation
from outfits.errors import DataError

TABLES = TablesConfig(text="", users="users.csv", user_split="split")
QUESTIONS = "fill_in_blank_valid.csv"
QUESTION_COLUMNS = [("data.root", name) for name in ("user_id", "outfit_id", "given", "candidates")]


def read_format(config: DataConfig) -> RawDataset:
    """Reads ``items.csv``, ``outfits.csv``, ``users.csv`` and, if it is there, ``fill_in_blank_valid.csv``.

    Raises:
        DataError: if a table is missing or malformed, or an outfit of no user has no split.
    """
    root, split = root_of(config), config.split
    raw = read_tables(root, TABLES)
    split_of: dict[str, str] = {}
    for pair in raw.interactions:
        evaluated = pair.split != "train" or split_of.get(pair.outfit_id) == "test"
        split_of[pair.outfit_id] = "test" if evaluated else "train"
    alone = [outfit for outfit in raw.outfits if outfit.outfit_id not in split_of]
    if alone:
        raise DataError(
            f"outfit {alone[0].outfit_id} ({alone[0].source}) has no user in {TABLES.users}, so no split; "
            f"{len(alone):,} such outfit(s). Complete {TABLES.users}, or read the tables with data.format=tables"
        )
    split_of = dict(zip(split_of, with_validation(list(split_of.values()), split.valid_share, split.seed), strict=True))
    evaluated_on = sum(name == "test" for name in split_of.values())
    return replace(
        raw,
        name="polyvore_u",
        outfits=[replace(outfit, split=split_of[outfit.outfit_id]) for outfit in raw.outfits],
        interactions=[replace(pair, split=split_of[pair.outfit_id]) for pair in raw.interactions],
        fitb={"test": _questions(config)} if (root / QUESTIONS).is_file() else {},
        notes=[
            *raw.notes,
            f"the {evaluated_on:,} outfits given for validation are the test split, there is no other; "
            f"{split.valid_share:.0%} of those for training are kept for validation",
        ],
    )


def _questions(config: DataConfig) -> list[FillInTheBlank]:
    """A user's questions: ids apart by blanks, the true answer first."""
    table = read_table(root_of(config) / QUESTIONS, "data.root", QUESTION_COLUMNS)
    rows = zip(table.names("user_id"), table.names("given"), table.names("candidates"), strict=True)
    return [FillInTheBlank(tuple(given.split()), tuple(answers.split()), 0, user) for user, given, answers in rows]
