"""The batch tab: many pictures, a table and a gallery, and files to download."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from agecli.faces import Face
from agecli.faces.drawing import draw_faces
from agecli.inference.fitted import ENSEMBLE
from agecli.inference.prediction import Prediction

from .batch import MOST, Lead, answer, check, faces_csv, leads, to_csv, to_json
from .models import Contender, make_reader
from .pictures import data_uri, shrink
from .reading import Picture, Refused
from .render import notice, render
from .upload import read_upload
from .visitors import Visitors

WAITING = render(
    "empty", lead=f"Add up to {MOST} pictures.",
    text="Every face in them gets a row per model, to read here or to take along as CSV or JSON.",
)  # fmt: skip
THUMBNAIL = 320
BOM = "\ufeff"
"""The byte order mark by which Excel recognises UTF-8."""
LATEST = 12
"""Most pictures that are shown while others are in progress."""
CLICKS = """
element.addEventListener('click', event => {
  if (event.target.closest('[data-stop]')) trigger('stop');
});
"""


def build(contenders: Sequence[Contender], most_bytes: int, visitors: Visitors) -> None:
    """Lay out the tab, and connect its events."""
    reader = make_reader(contenders)
    files = gr.File(
        label="Pictures", file_count="multiple", height=180, elem_id="uploads",
        file_types=["image", ".heic", ".heif", ".avif"],
    )  # fmt: skip
    results: Any = gr.HTML(WAITING, apply_default_css=False, elem_id="table", js_on_load=CLICKS)

    def note(request: gr.Request) -> None:
        visitors.find(request).batch = object()

    def run(uploads: list[dict[str, Any]] | None, request: gr.Request) -> Iterator[Any]:
        visitor = visitors.find_again(request)
        if not visitor or not visitor.batch:  # the page is gone, or it was cancelled meanwhile
            return
        wish, tiles = visitor.batch, visitor.tiles
        if not uploads:
            visitor.tiles = {}
            yield WAITING
            return
        try:
            # Predictions from before a file was added or removed stay as they are.
            new = {
                upload["path"]: read_upload(upload)
                for upload in check(uploads)
                if upload["path"] not in tiles
            }
        except Refused as error:
            yield notice(str(error))
            return
        for number, (path, file) in enumerate(new.items()):
            yield render(
                "progress", done=number, total=len(new), name=file[0],
                tiles=[tiles[done] for done in list(new)[max(0, number - LATEST) : number]],
            )  # fmt: skip
            picture, rows = answer(contenders, reader, file, most_bytes)
            if visitor.batch is not wish:
                # The progress may reach the page after what cancelled it.
                yield gr.skip() if visitor.batch else WAITING
                return
            tiles[path] = _tile(picture, rows)
        for gone in set(tiles) - {upload["path"] for upload in uploads}:
            del tiles[gone]
        yield _page([tiles[upload["path"]] for upload in uploads])
        # Gradio repeats the last update at the end, when the page may be past it.
        yield gr.skip()

    def stop(request: gr.Request) -> tuple[Any, str]:
        visitor = visitors.find(request)
        visitor.batch, visitor.tiles = None, {}
        return None, WAITING

    common: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    at_once: dict[str, Any] = {"queue": False, "trigger_mode": "multiple"}
    for changed in (files.upload, files.delete, files.clear):
        changed(note, None, None, **at_once, **common).then(
            run, files, results, preprocess=False, concurrency_id="models",
            trigger_mode="multiple", **common,
        )  # fmt: skip
    results.stop(stop, None, [files, results], **at_once, **common)


@dataclass(frozen=True)
class _Tile:
    """A tile of the gallery, without its picture, and its rows of the table."""

    rows: list[Prediction]
    groups: list[str]
    """The group shown first for each face: by the ensemble, or by the best model."""
    faces: tuple[tuple[Lead, list[Prediction]], ...] = ()
    """For each face, the prediction shown first, and each model's."""
    image: str = ""
    """A data: URI; empty without a prediction."""

    @property
    def said(self) -> str:
        """Return the groups with their counts."""
        return ", ".join(f"{g} ×{n}" if n > 1 else g for g, n in Counter(self.groups).items())


def _tile(picture: Picture | None, rows: list[Prediction]) -> _Tile:
    if picture is None:
        return _Tile(rows, [])
    found = list(leads(rows))
    first = {face: one for face, one in found if one}
    labels: dict[Face | None, list[str]] = {face: [one.label] for face, one in first.items()}
    image = data_uri(shrink(draw_faces(picture.image(), labels), THUMBNAIL), 82)
    faces = tuple((one, [row for row in rows if row.face == face]) for face, one in found)
    return _Tile(rows, [str(one.group) for one in first.values()], faces, image)


def _page(tiles: Sequence[_Tile]) -> str:
    rows = [row for tile in tiles for row in tile.rows]
    young_to_old = dict.fromkeys(group for row in rows for group in row.probabilities or ())
    count = Counter(group for tile in tiles for group in tile.groups)
    models = list(dict.fromkeys(row.model for row in rows if row.model))  # the first one first
    alone = ENSEMBLE in models[1:]
    who = f"{models[0]}, the most accurate of them" if alone else "All models together"
    return render(
        "batch", tiles=tiles, who=who, faces=sum(len(tile.faces) for tile in tiles),
        unanswered=sum(not tile.image for tile in tiles),
        groups=[(group, count[group]) for group in young_to_old if count[group]],
        files=[
            (label, name, kind, base64.b64encode(text.encode()).decode())
            for label, name, kind, text in (
                ("Download CSV", "faces.csv", "text/csv",
                 BOM + faces_csv([tile.rows for tile in tiles])),
                ("CSV with a row per model", "ages.csv", "text/csv", BOM + to_csv(rows)),
                ("JSON", "ages.json", "application/json", to_json(rows)),
            )
        ],
    )  # fmt: skip
