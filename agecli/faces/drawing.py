"""Draw boxes and labels of faces into pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from agecli.data.images import reduction
from agecli.faces.geometry import Face, corners, scaled

_COLOUR, _INK = (255, 200, 0), (0, 0, 0)


def draw_faces(image: Image.Image, labels: Mapping[Face | None, Sequence[str]]) -> Image.Image:
    """Return a copy of an RGB picture with a box per face, tilted as it is, and its lines of text.

    None stands for the whole picture, which is labelled without a box.
    """
    image = image.copy()
    draw = ImageDraw.Draw(image)
    short = min(image.size)
    line = max(1, short // 200)
    for face, lines in labels.items():
        box = (0, 0, *image.size)
        if face:
            around = corners(scaled(face, 1 / reduction(image)).box, face.angle)
            draw.line([*around, *around[:2]], _COLOUR, line, joint="curve")
            across, down = zip(*around, strict=True)
            box = round(min(across)), round(min(down)), round(max(across)), round(max(down))
        size = min(max(10, (box[2] - box[0]) / 6), max(10, short / 12))
        _write(draw, "\n".join(lines), box, ImageFont.load_default(size), image.size)
    return image


def _write(
    draw: ImageDraw.ImageDraw,
    text: str,
    box: tuple[int, int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    within: tuple[int, int],
) -> None:
    """Write text above a box, or inside its top where there is no room above."""
    left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=font)
    width, height = right - left, bottom - top
    x = max(0, min(box[0], within[0] - width))
    y = box[1] - height if box[1] >= height else max(0, box[1])
    draw.rectangle((x, y, x + width, y + height), fill=_COLOUR)
    draw.multiline_text((x - left, y - top), text, fill=_INK, font=font)
