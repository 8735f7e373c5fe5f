"""Draw boxes and labels of faces on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from agecli.data.images import reduction
from agecli.faces.geometry import Face, corners, scaled

_COLOUR, _INK = (255, 200, 0), (0, 0, 0)


def draw_faces(image: Image.Image, labels: Mapping[Face | None, Sequence[str]]) -> Image.Image:
    """Return a copy of an RGB image with a tilted box per face, and its lines of text.

    None stands for the whole image, which is labelled without a box.
    """
    image = image.copy()
    draw = ImageDraw.Draw(image)
    short = min(image.size)
    line = max(1, short // 200)
    for face, lines in labels.items():
        left, top, right = 0, 0, image.width
        if face:
            around = corners(scaled(face, 1 / reduction(image)).box, face.angle)
            draw.line([*around, *around[:2]], _COLOUR, line, joint="curve")
            across, down = zip(*around, strict=True)
            left, top, right = round(min(across)), round(min(down)), round(max(across))
        size = min(max(10, (right - left) / 6), max(10, short / 12))
        _write(draw, "\n".join(lines), (left, top), ImageFont.load_default(size), image.width)
    return image


def _write(
    draw: ImageDraw.ImageDraw,
    text: str,
    place: tuple[int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    within: int,
) -> None:
    """Write text above a box's top left corner, or below it if there is no room above.

    within: the image's width, inside which the text is moved.
    """
    left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=font)
    width, height = right - left, bottom - top
    x = max(0, min(place[0], within - width))
    y = place[1] - height if place[1] >= height else max(0, place[1])
    draw.rectangle((x, y, x + width, y + height), fill=_COLOUR)
    draw.multiline_text((x - left, y - top), text, fill=_INK, font=font)
