"""What all actions of the page share: turns at the models, and errors as one line."""

import html
from threading import Semaphore

from outfits.errors import OutfitError

TURN = Semaphore(2)  # of the models, whatever the number of visitors


def error_line(error: OutfitError) -> str:
    """An error as one line of plain text, as Markdown shows it."""
    text = " ".join(str(error).split())
    return html.escape(text.partition(": ")[2] or text)
