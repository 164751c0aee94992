"""Selects queries for the report, and draws which parts agree with the first answers."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from outfits.encoders.view_pyramids import AS_IT_IS, ViewImages, ViewPyramids
from outfits.metrics.parts import PartsRanks
from outfits.models.grnet import Grnet
from outfits.models.pyramid_similarity import evidence_of, global_vectors, part_agreement, similarity_of
from outfits.report.drawing import data_uri
from outfits.report.examples import evenly_spread
from outfits.report.parts.heat import heat_map

EXAMPLES, SHOWN = 4, 3  # queries of each bucket, and answers to each
SIDE = 132  # of pictures, pixels


@dataclass(frozen=True)
class PartsAnswer:
    """An answer's image and the query, each under the heat map of their comparison, and whether it is the right one."""

    answer: str
    query: str
    similarity: float
    right: bool


@dataclass(frozen=True)
class PartsExample:
    """A query with GRNet's first answers; images are data URIs, places count from 1."""

    bucket: str
    image: str
    place: int
    global_place: int
    answers: Sequence[PartsAnswer]


def examples(
    views: ViewPyramids, split: str, images: ViewImages, model: Grnet, ranks: PartsRanks
) -> list[PartsExample]:
    """Queries spread evenly over those of every bucket, with GRNet's answers to each."""
    found = []
    gallery_rows, (_, gallery) = views.plan.rows(split, AS_IT_IS), views.gallery(split)
    for bucket, (true, pyramids) in views.queries(split).items():
        rows = views.plan.rows(split, bucket)
        for place in evenly_spread(len(rows), EXAMPLES).tolist():
            query, image = pyramids[place], _picture(images.image(int(rows[place])))
            cosine = global_vectors(gallery) @ query[0]
            nearest = np.argsort(-cosine, kind="stable")[: ranks.candidates]
            with torch.inference_mode():
                evidence = evidence_of(model, query, gallery[nearest])
            answers = []
            for column in np.argsort(-evidence, kind="stable")[:SHOWN].tolist():
                answer = int(nearest[column])
                shown = _picture(images.image(int(gallery_rows[answer])))
                maps = part_agreement(model, query, gallery[answer]).maps()
                most = max(float(np.abs(one).max()) for one in maps)
                similarity = float(similarity_of(evidence[column : column + 1])[0])
                of_query, of_answer = (
                    _uri(heat_map(one, m, most)) for one, m in zip((image, shown), maps, strict=True)
                )
                answers.append(PartsAnswer(of_answer, of_query, similarity, answer == true[place]))
            first, before = (int(ranks.ranks[row][bucket][place]) + 1 for row in ("grnet", "global"))
            found.append(PartsExample(bucket, _uri(image), first, before, answers))
    return found


def _picture(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels[..., :3])).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80, optimize=True)
    return data_uri("jpeg", buffer.getvalue())
