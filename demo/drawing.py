"""Draw the compare tab's picture, its faces, and the last pictures."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr
import numpy as np
from PIL import Image

from agecli.inference.prediction import Prediction

from .compare import Comparison
from .pictures import shrink
from .reading import Picture
from .recent import Opened
from .render import render
from .results import said
from .visitors import Visitor

WAITING = render(
    "empty", lead="Add a picture of a face.",
    text="Each model gives an age group, how sure it is, and, where it can, an age in years.",
)  # fmt: skip
FINDING = render("finding")
ABSENT = gr.update(visible=False)
"""For the upload, whose camera goes off with it."""
EMPTY = ""
"""Takes no place: what is seen follows from what there is, by the style sheet."""
THUMBNAIL = 88


def draw_stage(opened: Opened) -> str:
    """Show the picture with a button over each face."""
    picture = opened.picture
    width, height = picture.size
    return render(
        "stage", image=shrink(picture.image()), faces=picture.faces, chosen=opened.face,
        width=width, height=height, animated=picture.animated,
    )  # fmt: skip


def draw_faces(opened: Opened, rows: Sequence[Prediction] = ()) -> str:
    """List the faces of a picture of several, with what is said of each once it is."""
    crops = _crops(opened.picture)
    if len(crops) == 1:
        return EMPTY
    listed = list(said(rows)) or [(None, "")] * len(crops)
    faces = [(_thumbnail(crop), *one) for crop, one in zip(crops, listed, strict=True)]
    return render("faces", faces=faces, chosen=opened.face)


def draw_crop(comparison: Comparison) -> str:
    """Show what the models see."""
    return render("crop", crop=comparison.crop, number=comparison.face + 1)


def draw_recent(visitor: Visitor) -> str:
    """List the last pictures but the open one, each by its chosen face."""
    others = [one for one in visitor.recent if one is not visitor.opened]
    if not others:
        return EMPTY
    listed = [(one, _thumbnail(_crops(one.picture)[one.face])) for one in others]
    return render(
        "recent", recent=listed, beside=visitor.beside, comparable=visitor.opened is not None
    )


def _crops(picture: Picture) -> np.ndarray:
    """Return all faces as the model that sees most of them: (faces, size, size, 3)."""
    return picture.reading.crops[max(picture.reading.crops)]


def _thumbnail(crop: np.ndarray) -> Image.Image:
    return shrink(Image.fromarray(crop), THUMBNAIL)
