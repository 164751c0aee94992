"""What may be asked of the service; pydantic checks types, bounds and names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from outfits.config.schema.serve import MOST_ITEMS, PROPOSING_METHODS

MOST_PHOTOS = 20  # of a request
GENERATING_METHODS = ("beam", "generator", "generator_rerank", "generator_beam")

ItemId = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Text = Annotated[str, StringConstraints(max_length=1000)]
Alpha = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Beta = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Top = Annotated[int, Field(ge=1, le=100)]


class Request(BaseModel):
    """What requests have in common: unknown fields are refused, and a text is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Garment(Request):
    """A garment that is in no catalogue: a category of the run, and a text, a photo or both.

    The photo is Base64, or the name of a file of the same multipart request.
    """

    category: Name
    text: Text = ""
    image: str | None = Field(None, description="photo, Base64")
    photo: Name | None = Field(None, description="photo: the name of a file of a multipart request")


Piece = ItemId | Garment
Pieces = Annotated[list[Piece], Field(min_length=1, max_length=MOST_ITEMS)]
Names = Annotated[list[Name], Field(max_length=1000)]
Categories = Annotated[Name | Names | None, Field(description="name or names of the categories to choose from")]

User = Annotated[
    Name | Annotated[list[Name], Field(min_length=1, max_length=100)],
    Field(description="a user of the run's data, or outfits of the data that a new user likes"),
]


class Complete(Request):
    """Adds k items to an outfit; the answer has up to `top` outfits, the best first."""

    items: Pieces
    k: int = Field(2, ge=1, le=8, description="missing items")
    categories: Name | Names | Annotated[list[Names | None], Field(max_length=8)] | None = Field(
        None, description="allowed categories, for all missing items or a list for each"
    )
    texts: Text | Annotated[list[Text], Field(max_length=8)] | None = Field(
        None, description="what missing items should be like, one text or one for each"
    )
    method: Literal[PROPOSING_METHODS] = "generator_beam"  # type: ignore[valid-type]
    top: Top = 5
    alpha: Alpha | None = Field(None, description="weight of S against the texts")
    user: User | None = None
    beta: Beta | None = Field(None, description="weight of the user's preference")


class Recommend(Request):
    """The outfits of the run's data that a user is likely to like, the best first."""

    user: User
    top: Top = 10


class Score(Request):
    """S of a set of items, in [0, 1]."""

    items: Pieces
    rule: bool = Field(True, description="whether two items of one category make S 0")


class Explain(Request):
    """Which item of an outfit is wrong, and what would be better in its place."""

    items: Annotated[list[Piece], Field(min_length=2, max_length=MOST_ITEMS)]


class Similar(Request):
    """The catalogue items most similar to an item."""

    item: Piece
    top: Top = 10
    category: Categories = None
    modality: Literal["image", "text", "joint", "parts"] = "joint"


class Refine(Request):
    """The catalogue items most like an item, but as a text says: "in red"."""

    item: Piece
    text: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    top: Top = 10
    category: Categories = None


class Search(Request):
    """The catalogue items most similar to a text."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    top: Top = 10
    categories: Categories = None


class Generate(Request):
    """Whole outfits for a text."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    max_items: int = Field(5, ge=1, le=8)
    size: int | None = Field(None, ge=1, le=8, description="the only size wanted")
    method: Literal[GENERATING_METHODS] = "beam"  # type: ignore[valid-type]
    top: Top = 5
    alpha: Alpha | None = Field(None, description="weight of S against the text")


class NewItem(Garment):
    """An item that joins the catalogue under an id of its own."""

    id: ItemId


class AddItems(Request):
    """Items that join the catalogue, all or none."""

    items: Annotated[list[NewItem], Field(min_length=1, max_length=100)]


class RemoveItem(Request):
    """An item that leaves the catalogue, and is never proposed again."""

    id: ItemId


@dataclass(frozen=True)
class Operation:
    """What can be asked: the way of a request over HTTP, and its fields, whose docstring the documentation shows."""

    path: str
    request: type[Request]
    method: str = "POST"


OPERATIONS: Mapping[str, Operation] = {
    "complete": Operation("/complete", Complete),
    "recommend": Operation("/recommend", Recommend),
    "score": Operation("/score", Score),
    "explain": Operation("/explain", Explain),
    "similar": Operation("/similar", Similar),
    "refine": Operation("/refine", Refine),
    "search": Operation("/search", Search),
    "generate": Operation("/generate", Generate),
    "add": Operation("/items", AddItems),
    "remove": Operation("/items/{id:path}", RemoveItem, "DELETE"),
}

CHANGES = ("add", "remove")
"""Operations that change the catalogue."""


@dataclass(frozen=True)
class Call:
    """A request on its way to a worker: the operation, its fields and the files of a multipart request by name."""

    operation: str
    request: Request
    photos: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A worker's answer: HTTP's status and JSON."""

    status: int
    body: bytes


def refused(status: int, *errors: tuple[str, str]) -> Answer:
    """The answer to a request that cannot be served: pairs of a field, empty where no single one is wrong, and why."""
    detail = [{"field": field, "message": message} for field, message in errors]
    return Answer(status, json.dumps({"detail": detail}, ensure_ascii=False).encode())
