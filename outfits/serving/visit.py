"""What a visitor has put together, and everything that can be done with it.

A visit never changes: every action returns another one, or raises an :class:`outfits.errors.OutfitError` and leaves
what there was. Proposals belong to the outfit that they complete, so an action that changes it drops them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from PIL import Image

from outfits.config.schema.multitask import CAPTIONING, RECOGNITION, REFINEMENT
from outfits.config.schema.serve import MOST_ITEMS
from outfits.errors import ConfigError, DataError
from outfits.serving.photos import read_image
from outfits.serving.variety import varied
from outfits.stylist import Garment, ImaginedItem, ItemRef, StyledOutfit, Stylist

PROPOSALS = 3  # outfits shown at once
CHOICE = 100  # outfits that they are chosen from, so that they look different
TRIED = 12  # completions looked through for one that was not shown yet


@dataclass(frozen=True)
class VisitItem:
    """An item of the visitor's outfit.

    Attributes:
        piece: what the stylist is given: an id, or a garment with its photo in memory.
        ref: its category, text and image file.
        added: whether the stylist added it; what the visitor chose is never replaced unasked.
        locked: whether an added item stays when the stylist is asked again.
        shown: ids that were shown in its place already.
    """

    piece: str | Garment
    ref: ItemRef
    added: bool = False
    locked: bool = False
    shown: frozenset[str] = frozenset()

    @property
    def image(self) -> Image.Image | None:
        """The visitor's photo; None for catalogue items."""
        image = None if isinstance(self.piece, str) else self.piece.image
        return image if isinstance(image, Image.Image) else None


@dataclass(frozen=True)
class CompletionRequest:
    """What is asked of a completion: number of items, allowed categories and text of each, method, weight of S.

    With ``imagine`` the missing items are also drawn as the generator has them in mind. For a ``user`` of the run's
    data the user's preference counts with weight ``beta``.
    """

    k: int = 2
    categories: tuple[tuple[str, ...], ...] = ()
    texts: tuple[str, ...] = ()
    method: str = "generator_beam"
    alpha: float | None = None
    imagine: bool = False
    user: str | None = None
    beta: float | None = None


@dataclass(frozen=True)
class Proposal:
    """A completed outfit.

    Attributes:
        outfit: the outfit; its given items are those that the stylist was given.
        judge: its score under the judge; None without one.
        adds: what each added item adds to S: S of the outfit less S without it.
        images: the visitor's own images of the given items, None for catalogue items.
        imagined: what the generator had in mind for each added item; empty where that was not asked for.
    """

    outfit: StyledOutfit
    judge: float | None
    adds: tuple[float, ...]
    images: tuple[Image.Image | None, ...]
    imagined: tuple[ImaginedItem, ...] = ()


@dataclass(frozen=True)
class Visit:
    """A visitor's outfit and the completions that were proposed last; ``name`` of its folder where visits are kept."""

    items: tuple[VisitItem, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    request: CompletionRequest = field(default_factory=CompletionRequest)
    name: str = ""

    @property
    def pieces(self) -> list[str | Garment]:
        """The outfit as the stylist takes it."""
        return [entry.piece for entry in self.items]

    @property
    def kept(self) -> tuple[VisitItem, ...]:
        """What stays when the stylist is asked again: the visitor's own choice and what is locked."""
        return tuple(entry for entry in self.items if entry.locked or not entry.added)


def add_item(visit: Visit, stylist: Stylist, item_id: str) -> Visit:
    """Adds a catalogue item, once."""
    ref = stylist.item(item_id)
    if any(entry.piece == ref.id for entry in visit.items):
        raise DataError(f"{ref.id} is in the outfit already")
    return _changed(visit, (*visit.items, VisitItem(str(ref.id), ref)))


def add_image(visit: Visit, stylist: Stylist, content: bytes, megapixels: float) -> Visit:
    """Adds a garment from a photo, with the category that the nearest items of the catalogue have.

    Category and text are those that the run's multi-task model proposes, as far as it has learned to.

    Raises:
        DataError: if the photo cannot be read or has more than so many million pixels.
    """
    image = read_image(content, megapixels)
    learned = stylist.learned
    found = stylist.categorise(image) if RECOGNITION in learned else []
    likely = [category for category, _ in found if category in stylist.categories]
    known = likely[0] if likely else stylist.likely_categories(image)[0][0]
    garment = Garment(known, image=image)
    text = stylist.caption(garment) if CAPTIONING in learned else ""
    return _changed(visit, (*visit.items, _own(Garment(known, text, image))))


def describe(visit: Visit, stylist: Stylist, place: int, category: str, text: str) -> Visit:
    """Changes category and text of a garment of the visitor's own."""
    entry = _at(visit, place)
    if isinstance(entry.piece, str):
        raise ConfigError([f"{entry.ref.name} is an item of the catalogue; only one's own garments can be described"])
    if category not in stylist.categories:
        raise ConfigError([f"category: there is no {category!r}"])
    return _put(visit, place, _own(Garment(category, text, entry.piece.image)))


def remove(visit: Visit, place: int) -> Visit:
    """Takes an item out of the outfit."""
    _at(visit, place)
    return _changed(visit, [entry for number, entry in enumerate(visit.items) if number != place])


def clear(visit: Visit) -> Visit:
    """Starts again; the folder of a visit that is kept stays the visit's."""
    return Visit(name=visit.name)


def take_outfit(visit: Visit, items: Sequence[ItemRef]) -> Visit:
    """Replaces the outfit by one of the data."""
    return _changed(visit, [VisitItem(str(item.id), item) for item in items])


def complete(visit: Visit, stylist: Stylist, request: CompletionRequest) -> Visit:
    """Proposes completions of what is kept, or, where nothing was chosen or locked, of the whole outfit.

    What is completed is the visitor's choice from then on.
    """
    kept = visit.kept or tuple(replace(entry, added=False) for entry in visit.items)
    if not kept:
        raise DataError("put at least one item into the outfit first, or start from a text")
    pieces, categories = [entry.piece for entry in kept], _lists(request)
    texts = list(request.texts) if any(text.strip() for text in request.texts) else None
    found = stylist.complete(
        pieces,
        request.k,
        categories=categories,
        texts=texts,
        method=request.method,
        top=CHOICE,
        alpha=request.alpha,
        user=request.user,
        beta=request.beta,
    )
    found = varied(stylist, found, PROPOSALS)
    proposals = [_proposal(stylist, kept, one) for one in found]
    if request.imagine:
        for number, one in enumerate(found):
            ids = [str(item.id) for item in one.added]
            imagined = stylist.imagine(pieces, request.k, categories=categories, texts=texts, found=ids)
            proposals[number] = replace(proposals[number], imagined=tuple(imagined))
    return replace(visit, items=kept, proposals=tuple(proposals), request=request)


def generate(visit: Visit, stylist: Stylist, text: str, size: int | None) -> Visit:
    """Proposes outfits for a text."""
    if not text.strip():
        raise ConfigError(["text: is empty; say what the outfit should be"])
    found = varied(stylist, stylist.generate(text, size=size, top=CHOICE), PROPOSALS)
    return replace(visit, proposals=tuple(_proposal(stylist, (), one) for one in found))


def take(visit: Visit, number: int) -> Visit:
    """Puts the items of a proposal into the outfit, which is replaced by one that was made from a text.

    The proposals stay, so that another one can be taken instead.
    """
    if not 0 <= number < len(visit.proposals):
        raise ConfigError(["there is no such proposal; complete the outfit first"])
    outfit = visit.proposals[number].outfit
    kept = visit.kept if outfit.given else ()
    there = {entry.piece for entry in kept if isinstance(entry.piece, str)}
    new = [VisitItem(str(item.id), item, added=True) for item in outfit.added if item.id not in there]
    return replace(_changed(visit, (*kept, *new)), proposals=visit.proposals)


def lock(visit: Visit, places: Sequence[int]) -> Visit:
    """Locks the added items at these places and unlocks all others."""
    return replace(
        visit,
        items=tuple(replace(entry, locked=entry.added and place in places) for place, entry in enumerate(visit.items)),
    )


def ask_again(visit: Visit, stylist: Stylist) -> Visit:
    """Replaces every added item that is not locked, by the categories that these had."""
    loose = [entry for entry in visit.items if entry.added and not entry.locked]
    if not loose:
        raise DataError("no added item is unlocked; unlock one, or complete the outfit first")
    if not visit.kept:
        raise DataError("nothing would be left to ask for the others with; lock at least one item")
    learned = len(loose) <= stylist.k_max  # by the generator
    request = replace(
        visit.request,
        k=len(loose),
        method=visit.request.method if learned else "greedy_k",
        imagine=visit.request.imagine and learned,
        categories=tuple((entry.ref.category,) for entry in loose),
        texts=(),
    )
    return complete(visit, stylist, request)


def swap(visit: Visit, stylist: Stylist, place: int, text: str = "") -> Visit:
    """Puts another item of the same category in the place of one: the best that was not shown there yet.

    Args:
        visit: the visit.
        stylist: the stylist.
        place: which item.
        text: what the other one should be like; empty: whatever S likes best. A run whose multi-task model has learned
            to refine finds the item most like the old one, but as the text says.
    """
    old = _at(visit, place)
    if text and _refines(stylist, old):
        return _refined(visit, stylist, place, text)
    rest = [entry for number, entry in enumerate(visit.items) if number != place]
    if not rest:
        raise DataError("one item alone cannot be swapped; add another first")
    shown = old.shown | ({old.piece} if isinstance(old.piece, str) else set())
    found = stylist.complete(
        [entry.piece for entry in rest],
        1,
        categories=[old.ref.category],
        texts=text or None,
        method="greedy_k",
        top=TRIED,
        alpha=visit.request.alpha,
        user=visit.request.user,
        beta=visit.request.beta,
    )
    new = next((one.added[0] for one in found if one.added[0].id not in shown), None)
    if new is None:
        raise DataError(f"every item of {old.ref.category} that goes well here was shown already")
    return _put(visit, place, VisitItem(str(new.id), new, added=True, shown=shown))


def _refines(stylist: Stylist, old: VisitItem) -> bool:
    """Whether the run can look for an item like this one, which needs its image."""
    has_image = old.image is not None or old.ref.image_path is not None
    return REFINEMENT in stylist.learned and has_image


def _refined(visit: Visit, stylist: Stylist, place: int, text: str) -> Visit:
    old = _at(visit, place)
    there = {entry.piece for entry in visit.items if isinstance(entry.piece, str)}
    found = stylist.refine(old.piece, text, TRIED + len(there), category=old.ref.category)
    shown = old.shown | ({old.piece} if isinstance(old.piece, str) else set())
    new = next((match.item for match in found if match.item.id not in shown | there), None)
    if new is None:
        raise DataError(f"every item of {old.ref.category} that is like this was shown already")
    return _put(visit, place, VisitItem(str(new.id), new, added=True, shown=shown))


def _proposal(stylist: Stylist, kept: Sequence[VisitItem], outfit: StyledOutfit) -> Proposal:
    given, added = [entry.piece for entry in kept], [str(item.id) for item in outfit.added]
    pieces: list[str | Garment] = [*given, *added]
    without = [
        [piece for number, piece in enumerate(pieces) if number != place] for place in range(len(given), len(pieces))
    ]
    scores = stylist.score_many([one for one in without if one], rule=False)
    adds = tuple(outfit.score - score for score in scores) if len(pieces) > 1 else ()
    return Proposal(outfit, stylist.judge(pieces), adds, tuple(entry.image for entry in kept))


def _lists(request: CompletionRequest) -> list[list[str] | None] | None:
    if not any(request.categories):
        return None
    lists = [list(names) or None for names in request.categories[: request.k]]
    return [*lists, *([None] * (request.k - len(lists)))]


def _own(garment: Garment) -> VisitItem:
    return VisitItem(garment, ItemRef(None, garment.category, garment.text, None))


def _at(visit: Visit, place: int) -> VisitItem:
    if not 0 <= place < len(visit.items):
        raise ConfigError(["choose an item of the outfit first"])
    return visit.items[place]


def _put(visit: Visit, place: int, new: VisitItem) -> Visit:
    return _changed(visit, [new if number == place else entry for number, entry in enumerate(visit.items)])


def _changed(visit: Visit, items: Sequence[VisitItem]) -> Visit:
    """The visit with another outfit, without the proposals for the one before."""
    if len(items) > MOST_ITEMS:
        raise ConfigError([f"an outfit has at most {MOST_ITEMS} items here"])
    return replace(visit, items=tuple(items), proposals=())
