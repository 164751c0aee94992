"""How near captions come to reference texts: BLEU-4, METEOR, ROUGE-L and CIDEr.

BLEU-4, ROUGE-L and CIDEr are COCO's own code (package ``pycocoevalcap``), METEOR is nltk's. Two deviations from COCO's
evaluation, whose tokenizer and METEOR are Java programs: words are what ``[a-z0-9]+`` matches in the text in lower
case, with hyphens and apostrophes inside, and METEOR matches equal words and equal stems, no synonyms, which would need
WordNet. Figures compare with others of this module alone, above all METEOR's.
"""

import re
from collections.abc import Sequence
from typing import Any

from outfits.errors import ConfigError

WORD = re.compile(r"[a-z0-9]+(?:[-'][a-z0-9]+)*")
MEASURES = ("bleu4", "meteor", "rouge_l", "cider")


class _NoSynonyms:
    """Stands in for WordNet where it is not installed."""

    def synsets(self, word: str) -> list[Any]:
        """No meanings, so that nltk finds no synonyms."""
        return []


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return WORD.findall(text.lower())


def caption_measures(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Compares each caption with its reference texts, at least one; values by :data:`MEASURES`, larger is better.

    BLEU-4 is that of the corpus, the others are means over the captions. CIDEr weighs words by how many captions'
    references have them, so that it depends on the whole set.

    Raises:
        ConfigError: if the packages of the extra ``captions`` are not installed.
    """
    try:
        from nltk.translate.meteor_score import meteor_score
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ImportError as error:
        text = (
            f"captions are measured by packages that are not installed ({error.name}); pip install 'outfits[captions]'"
        )
        raise ConfigError([f"multitask.tasks: {text}"]) from error
    said = [words_of(caption) for caption in captions]
    wanted = [[words_of(text) for text in texts] for texts in references]
    found = {row: [" ".join(words)] for row, words in enumerate(said)}
    true = {row: [" ".join(words) for words in texts] for row, texts in enumerate(wanted)}
    bleu, _ = Bleu(4).compute_score(true, found, verbose=0)
    meteor = [meteor_score(texts, words, wordnet=_NoSynonyms()) for words, texts in zip(said, wanted, strict=True)]
    rouge, _ = Rouge().compute_score(true, found)
    cider, _ = Cider().compute_score(true, found)
    values = (bleu[3], sum(meteor) / len(meteor), rouge, cider)
    return {name: float(value) for name, value in zip(MEASURES, values, strict=True)}
