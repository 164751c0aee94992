"""Keys of the command line of complete.py."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from outfits.config.fields import key
from outfits.config.plugins import import_plugins

# which matplotlib writes
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")


def _image_file(value: str) -> str:
    if PurePath(value).suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(f"{value!r} does not end in one of {', '.join(IMAGE_SUFFIXES)}")
    return value


def _user(value: Any) -> Any:
    if value is None:
        return None
    ids = value if isinstance(value, list) else [value]
    if not ids or any(isinstance(one, list | dict | None.__class__) for one in ids):
        raise ValueError(f"{value!r} is neither the id of a user nor a list of ids of outfits")
    return [str(one) for one in ids] if isinstance(value, list) else str(value)


@dataclass
class CompleteConfig:
    run: str | None = key(None, "folder of a finished run")
    plugins: list[str] = key(
        [], "modules imported before the method is looked up, instead of those of the run", check=import_plugins
    )
    items: list[str] = key([], "the partial outfit: ids of catalogue items, as in items=[12_1,12_3]")
    garments: list[Any] = key(
        [],
        "external garments in the outfit, each {image: PHOTO, text: WORDS, category: NAME} with an image (relative "
        "to the working folder), a text or both",
    )
    text: str | None = key(None, "a text to generate an outfit from, instead of completing one")
    k: int = key(2, "number of missing items", ge=1, le=8)
    categories: list[Any] = key(
        [],
        "categories asked for: a list for all missing items, as in [shoes,bags], or a list for each, as in "
        "[[shoes],[bags]]; [] leaves them open",
    )
    texts: list[str] = key(
        [], "texts asked for: one for each missing item ('' is no condition), or a single one that stands for all"
    )
    max_items: int = key(5, "with text: largest number of items of the generated outfit", ge=1)
    size: int | None = key(None, "with text: number of items of the generated outfit; null: the best number", ge=1)
    method: str | None = key(
        None,
        "NAME or NAME:OPTION=VALUE:… as in evaluate.methods; null: generator_beam to complete an outfit, beam to "
        "generate one",
    )
    alpha: float | None = key(
        None, "weight of S against texts of conditions; null: the run's evaluate.alpha", ge=0, le=1
    )
    user: Any | None = key(
        None,
        "whom to complete the outfit for: the id of a user of the run's data, or ids of outfits that a new user likes, "
        "as in user=[12,40]",
        check=_user,
    )
    beta: float | None = key(None, "weight of the user's preference; null: the run's personal.beta", ge=0)
    imagine: bool = key(
        False,
        "also draw missing items as the generator had them in mind, beside those found; needs stage imagine",
    )
    top: int = key(5, "outfits shown at most, best first", ge=1, le=100)
    out: str = key(
        "completions.png",
        f"image of the shown outfits, in the format of its suffix: {', '.join(IMAGE_SUFFIXES)}",
        check=_image_file,
    )
    device: str = key("cpu", "where the models run, as torch names it: cpu, cuda or mps")
    cache_dir: str | None = key(None, "folder of the run's embeddings; null: where the run left them")
    data_root: str | None = key(None, "folder of the run's data set, for images; null: where the run found it")
