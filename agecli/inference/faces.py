"""Find faces in pictures: where to look, how closely, and which finds are one face."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from math import ceil, cos, floor, radians, sin, sqrt

import numpy as np
from PIL import Image, ImageOps

from agecli.inference.crops import Box, crop_box, crop_face, side
from agecli.inference.detector import look

CLOSE_SIDE = 104
"""Longest side at which a picture is looked at first: enough where a face fills it."""
CLOSE = 0.8
"""A face this large, in longest sides of the picture, leaves no room for another: a crop."""
FIRST_PIXELS = 1_200_000
"""Pixels at most of the ordinary look, which shows whether there is a portrait's large face."""
PORTRAIT = 1 / 3
"""A face this large, in shorter sides of the picture, is its subject: no finer look is taken."""
FINER, FINER_PIXELS = 2, 8_000_000
"""Enlargement and pixels at most of the look for small faces: 40 px up to 2 megapixels."""
TURNS, TURNED_PIXELS = (-35, 35), 1_200_000
"""Degrees by which a picture without a face is turned for further looks, and their pixels."""
REFINE_SIZES, REFINE_REGION = (96, 107, 119), 1.8
"""Sides in pixels of a face in the closer looks, and what they show of its surroundings."""
BORDER, GREY = 60, 127
"""What is laid around a picture before a look: faces cut by its border are found in it, 80 % of
them on held-out chips instead of 61 %; mirrored pixels gave 75 % and many false faces."""
LEAST_FIND = -0.3
"""Finds weaker than this are not looked at closely."""
SURE_SCORE = 0.3
"""From here on, in the mean of the closer looks, a find is a face by the detector alone."""
WEAK_SCORE = 0.0
"""Below this hardly a find is one: the least for those who tell faces by other means, too."""
UNSEEN_SCORE = -0.5
"""What a closer look counts that does not see the face, and the least that one counts."""
SAME = 0.4
"""Finds that share this much of the smaller one's area are one face."""
MOST = 100
"""Finds at most that are looked at closely: the strongest."""


@dataclass(frozen=True)
class Face:
    """A detected face.

    box: the square around its centre in the picture's pixels, before it is turned by the angle.
    """

    box: tuple[int, int, int, int]
    score: float
    """The detector's: 0 is weak."""
    angle: float = 0.0
    """Tilt of the head in degrees, clockwise as seen."""


def detect(image: Image.Image, least_score: float = SURE_SCORE) -> list[Face]:
    """Find the faces of an RGB picture, the largest first.

    Pictures of any size are searched at bounded sizes: a first look, and where no face fills much
    of the picture a finer one, enlarged up to 2×; where neither is sure of one, at copies turned
    by 35 degrees either way. The detector's boxes come in coarse steps, and its scores jump with
    them: the box, score and tilt of a face are the means of three closer looks. On chips pasted
    into scenes that lost 1.3 points of exact accuracy instead of 3.3. Boxes are in the picture's
    own pixels and may reach beyond its border.

    least_score: the least of a face that is given; `WEAK_SCORE` is the least that makes sense.
    """
    longest, shortest = max(image.size), min(image.size)
    faces = _search(image, CLOSE_SIDE / longest, border=0, least_score=0)
    if len(faces) == 1 and side(faces[0].box) > CLOSE * longest:
        return faces
    pixels = image.width * image.height
    grey = image.convert("L")  # takes three quarters of the time of colours
    faces = _confirm(image, _search(grey, min(1, sqrt(FIRST_PIXELS / pixels))))
    if not any(side(face.box) > PORTRAIT * shortest for face in _sure(faces)):
        finer = _search(grey, min(FINER, sqrt(FINER_PIXELS / pixels)))
        faces = _merge([*faces, *_confirm(image, _unknown(finer, faces))])
    if not _sure(faces):
        scale = min(FINER, sqrt(TURNED_PIXELS / pixels))
        with ThreadPoolExecutor(len(TURNS)) as pool:
            turned = list(pool.map(lambda turn: _search(grey, scale, turn), TURNS))
        faces = _merge([*faces, *_confirm(image, chain(*turned))])
    faces = [face for face in faces if face.score >= least_score]
    return sorted(faces, key=lambda face: side(face.box), reverse=True)


def crop_largest(image: Image.Image) -> Image.Image | None:
    """Crop the largest face as `crop_box` does, at its own resolution; None where there is none."""
    faces = detect(image)
    if not faces:
        return None
    box = crop_box(faces[0].box)
    return Image.fromarray(crop_face(image, box, round(side(box)), faces[0].angle))


def _search(
    image: Image.Image,
    scale: float,
    turn: int = 0,
    border: int = BORDER,
    least_score: float = LEAST_FIND,
) -> list[Face]:
    """Look at a scaled copy, turned back by an angle so that heads tilted by it are upright."""
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    copy = image
    if size != image.size:
        copy = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2)
    if border:
        copy = ImageOps.expand(copy, border, GREY)
    if turn:
        copy = copy.rotate(turn, Image.Resampling.BILINEAR, expand=True, fillcolor=GREY)
    c, s = cos(radians(turn)), sin(radians(turn))
    faces = []
    for box, score, tilt in look(np.asarray(copy), least_score):
        across = (box[0] + box[2] - copy.width) / 2
        down = (box[1] + box[3] - copy.height) / 2
        x = (c * across - s * down) / scale + image.width / 2
        y = (s * across + c * down) / scale + image.height / 2
        faces.append(_face(x, y, side(box) / scale, score, turn + tilt))
    return faces


def _confirm(image: Image.Image, found: Iterable[Face]) -> list[Face]:
    """Look at each find closely, and keep those that the closer looks bear out."""
    closer = [_refine(image, face) for face in _merge(found)[:MOST]]
    return _merge(face for face in closer if face.score >= WEAK_SCORE)


def _sure(faces: Iterable[Face]) -> list[Face]:
    return [face for face in faces if face.score >= SURE_SCORE]


def _refine(image: Image.Image, face: Face) -> Face:
    """Look at a find in three sizes, and give the mean of the boxes, scores and tilts found."""
    x, y = (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
    shown = side(face.box) * REFINE_REGION
    c, s = cos(radians(face.angle)), sin(radians(face.angle))
    image, left, top = _bordered(image, x, y, shown)
    region = (x - shown / 2 - left, y - shown / 2 - top, x + shown / 2 - left, y + shown / 2 - top)
    boxes, scores = [], []
    for size in REFINE_SIZES:
        pixels = round(size * REFINE_REGION)
        seen = look(crop_face(image, region, pixels, face.angle), UNSEEN_SCORE)
        best = max(seen, key=lambda find: find.score, default=None)
        scores.append(best.score if best else UNSEEN_SCORE)
        if best:
            left, top, right, bottom = np.array(best.box) * (shown / pixels) - shown / 2
            boxes.append(((left + right) / 2, (top + bottom) / 2, right - left, best.tilt))
    if not boxes:
        return replace(face, score=UNSEEN_SCORE)
    across, down, width, tilt = np.mean(boxes, axis=0).tolist()
    return _face(
        x + c * across - s * down, y + s * across + c * down, width,
        sum(scores) / len(scores), face.angle + tilt,
    )  # fmt: skip


def _bordered(image: Image.Image, x: float, y: float, shown: float) -> tuple[Image.Image, int, int]:
    """Give a picture in which a square, however turned, lies whole, and that picture's place.

    What lies beyond the border is grey.
    """
    half = shown / sqrt(2)
    left, top, right, bottom = floor(x - half), floor(y - half), ceil(x + half), ceil(y + half)
    inside = (max(0, left), max(0, top), min(image.width, right), min(image.height, bottom))
    if inside == (left, top, right, bottom):
        return image, 0, 0
    square = Image.new("RGB", (right - left, bottom - top), (GREY,) * 3)
    square.paste(image.crop(inside), (inside[0] - left, inside[1] - top))
    return square, left, top


def _merge(faces: Iterable[Face]) -> list[Face]:
    """Keep the strongest of the finds that are one face, the strongest first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: face.score, reverse=True):
        kept += _unknown([face], kept)
    return kept


def _unknown(found: Iterable[Face], known: list[Face]) -> list[Face]:
    """Leave out the finds that are faces known already."""
    return [face for face in found if all(_shared(face.box, k.box) < SAME for k in known)]


def _face(x: float, y: float, width: float, score: float, angle: float) -> Face:
    """Make a face of its centre and width."""
    half = width / 2
    box = (round(x - half), round(y - half), round(x + half), round(y + half))
    return Face(box, round(score, 3), round(angle, 1))


def _shared(a: Box, b: Box) -> float:
    """Give the intersection of two boxes over the smaller one's area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    area = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return max(0, width) * max(0, height) / area
