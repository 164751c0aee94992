"""Answers requests to the service with a stylist, those together that the stylist completes together."""

import base64
import binascii
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from outfits.config.schema.methods import methods_needing
from outfits.config.schema.serve import ServeConfig
from outfits.errors import ConfigError, DataError, OutfitError, one_line
from outfits.models.similarity import PARTS
from outfits.naming import normalised
from outfits.serving import requests
from outfits.serving.photos import read_image
from outfits.serving.requests import CHANGES, Answer, Call, refused
from outfits.stylist import Garment, ItemRef, Stylist
from outfits.stylist.requests import User

REFUSED, UNKNOWN, BROKEN, LACKING = 422, 404, 500, 503
Piece = str | Garment


class FieldError(DataError):
    """Raised for a field of a request that cannot be used."""

    def __init__(self, field: str, message: str, status: int = REFUSED) -> None:
        super().__init__(message)
        self.field = field
        self.status = status


class Answering:
    """A stylist that is asked by the service.

    Before it answers, it learns what other processes have changed in the catalogue.

    Args:
        stylist: the stylist.
        config: limits of photos.
    """

    def __init__(self, stylist: Stylist, config: ServeConfig) -> None:
        self.stylist = stylist
        self._config = config

    def answer(self, calls: Sequence[Call]) -> list[Answer]:
        """Answers calls: changes of the catalogue first, in their order, then everything else."""
        answers: dict[int, Answer] = {}
        together: dict[object, list[int]] = {}
        for place, call in enumerate(calls):
            if call.operation in CHANGES:
                answers[place] = self._one(call)
            elif isinstance(request := call.request, requests.Complete):
                alike = (request.k, request.method, request.top, request.alpha, request.beta, request.user is None)
                together.setdefault(alike, []).append(place)
            else:
                together[place] = [place]
        for places in together.values():
            some = [calls[place] for place in places]
            found = self._completed(some) if len(some) > 1 else None
            answers |= dict(zip(places, found or map(self._one, some), strict=True))
        return [answers[place] for place in range(len(calls))]

    def _one(self, call: Call) -> Answer:
        try:
            self.stylist = self.stylist.refreshed()
            return _json(200, ANSWERS[call.operation](self, call))
        except Exception as error:
            return _refusal(error, call)

    def _completed(self, calls: Sequence[Call]) -> list[Answer] | None:
        """Completes alike requests at once; None where one of them cannot be completed, which it must not cost others.

        Their number of missing items, method, length and weights are the same, and all are for users or none is.
        """
        try:
            self.stylist = self.stylist.refreshed()
            first: Any = calls[0].request
            asked: list[Any] = [call.request for call in calls]
            found = self.stylist.complete_many(
                [self._pieces(call, request.items) for call, request in zip(calls, asked, strict=True)],
                first.k,
                categories=[request.categories for request in asked],
                texts=[request.texts for request in asked],
                method=self._method(first.method, first.k),
                top=first.top,
                alpha=first.alpha,
                users=None if first.user is None else [self._user(request.user) for request in asked],
                beta=first.beta,
            )
            return [_json(200, {"outfits": outfits}) for outfits in found]
        except Exception:
            return None

    def complete(self, call: Call) -> dict[str, Any]:
        """Completes an outfit."""
        asked: Any = call.request
        found = self.stylist.complete(
            self._pieces(call, asked.items),
            asked.k,
            categories=asked.categories,
            texts=asked.texts,
            method=self._method(asked.method, asked.k),
            top=asked.top,
            alpha=asked.alpha,
            user=None if asked.user is None else self._user(asked.user),
            beta=asked.beta,
        )
        return {"outfits": found}

    def recommend(self, call: Call) -> dict[str, Any]:
        """Finds outfits for a user."""
        asked: Any = call.request
        return {"outfits": self.stylist.recommend(self._user(asked.user), asked.top)}

    def score(self, call: Call) -> dict[str, Any]:
        """Scores a set."""
        asked: Any = call.request
        pieces = self._pieces(call, asked.items)
        score = self.stylist.score(pieces, rule=asked.rule)
        return {"score": score, "rule_kept": self.stylist.rule_kept(pieces), "judge": self.stylist.judge(pieces)}

    def explain(self, call: Call) -> Any:
        """Explains an outfit."""
        asked: Any = call.request
        return self.stylist.explain(self._pieces(call, asked.items))

    def similar(self, call: Call) -> dict[str, Any]:
        """Finds items like one."""
        asked: Any = call.request
        if asked.modality == PARTS and not self.stylist.compares_parts:
            raise FieldError("modality", "the run has no model for parts")
        piece = self._piece(call, asked.item, "item")
        return {"matches": self.stylist.similar(piece, asked.top, category=asked.category, modality=asked.modality)}

    def refine(self, call: Call) -> dict[str, Any]:
        """Finds items like one, but as a text says."""
        asked: Any = call.request
        piece = self._piece(call, asked.item, "item")
        return {"matches": self.stylist.refine(piece, asked.text, asked.top, category=asked.category)}

    def search(self, call: Call) -> dict[str, Any]:
        """Finds items for a text."""
        asked: Any = call.request
        return {"matches": self.stylist.search(asked.text, asked.top, categories=asked.categories)}

    def generate(self, call: Call) -> dict[str, Any]:
        """Generates outfits for a text."""
        asked: Any = call.request
        found = self.stylist.generate(
            asked.text,
            asked.max_items,
            size=asked.size,
            method=self._method(asked.method),
            top=asked.top,
            alpha=asked.alpha,
        )
        return {"outfits": found}

    def add(self, call: Call) -> dict[str, Any]:
        """Adds items to the catalogue."""
        asked: Any = call.request
        items = {item.id: self._garment(call, item, f"items.{place}") for place, item in enumerate(asked.items)}
        if len(items) < len(asked.items):
            raise FieldError("items", "two items have the same id")
        self.stylist = self.stylist.add(items).prepared()
        return {"added": [normalised(item_id) for item_id in items], "items": len(self.stylist)}

    def remove(self, call: Call) -> dict[str, Any]:
        """Takes an item out of the catalogue."""
        asked: Any = call.request
        item_id = self._known(asked.id, "id", UNKNOWN)
        self.stylist = self.stylist.remove(item_id).prepared()
        return {"removed": item_id, "items": len(self.stylist)}

    def _method(self, name: str, k: int = 1) -> str:
        if not self.stylist.can(name):
            raise FieldError("method", f"the run has no model for {name}")
        most = self.stylist.k_max
        if k > most and name in methods_needing("generator"):
            raise FieldError("k", f"the run's generator has learned {most} missing items at most; greedy_k finds more")
        return name

    def _user(self, user: User) -> User:
        known = self.stylist.user_ids
        if not known:
            raise FieldError("user", "the run knows no users, or its catalogue has changed since it learned them")
        if isinstance(user, str) and user not in known:
            raise FieldError("user", f"there is no user {user!r}")
        for outfit_id in () if isinstance(user, str) else user:
            try:
                self.stylist.outfit(outfit_id)
            except DataError as error:
                raise FieldError("user", error.args[0]) from None
        return user

    def _pieces(self, call: Call, items: Sequence[Any]) -> list[Piece]:
        return [self._piece(call, item, f"items.{place}") for place, item in enumerate(items)]

    def _piece(self, call: Call, item: Any, field: str) -> Piece:
        return self._known(item, field) if isinstance(item, str) else self._garment(call, item, field)

    def _known(self, item_id: str, field: str, status: int = REFUSED) -> str:
        """An id that the catalogue has; without the search for similar ones, which takes long in a large catalogue."""
        for form in (item_id, normalised(item_id)):
            if form in self.stylist:
                return form
        raise FieldError(field, f"the catalogue has no item {item_id!r}", status)

    def _garment(self, call: Call, item: requests.Garment, field: str) -> Garment:
        content, where = None, f"{field}.image"
        if item.image is not None and item.photo is not None:
            raise FieldError(where, "give either image or photo")
        if item.image is not None:
            try:
                content = base64.b64decode(item.image, validate=True)
            except (binascii.Error, ValueError):
                raise FieldError(where, "is no Base64") from None
        elif item.photo is not None:
            where = f"{field}.photo"
            if item.photo not in call.photos:
                raise FieldError(where, "the request has no file of this name")
            content = call.photos[item.photo]
        if content is not None and len(content) > self._config.max_upload_mb * 2**20:
            raise FieldError(where, f"the photo has more than {self._config.max_upload_mb} megabytes")
        if content is None and not item.text.strip():
            raise FieldError(field, "a garment needs an image or a text")
        try:
            image = None if content is None else read_image(content, self._config.max_megapixels)
        except DataError as error:
            raise FieldError(where, error.args[0]) from None
        return Garment(item.category, item.text, image)


ANSWERS: dict[str, Callable[[Answering, Call], Any]] = {
    "complete": Answering.complete,
    "recommend": Answering.recommend,
    "score": Answering.score,
    "explain": Answering.explain,
    "similar": Answering.similar,
    "refine": Answering.refine,
    "search": Answering.search,
    "generate": Answering.generate,
    "add": Answering.add,
    "remove": Answering.remove,
}


def _refusal(error: Exception, call: Call) -> Answer:
    """What went wrong, without what only the server's log should say: paths, and the traceback of a bug."""
    if isinstance(error, FieldError):
        return refused(error.status, (error.field, error.args[0]))
    if isinstance(error, ConfigError | DataError):
        message = one_line(Exception("; ".join(error.errors) if isinstance(error, ConfigError) else error.args[0]))
        field = message.partition(":")[0]
        return refused(REFUSED, (field if field in type(call.request).model_fields else "", message))
    if isinstance(error, OutfitError):
        print(error, file=sys.stderr, flush=True)
        return refused(LACKING, ("", "the service lacks something that this needs; its log says what"))
    traceback.print_exception(error)
    return refused(BROKEN, ("", "an error of the service; its log says more"))


def _json(status: int, value: Any) -> Answer:
    return Answer(status, json.dumps(_plain(value), allow_nan=False, ensure_ascii=False).encode())


def _plain(value: Any) -> Any:
    """A value as JSON has it; of items all but the path of their image."""
    if isinstance(value, ItemRef):
        return {"id": value.id, "category": value.category, "text": value.text}
    if is_dataclass(value):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
