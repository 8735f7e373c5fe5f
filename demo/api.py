"""The API: the named endpoints /compare and /batch, for gradio_client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from typing import Any

import gradio as gr

from .batch import answer, check
from .compare import compare as compare_models
from .models import Contender, make_reader
from .reading import Refused, read_number, read_picture
from .upload import read_upload


def build(contenders: Sequence[Contender], most_bytes: int) -> None:
    """Add the endpoints, with hidden fields."""
    reader = make_reader(contenders)

    @_refusals
    def compare(
        picture: dict[str, Any] | None, face: float = 0, margin: float = 0
    ) -> dict[str, Any]:
        """Predict one face of a picture (0 is the largest) by every model."""
        if picture is None:
            raise Refused("Give a picture.")
        opened = read_picture(*read_upload(picture), reader, most_bytes)
        number, added = read_number("face", face), read_number("margin", margin)
        if number not in range(len(opened.faces)):
            count = len(opened.faces)
            raise Refused(f"There is no face {number:g}: {count} found, counted from 0.")
        return compare_models(contenders, opened, int(number), added).record()

    @_refusals
    def batch(pictures: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
        """Predict all faces of several pictures: a row per face and model."""
        files = [read_upload(upload) for upload in check(pictures)]
        answered = (answer(contenders, reader, file, most_bytes) for file in files)
        return [asdict(row) for _, rows in answered for row in rows]

    with gr.Column(visible=False):
        picture = gr.Image(label="Picture")
        face = gr.Number(0, label="Face, 0 is the largest")
        margin = gr.Number(0, label="Added to the margin, in sides of the face's box")
        pictures = gr.File(label="Pictures", file_count="multiple")
        said, rows = gr.JSON(label="Answers"), gr.JSON(label="A row per face and model")
        common: dict[str, Any] = {"concurrency_id": "models", "preprocess": False}
        gr.Button("compare").click(
            compare, [picture, face, margin], said, api_name="compare", **common
        )
        gr.Button("batch").click(batch, pictures, rows, api_name="batch", **common)


def _refusals(function: Callable[..., Any]) -> Callable[..., Any]:
    """Pass a refusal to the client as it is, without a traceback on the server."""

    @wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Refused as error:
            raise gr.Error(str(error), print_exception=False) from error

    return call
