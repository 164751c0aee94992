"""The page's section of items that look like the selected one part by part, with heat maps of the parts that agree."""

from functools import partial
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from outfits.data.dataset import Item
from outfits.errors import DataError, OutfitError
from outfits.report.comparison.gallery import image_or_tile
from outfits.report.parts.heat import heat_map
from outfits.serving.turns import TURN, error_line
from outfits.serving.visit import Visit
from outfits.stylist import ItemMatch, ItemRef, Stylist

SHOWN = 8
SIDE = 240  # of each picture, pixels


def parts_section(stylist: Stylist, state: gr.State, selected: gr.State, message: gr.Markdown) -> None:
    """Adds the section to the page that is being built; hidden where the run has no GRNet."""
    with gr.Accordion("The same item, seen otherwise", open=False, visible=stylist.compares_parts):
        gr.Markdown(
            "Compares the parts of pictures. Left the selected item, right one of the catalogue: blue parts speak "
            "more for one item than the others, orange ones less."
        )
        ask = gr.Button("Find what looks like the selected item")
        found = gr.Gallery(
            label="Most alike by parts", columns=4, object_fit="contain", height="auto", allow_preview=False, buttons=[]
        )
    ask.click(partial(alike, stylist), [state, selected], [found, message], api_name="alike_by_parts")


def alike(stylist: Stylist, visit: Visit, place: int) -> list[Any]:
    """Pictures with captions of the catalogue's items most like that at a place of the outfit, and a message."""
    try:
        if not 0 <= place < len(visit.items):
            raise DataError("choose an item of the outfit first")
        entry = visit.items[place]
        with TURN:
            matches = stylist.similar(entry.piece, SHOWN, modality="parts")
            own = entry.image or _picture(entry.ref)
            return [[_compared(stylist, visit, place, own, match) for match in matches], ""]
    except OutfitError as error:
        return [[], error_line(error)]


def _compared(
    stylist: Stylist, visit: Visit, place: int, own: Image.Image, match: ItemMatch
) -> tuple[Image.Image, str]:
    """Both pictures side by side, under heat maps of one scale."""
    compared = stylist.compare_parts(visit.items[place].piece, str(match.item.id))
    maps = compared.agreement.maps()
    most = max(float(np.abs(effects).max()) for effects in maps)
    pair = Image.new("RGB", (2 * SIDE + 8, SIDE), "white")
    for number, (image, effects) in enumerate(zip((own, _picture(match.item)), maps, strict=True)):
        drawn = heat_map(image, effects, most).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        pair.paste(drawn, (number * (SIDE + 8), 0))
    return pair, f"{match.similarity:.3f} · {match.item.category}: {match.item.text}".rstrip(": ")


def _picture(ref: ItemRef) -> Image.Image:
    return image_or_tile(Item(ref.name, ref.category, ref.text, ref.image_path), (SIDE, SIDE))
