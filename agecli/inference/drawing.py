"""Draw what was found into a picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from agecli.inference.crops import turned
from agecli.inference.faces import Face
from agecli.inference.predictor import Prediction

_COLOUR, _INK = (255, 200, 0), (0, 0, 0)


def draw_predictions(image: Image.Image, predictions: Sequence[Prediction]) -> Image.Image:
    """Give a copy of an RGB picture with a box per face, tilted as it is, and labels per model.

    An answer for the whole picture is labelled without a box.
    """
    image = image.copy()
    draw = ImageDraw.Draw(image)
    short = min(image.size)
    line = max(1, short // 200)
    labels: dict[Face | None, list[str]] = {}
    for prediction in predictions:
        labels.setdefault(prediction.face, []).append(label_of(prediction))
    for face, lines in labels.items():
        box = (0, 0, *image.size)
        if face:
            corners = turned(face.box, face.angle)
            draw.line([*corners, *corners[:2]], _COLOUR, line, joint="curve")
            across, down = zip(*corners, strict=True)
            box = round(min(across)), round(min(down)), round(max(across)), round(max(down))
        size = min(max(10, (box[2] - box[0]) / 6), max(10, short / 12))
        _write(draw, "\n".join(lines), box, ImageFont.load_default(size), image.size)
    return image


def label_of(prediction: Prediction) -> str:
    """Give the group, its probability and the age as a short text: "25-32 64 %, 29 y"."""
    age = f", {prediction.age:.0f} y" if prediction.age is not None else ""
    return f"{prediction.group} {prediction.probability:.0%}{age}"


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
