"""The page: Gradio components around :mod:`outfits.serving.visit`, one visit for each visitor."""

import html
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from outfits.config.schema.serve import PROPOSING_METHODS, ServeConfig
from outfits.data.dataset import Item
from outfits.errors import OutfitError, one_line
from outfits.report.comparison.gallery import image_or_tile
from outfits.serving import visit as visits
from outfits.serving.keeping import keep_visit
from outfits.serving.parts import parts_section
from outfits.serving.turns import TURN, error_line
from outfits.serving.visit import CompletionRequest, Visit, VisitItem
from outfits.stylist import ItemRef, Stylist

K_MAX = 3
SHOWN = 12  # items of a page of search or browsing
ANYBODY = "anybody"
SIZE = (360, 480)
IMAGINED_SIZE = (360, 360)
CSS = """
.gradio-container { max-width: 1100px !important; margin: auto; }
.grid-wrap { min-height: 0 !important; }
.thumbnail-item {
  display: flex !important; flex-direction: column; aspect-ratio: auto !important; height: auto !important;
}
.thumbnail-item img { aspect-ratio: 1; height: auto !important; width: 100%; }
.thumbnail-item .caption-label {
  position: static !important; max-width: 100% !important; border: 0 !important; background: none !important;
  white-space: normal !important; text-align: left; font-size: 0.8em;
}
#message { min-height: 2.2em; font-weight: 600; }
@media (max-width: 640px) {
  .gradio-container { padding: 6px !important; }
  .grid-container { grid-template-columns: repeat(2, minmax(100px, 1fr)) !important; }
}
"""
VISIT_SECONDS = 1800  # that an outfit outlives the visit
CACHE_SECONDS = 300  # that an image which was shown stays on the disk, and how often old ones are looked for
FONTS = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]  # no font is fetched from anywhere


def launch(stylist: Stylist, config: ServeConfig, **options: Any) -> gr.Blocks:
    """Serves the page; blocks until it is stopped, unless ``options``, those of Gradio's launch, say otherwise."""
    page = build_page(stylist, config).queue(default_concurrency_limit=2, max_size=100)
    page.launch(
        server_name=config.host,
        server_port=config.port,
        max_file_size=config.max_upload_mb * 1024 * 1024,
        theme=gr.themes.Default(font=FONTS, font_mono=["monospace"]),
        css=CSS,
        share=False,
        **options,
    )
    return page


def build_page(stylist: Stylist, config: ServeConfig) -> gr.Blocks:
    """Builds the page for a loaded run."""
    methods = [name for name in PROPOSING_METHODS if stylist.can(name)]
    categories = list(stylist.categories)
    with gr.Blocks(title="Outfits", analytics_enabled=False, delete_cache=(CACHE_SECONDS, CACHE_SECONDS)) as page:
        state = gr.State(Visit(), time_to_live=VISIT_SECONDS)
        found = gr.State(())  # ids that search or browsing shows
        selected = gr.State(-1)
        kept = "" if config.keep is None else " Your outfit and photos are kept by the owner of this page."
        gr.Markdown(f"# Complete an outfit\n{len(stylist):,} items in {len(categories)} categories.{kept}")
        message = gr.Markdown("", elem_id="message")
        with gr.Row():
            with gr.Column(scale=1):
                gr.Markdown("## Your outfit")
                outfit = _gallery("Your outfit", 3)
                score = gr.Markdown("Nothing in it yet: add an item, a photo, or start from a text.")
                with gr.Row():
                    remove = gr.Button("Take the selected item out")
                    another = gr.Button("Another one for it")
                    clear = gr.Button("Start again")
                like_this = gr.Textbox(
                    max_length=300, label="Like the selected item, but …", placeholder="in black leather"
                )
                locked = gr.CheckboxGroup(label="Locked: these added items stay", choices=[])
                again = gr.Button("Ask again for the others")
                with gr.Accordion("The selected photo", open=False):
                    own_category = gr.Dropdown(categories, label="Category")
                    own_text = gr.Textbox(max_length=300, label="Description (optional)")
                    describe = gr.Button("Set category and description")
            with gr.Column(scale=1), gr.Tabs():
                with gr.Tab("Search"):
                    words = gr.Textbox(max_length=300, label="Words", placeholder="blue linen shirt")
                    among = gr.Dropdown(["all", *categories], value="all", label="Category")
                    with gr.Row():
                        search = gr.Button("Search", min_width=90)
                        earlier, later = (gr.Button(name, min_width=90) for name in ("Earlier", "Later"))
                    hits = _gallery("Choose an item to add it", 4)
                    place = gr.State(0)
                with gr.Tab("Photos"):
                    photos = gr.File(
                        label=f"Photos of your own, {config.max_upload_mb} MB each at most",
                        file_count="multiple",
                        file_types=["image"],
                        type="binary",
                    )
                with gr.Tab("Text"):
                    wish = gr.Textbox(
                        max_length=300, label="What should the outfit be like?", placeholder="summer wedding"
                    )
                    pieces = gr.Slider(0, 6, 0, step=1, label="Items (0: as many as are best)")
                    generate = gr.Button("Make an outfit")
                with gr.Tab("An outfit of the data"):
                    known = gr.Dropdown(list(stylist.outfit_ids)[:500], label="Outfit", allow_custom_value=True)
                    load = gr.Button("Take it")
        gr.Markdown("## Complete it")
        with gr.Row():
            k = gr.Slider(1, K_MAX, 2, step=1, label="Missing items")
            method = gr.Dropdown(methods, value=methods[0], label="Method")
            alpha = gr.Slider(0, 1, 0.5, label="Weight of the outfit against your words")
        users, weight = list(stylist.user_ids) if config.users else [], stylist.config.personal.beta
        with gr.Row(visible=bool(users)):
            user = gr.Dropdown([ANYBODY, *users], value=ANYBODY, label="For whom", filterable=True)
            beta = gr.Slider(0, max(2.0, weight), weight, label="Weight of what this user likes")
        imagine = gr.Checkbox(
            False,
            label="Show what the generator had in mind, before each item found",
            visible=stylist.can_imagine,
        )
        asked: list[Any] = []
        for number in range(K_MAX):
            with gr.Row(visible=number < 2) as row:
                chips = gr.Dropdown(categories, multiselect=True, label=f"Item {number + 1}: allowed categories")
                text = gr.Textbox(max_length=300, label=f"Item {number + 1}: in words")
            asked.append((row, chips, text))
        complete = gr.Button("Complete the outfit", variant="primary")
        proposals, notes, takes = [], [], []
        for number in range(1, visits.PROPOSALS + 1):
            with gr.Row():
                with gr.Column(scale=4):
                    proposals.append(_gallery(f"Proposal {number}", 6, visible=False))
                with gr.Column(scale=1, min_width=160):
                    notes.append(gr.Markdown(visible=False))
                    takes.append(gr.Button(f"Take proposal {number}", visible=False))
        with gr.Accordion("Which item is wrong?", open=False):
            explain = gr.Button("Explain")
            why = _gallery("What each item does", 4)
            clash = gr.Markdown()
        parts_section(stylist, state, selected, message)
        with gr.Accordion("A capsule wardrobe from it", open=False):
            with gr.Row():
                items = gr.Slider(3, 20, 8, step=1, label="Items in all")
                threshold = gr.Slider(0, 1, 0.5, label="S from which on an outfit is good")
            with gr.Row():
                capsule = gr.Button("Choose")
                stop = gr.Button("Stop")
            chosen = _gallery("The capsule", 6)
            count = gr.Markdown()

        shown = [state, message, outfit, score, locked]
        of_proposals = [*proposals, *notes, *takes]
        show = partial(_show, stylist)

        def acting(action: Callable[..., Visit]) -> Callable[..., list[Any]]:
            """Runs an action of the visit; an error is one line, and the visit stays as it was."""

            def act(visit: Visit, *values: Any) -> list[Any]:
                with TURN:
                    try:
                        new = _kept(action(visit, *values), visit, config)
                        return [*show(new, ""), *_show_proposals(new), -1]
                    except OutfitError as error:
                        return [*show(visit, error_line(error)), *_show_proposals(visit), gr.skip()]

            return act

        every = [*shown, *of_proposals, selected]
        remove.click(acting(visits.remove), [state, selected], every)
        another.click(acting(lambda v, at: visits.swap(v, stylist, at)), [state, selected], every)
        like_this.submit(
            acting(lambda v, at, words: visits.swap(v, stylist, at, words)), [state, selected, like_this], every
        )
        clear.click(acting(visits.clear), [state], every)
        locked.input(acting(_locking), [state, locked], every)
        again.click(acting(lambda v: visits.ask_again(v, stylist)), [state], every)
        describe.click(
            acting(lambda v, at, category, text: visits.describe(v, stylist, at, category, text)),
            [state, selected, own_category, own_text],
            every,
        )
        photos.upload(acting(partial(_add_images, stylist, config)), [state, photos], every).then(
            lambda: None, None, photos
        )
        generate.click(
            acting(lambda v, words, size: visits.generate(v, stylist, words, int(size) or None)),
            [state, wish, pieces],
            every,
        )
        load.click(
            acting(lambda v, name: visits.take_outfit(v, stylist.outfit(str(name)))),
            [state, known],
            every,
            api_name="take_outfit",
        )

        def outfit_ids() -> list[str]:
            return list(stylist.outfit_ids)

        gr.api(outfit_ids)
        chips_and_texts = [component for _, chips, text in asked for component in (chips, text)]
        complete.click(
            acting(partial(_complete, stylist)),
            [state, k, method, alpha, *chips_and_texts, imagine, user, beta],
            every,
            api_name="complete",
        )
        for number, button in enumerate(takes):
            button.click(acting(lambda v, n=number: visits.take(v, n)), [state], every)
        k.change(lambda n: [gr.update(visible=number < n) for number in range(K_MAX)], k, [row for row, _, _ in asked])
        outfit.select(_selected, None, selected)

        def look(words: str, category: str, at: int) -> list[Any]:
            try:
                with TURN:
                    ids = _found(stylist, words, None if category == "all" else category)
            except OutfitError as error:
                return [(), [], 0, error_line(error)]
            at = min(max(at, 0), max(0, len(ids) - 1) // SHOWN * SHOWN)
            some = ids[at : at + SHOWN]
            return [tuple(some), [_picture(stylist.item(one)) for one in some], at, ""]

        looked = [found, hits, place, message]
        search.click(lambda w, c: look(w, c, 0), [words, among], looked)
        words.submit(lambda w, c: look(w, c, 0), [words, among], looked)
        earlier.click(lambda w, c, at: look(w, c, at - SHOWN), [words, among, place], looked)
        later.click(lambda w, c, at: look(w, c, at + SHOWN), [words, among, place], looked)
        page.load(lambda: look("", "all", 0), None, looked)

        def add(visit: Visit, ids: Sequence[str], event: gr.SelectData) -> list[Any]:
            chosen = ids[int(event.index)] if int(event.index) < len(ids) else ""
            return acting(lambda v: visits.add_item(v, stylist, chosen))(visit)

        hits.select(add, [state, found], every)
        explain.click(partial(_explain, stylist), state, [why, clash, message], api_name="explain")
        working = capsule.click(
            partial(_capsule, stylist), [state, items, threshold], [chosen, count, message], show_progress="full"
        )
        stop.click(None, None, None, cancels=[working])
    return page


def _gallery(label: str, columns: int, *, visible: bool = True) -> gr.Gallery:
    """Pictures to look at or to choose from."""
    return gr.Gallery(
        label=label,
        columns=columns,
        object_fit="contain",
        format="jpeg",  # six times faster to encode than the default
        height="auto",
        allow_preview=False,
        buttons=[],
        visible=visible,
    )


def _kept(visit: Visit, before: Visit, config: ServeConfig) -> Visit:
    """Keeps a visit whose outfit has changed, where visits are kept; a visitor loses nothing where that fails."""
    if config.keep is None or visit.items == before.items or not (visit.items or visit.name):
        return visit
    try:
        return keep_visit(visit, Path(config.keep))
    except OSError as error:
        print(f"serve.keep: {config.keep}: {one_line(error)}", file=sys.stderr, flush=True)
        return visit


def _complete(stylist: Stylist, visit: Visit, k: float, method: str, alpha: float, *asked: Any) -> Visit:
    (*conditions, imagine, user, beta) = asked
    for_user = None if user in (None, ANYBODY) else str(user)
    chips, texts = conditions[::2], conditions[1::2]
    request = CompletionRequest(
        int(k),
        tuple(tuple(names or ()) for names in chips[: int(k)]),
        tuple(text or "" for text in texts[: int(k)]),
        str(method),
        float(alpha),
        bool(imagine),
        for_user,
        None if for_user is None else float(beta),
    )
    return visits.complete(visit, stylist, request)


def _add_images(stylist: Stylist, config: ServeConfig, visit: Visit, contents: Sequence[bytes] | None) -> Visit:
    for content in contents or ():
        visit = visits.add_image(visit, stylist, content, config.max_megapixels)
    return visit


def _locking(visit: Visit, names: Sequence[str]) -> Visit:
    return visits.lock(visit, [place for place, item in enumerate(visit.items) if _lock_name(place, item) in names])


def _lock_name(place: int, item: VisitItem) -> str:
    return f"{place + 1}: {item.ref.category}"


def _found(stylist: Stylist, words: str, category: str | None) -> list[str]:
    if words.strip():
        return [str(match.item.id) for match in stylist.search(words, 10 * SHOWN, categories=category)]
    return stylist.browse(category)


def _selected(event: gr.SelectData) -> int:
    return int(event.index)


def _show(stylist: Stylist, visit: Visit, said: str) -> list[Any]:
    """The visit, the message, the outfit's pictures, its score, and what can be locked."""
    pictures = [_picture(item.ref, item.image) for item in visit.items]
    text = "Nothing in it yet: add an item, a photo, or start from a text."
    if len(visit.items) == 1:
        text = "One item: complete it below, or add another to see how well they go together."
    elif visit.items:
        text = f"S of the whole: **{stylist.score(visit.pieces, rule=False):.3f}**"
        if not stylist.rule_kept(visit.pieces):
            text += ". Two items are of one category: the stylist would not put them together."
    added = [(place, item) for place, item in enumerate(visit.items) if item.added]
    choices = [_lock_name(place, item) for place, item in added]
    chosen = [_lock_name(place, item) for place, item in added if item.locked]
    return [visit, said, pictures, text, gr.update(choices=choices, value=chosen)]


def _show_proposals(visit: Visit) -> list[Any]:
    """Galleries, notes and buttons of the proposals."""
    galleries: list[Any] = []
    notes: list[Any] = []
    buttons: list[Any] = []
    for number in range(visits.PROPOSALS):
        there = number < len(visit.proposals)
        pictures, note = [], ""
        if there:
            proposal = visit.proposals[number]
            given = len(proposal.outfit.given)
            images = [*proposal.images, *([None] * len(proposal.outfit.added))]
            pictures = [_picture(*pair) for pair in zip(proposal.outfit.items, images, strict=True)]
            for place, adds in enumerate(proposal.adds):
                image, caption = pictures[given + place]
                pictures[given + place] = (image, f"adds {adds:+.3f} · {caption}")
            for place, thought in reversed(list(enumerate(proposal.imagined))):
                caption = f"imagined, before {thought.found.category} was found"
                pictures.insert(given + place, (thought.image.resize(IMAGINED_SIZE), caption))
            note = f"S **{proposal.outfit.score:.3f}**"
            note += "" if proposal.judge is None else f", the judge's score **{proposal.judge:.3f}**"
            liked = proposal.outfit.preference
            note += "" if liked is None else f", the user's preference **{liked:+.2f}**"
        galleries.append(gr.update(value=pictures, visible=there))
        notes.append(gr.update(value=note, visible=there))
        buttons.append(gr.update(visible=there))
    return [*galleries, *notes, *buttons]


def _explain(stylist: Stylist, visit: Visit) -> list[Any]:
    if not visit.items:
        return [[], "", "put at least two items into the outfit first"]
    try:
        with TURN:
            found = stylist.explain(visit.pieces)
    except OutfitError as error:
        return [[], "", error_line(error)]
    pictures = [_picture(item.ref, item.image) for item in visit.items]
    pictures[found.suspect] = (pictures[found.suspect][0], "← the one to change")
    lines = ["| item | S without it | S with the best other one |", "|---|---|---|"]
    for place, effect in enumerate(found.items):
        name = html.escape(f"{place + 1}. {effect.item.category} {effect.item.text}".strip()).replace("|", "&#124;")
        name = f"**{name}**" if place == found.suspect else name
        replaced = "–" if effect.replaced is None else f"{effect.replaced:.3f} ({effect.replaced - found.score:+.3f})"
        lines.append(f"| {name} | {effect.without:.3f} ({effect.without - found.score:+.3f}) | {replaced} |")
    better = found.items[found.suspect].alternative
    if better is not None:
        image, caption = _picture(better)
        pictures.append((image, f"instead: {caption}"))
    first, second = found.items[found.pairs[0].first].item, found.items[found.pairs[0].second].item
    pair = f"The pair that goes together least: {first.category} and {second.category} (S {found.pairs[0].score:.2f})."
    return [pictures, "\n".join([*lines, "", html.escape(pair)]), ""]


def _capsule(stylist: Stylist, visit: Visit, items: float, threshold: float) -> Iterator[list[Any]]:
    """Shows the capsule after every item that joins, so that it can be stopped between two."""
    own = [item.image for item in visit.items]
    steps = stylist.grow_capsule(visit.pieces, int(items), threshold=float(threshold))
    try:
        while True:
            with TURN:  # of each step, so that a long capsule delays no other visitor
                found = next(steps, None)
            if found is None:
                return
            images = [*own, *([None] * found.chosen)]
            pictures = [_picture(*pair) for pair in zip(found.items, images, strict=True)]
            good = f"**{len(found.outfits):,}** outfits of three or four items with S from {threshold:.2f} on."
            yield [pictures, good, ""]
    except OutfitError as error:
        yield [[], "", error_line(error)]


def _picture(ref: ItemRef, photo: Image.Image | None = None) -> tuple[Image.Image, str]:
    """An item's picture and its caption, which is the alternative text as well."""
    caption = f"{ref.category}: {ref.text}" if ref.text else ref.category
    if photo is not None:
        small = photo.copy()
        small.thumbnail(SIZE)
        return small, caption
    return _catalogue_picture(ref), caption


@lru_cache(maxsize=512)
def _catalogue_picture(ref: ItemRef) -> Image.Image:
    return image_or_tile(Item(ref.name, ref.category, ref.text, ref.image_path), SIZE)
