"""Keeps visitors' outfits and photos on the disk, where whoever runs the page asks for it."""

import hashlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from uuid import uuid4

from PIL import Image

from outfits.serving.visit import Visit
from outfits.storage import write_atomically, write_json

OUTFIT = "outfit.json"


def keep_visit(visit: Visit, folder: Path) -> Visit:
    """Writes a visit's outfit and photos to a folder of its own, and returns the visit with that folder's name.

    Names are random or made of contents, none is the visitor's. A photo that was taken out of the outfit is deleted.

    Raises:
        OSError: if the folder cannot be written.
    """
    visit = visit if visit.name else replace(visit, name=uuid4().hex)
    place = folder / visit.name
    photos = [None if entry.image is None else _jpeg(entry.image) for entry in visit.items]
    names = [None if photo is None else f"{hashlib.sha256(photo).hexdigest()[:32]}.jpg" for photo in photos]
    for name, photo in zip(names, photos, strict=True):
        if name is not None and photo is not None and not (place / name).is_file():
            _write(place / name, photo)
    items = [
        {
            "id": entry.ref.id,
            "category": entry.ref.category,
            "text": entry.ref.text,
            "photo": name,
            "added": entry.added,
        }
        for entry, name in zip(visit.items, names, strict=True)
    ]
    write_json(place / OUTFIT, {"items": items})
    for path in place.glob("*.jpg"):
        if path.name not in names:
            path.unlink(missing_ok=True)
    return visit


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, lambda file: file.write(content))


def _jpeg(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
