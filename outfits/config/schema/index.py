"""Keys of the nearest-neighbour index."""

from dataclasses import dataclass

from outfits.config.fields import absolute, key

PQ_BYTES = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)  # the sizes that FAISS supports on GPUs too


def located_database(uri: str) -> str:
    """Makes the path of a database absolute; leaves URLs."""
    return uri if "://" in uri else absolute(uri)


@dataclass
class IndexConfig:
    kind: str = key(
        "flat",
        "how the items nearest to a latent are found, within each category: flat (all are compared, exact), ivf (those "
        "in the nearest inverted lists, in 8 bits per number), ivf_pq (the same by product latents of pq_bytes) or "
        "lance (a LanceDB table at index.uri, extra lance); the best of what lists propose are compared exactly",
        choices=("flat", "ivf", "ivf_pq", "lance"),
    )
    uri: str | None = key(
        None,
        "lance: the database of the table: a folder, a URL of an object store as in s3://BUCKET/FOLDER, or db://NAME "
        "of a LanceDB server",
        check=located_database,
    )
    min_items: int = key(
        500, "categories, and tables of lance, with fewer items stay flat, whatever index.kind is", ge=1
    )
    lists: int | None = key(
        None,
        "ivf and ivf_pq: inverted lists of a category; null: twice the square root of its items. lance: of the table; "
        "null: one for 4,096 items",
        ge=1,
    )
    probes: int | None = key(
        None,
        "lists searched for a latent; null: every twelfth, and 8 at least; lance: as LanceDB has it, which is few for "
        "many categories (docs/scale.md)",
        ge=1,
    )
    pq_bytes: int | None = key(
        None,
        "ivf_pq and lance: bytes of an item's code, a divisor of the latents' width; null: about a quarter of it",
        choices=PQ_BYTES,
    )
    hubness: float = key(
        0.3,
        "weight of an item's mean cosine to its nearest latents of training outfits, which is subtracted from its "
        "cosine to a latent, so that items near to everything are not always chosen; 0: no correction",
        ge=0,
    )
    refine: int = key(4, "ivf_pq and lance: items compared exactly for each item asked for", ge=1)
