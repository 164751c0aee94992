"""Checks what a command line of ``complete.py`` asks for, before the run is loaded."""

import difflib
from collections.abc import Iterator
from typing import Any

from outfits.config.checks import Conflict
from outfits.config.method_calls import split_call
from outfits.config.schema.complete import CompleteConfig

GARMENT_KEYS = ("image", "text", "category")


def complete_conflicts(config: CompleteConfig) -> Iterator[Conflict]:
    """What is wrong between the keys, and within keys whose values the schema cannot describe."""
    if config.run is None:
        yield ("run",), "run: is not set; name the folder of a finished run, as in run=runs/synthetic-20260101-120000"
    in_hand = [name for name in ("items", "garments") if getattr(config, name)]
    if config.text is None and not in_hand:
        text = "items: give the partial outfit with items=[ID,…] or garments=[…], or text=… to generate one"
        yield ("items", "garments", "text"), text
    if config.text is not None and in_hand:
        text = f"text: generates an outfit from nothing; beside {in_hand[0]}, say what you condition for with texts=[…]"
        yield ("text", *in_hand), text
    if config.text is not None and not config.text.strip():
        yield ("text",), "text: is empty; say what the outfit should be"
    for name in ("categories", "texts"):
        if config.text is not None and getattr(config, name):
            yield ("text", name), f"{name}: conditions belong to an partial outfit; generate with text=… alone"
    if len(config.texts) not in (0, 1, config.k):
        yield (
            ("texts", "k"),
            f"texts: {len(config.texts)} texts for k={config.k} missing items; give one, or one for each",
        )
    if any(isinstance(part, list) for part in config.categories) and len(config.categories) != config.k:
        text = f"categories: {len(config.categories)} lists for k={config.k} missing items; give one for each"
        yield ("categories", "k"), text
    for line in (*_category_mistakes(config.categories), *_garment_mistakes(config.garments)):
        yield (line.partition(":")[0],), line
    if config.method is not None:
        try:
            name, _ = split_call(config.method)
        except ValueError as error:
            yield ("method",), f"method: {error}"
        else:
            if name == "original":
                yield ("method",), "method: original gives removed items back; from an partial outfit none was removed"


def _category_mistakes(categories: list[Any]) -> Iterator[str]:
    for place, part in enumerate(categories):
        whole = part if isinstance(part, list) else [part]
        if not all(isinstance(name, str) for name in whole):
            yield f"categories: element {place}: {part!r} is neither a name nor a list of names"
    kinds = {isinstance(part, list) for part in categories}
    if len(kinds) > 1:
        yield "categories: names and lists are mixed; give one list of names, or a list for each missing item"


def _garment_mistakes(garments: list[Any]) -> Iterator[str]:
    for place, garment in enumerate(garments):
        where = f"garments: element {place}:"
        if not isinstance(garment, dict):
            yield f"{where} {garment!r} is not {{image: PHOTO, text: WORDS, category: NAME}}"
            continue
        for name, value in garment.items():
            if name not in GARMENT_KEYS:
                near = difflib.get_close_matches(str(name), GARMENT_KEYS, n=1)
                yield f"{where} no such key {name!r}{f'; did you mean {near[0]}?' if near else ''}"
            elif not isinstance(value, str):
                yield f"{where} {name} {value!r} is not a text; put quotes around it"
        if not garment.get("category"):
            yield f"{where} has no category"
        if not (str(garment.get("image") or "").strip() or str(garment.get("text") or "").strip()):
            yield f"{where} has neither image nor text"
