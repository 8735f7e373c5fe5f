"""Turn uploads into pictures with faces, or a sentence that says why not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from agecli.data.images import is_animation, read_image, reduction
from agecli.data.kinds import FORMATS
from agecli.errors import ImageError, ImageFault
from agecli.faces import Face
from agecli.inference.pictures import Reading, Status, crop_view
from agecli.inference.predictor import Predictor

from .threads import run

REASONS: dict[ImageFault, str] = {
    "not_an_image": f"This file is not a picture that can be read. {FORMATS} can.",
    "empty": "This file is empty. Choose another one.",
    "broken": "This picture is damaged or cut short. Save or download it again and try once more.",
}

NO_MODEL = "No model can be used here: the Models tab says why."

MB = 2**20
"""Bytes of a megabyte, as counted by Gradio."""
MARGINS = (-0.1, 0.4)
"""Range of what may be added to the margins of crops, in sides of the face's box."""


class Refused(Exception):
    """A picture without a prediction: the text is for the user, the status for a row."""

    def __init__(self, text: str, status: Status = "unreadable") -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Picture:
    """An upload: its bytes, its faces, and their crops for the models.

    It lives only in the session's memory, and no longer than the session.
    """

    name: str
    data: bytes
    size: tuple[int, int]
    reading: Reading
    animated: bool = False

    @property
    def faces(self) -> list[Face]:
        """Return the faces, the largest first."""
        return [face for face in self.reading.faces if face]

    @property
    def held(self) -> int:
        """The bytes of it and its crops."""
        return len(self.data) + sum(crops.nbytes for crops in self.reading.crops.values())

    def image(self) -> Image.Image:
        """Decode it again, upright and RGB."""
        return read_image(self.data)

    def crop(self, face: int, margin: float = 0.0) -> Reading:
        """Return one face's crops; margin: added to what the models were trained with."""
        reading, chosen = self.reading, self.reading.faces[face]
        if not margin:
            crops = {view: crops[face : face + 1] for view, crops in reading.crops.items()}
        else:
            image = self.image()
            crops = {
                view: crop_view(image, chosen, (view[0], view[1] + margin))[None]
                for view in reading.crops
            }
        return replace(reading, faces=[chosen], crops=crops)


def read_picture(name: str, data: bytes, reader: Predictor | None, most_bytes: int) -> Picture:
    """Decode a picture and detect its faces, like `agecli predict`. Raises Refused."""
    if not reader:
        raise Refused(NO_MODEL)
    image, animated = decode(data, most_bytes)
    (reading,) = run(lambda: list(reader.read([image])))
    if reading.status == "no_face":
        raise Refused(
            "No face was found. A face has to be at least some 20 pixels wide, and not quite "
            "turned away; try a closer or brighter picture.",
            "no_face",
        )
    size = image.width * reduction(image), image.height * reduction(image)
    return Picture(name, data, size, replace(reading, source=name), animated)


def decode(data: bytes, most_bytes: int) -> tuple[Image.Image, bool]:
    """Decode an upload within the limits; return, too, if it is animated. Raises Refused."""
    if len(data) > most_bytes:
        raise Refused(
            f"This file has {len(data) / MB:.1f} MB; the most is {most_bytes / MB:.0f} MB. "
            "Save the picture smaller and try again."
        )
    try:
        image = read_image(data)
    except ImageError as error:
        raise Refused(_reason(error)) from error
    return image, is_animation(data)


def _reason(error: ImageError) -> str:
    """Return in plain words why a picture cannot be read."""
    if error.fault == "too_large":
        return f"This picture is too large ({error})."
    return REASONS.get(error.fault, REASONS["broken"])


def read_number(name: str, value: Any) -> float:
    """Return a number from a client's value. Raises Refused."""
    try:
        number = float(value or 0)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise Refused(f"{name} has to be a number.")
    return number
