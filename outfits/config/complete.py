"""Checks the command line of ``complete.py`` before the run is loaded."""

from collections.abc import Iterator
from typing import Any

from outfits.config.checks import Conflict
from outfits.config.method_calls import resolve_call
from outfits.config.schema.complete import CompleteConfig
from outfits.config.schema.evaluate import EvaluateConfig
from outfits.naming import did_you_mean

GARMENT_KEYS = ("image", "text", "category")


def complete_conflicts(config: CompleteConfig) -> Iterator[Conflict]:
    """Yields conflicts between keys, and errors in values that the schema cannot describe."""
    if config.run is None:
        yield "run", "is not set; name the folder of a finished run, as in run=runs/synthetic-20260101-120000"
    given = [name for name in ("items", "garments") if getattr(config, name)]
    if config.text is None and not given:
        text = "give the partial outfit with items=[ID,…] or garments=[…], or text=… to generate one"
        yield "items", text, "garments", "text"
    if config.text is not None and given:
        text = f"generates an outfit from nothing; beside {given[0]}, say what you condition for with texts=[…]"
        yield "text", text, *given
    if config.text is not None and not config.text.strip():
        yield "text", "is empty; say what the outfit should be"
    for name in ("categories", "texts"):
        if config.text is not None and getattr(config, name):
            yield name, "conditions belong to a partial outfit; generate with text=… alone", "text"
    for name in ("user", "beta"):
        if config.text is not None and getattr(config, name) is not None:
            yield name, "whom an outfit is for belongs to a partial outfit; generate with text=… alone", "text"
    if config.beta is not None and config.user is None and config.text is None:
        yield "beta", "weighs the preference of a user; say whose with user=…", "user"
    if config.text is not None and config.imagine:
        yield "imagine", "the generator imagines missing items of a partial outfit; leave it out with text=…", "text"
    if len(config.texts) not in (0, 1, config.k):
        yield "texts", f"{len(config.texts)} texts for k={config.k} missing items; give one, or one for each", "k"
    if any(isinstance(part, list) for part in config.categories) and len(config.categories) != config.k:
        text = f"{len(config.categories)} lists for k={config.k} missing items; give one for each"
        yield "categories", text, "k"
    yield from (("categories", text) for text in _category_errors(config.categories))
    yield from (("garments", text) for text in _garment_errors(config.garments))
    if config.method == "original":
        yield "method", "original gives removed items back; from a partial outfit none was removed"
    elif config.method is not None:
        try:
            resolve_call(config.method, EvaluateConfig())
        except ValueError as error:
            yield "method", str(error)


def _category_errors(categories: list[Any]) -> Iterator[str]:
    for place, part in enumerate(categories):
        whole = part if isinstance(part, list) else [part]
        if not all(isinstance(name, str) for name in whole):
            yield f"element {place}: {part!r} is neither a name nor a list of names"
    if len({isinstance(part, list) for part in categories}) > 1:
        yield "names and lists are mixed; give one list of names, or a list for each missing item"


def _garment_errors(garments: list[Any]) -> Iterator[str]:
    for place, garment in enumerate(garments):
        where = f"element {place}:"
        if not isinstance(garment, dict):
            yield f"{where} {garment!r} is not {{image: PHOTO, text: WORDS, category: NAME}}"
            continue
        for name, value in garment.items():
            if name not in GARMENT_KEYS:
                yield f"{where} no such key {name!r}{did_you_mean(str(name), GARMENT_KEYS)}"
            elif not isinstance(value, str):
                yield f"{where} {name} {value!r} is not a text; put quotes around it"
        if not garment.get("category"):
            yield f"{where} has no category"
        if not (str(garment.get("image") or "").strip() or str(garment.get("text") or "").strip()):
            yield f"{where} has neither image nor text"
