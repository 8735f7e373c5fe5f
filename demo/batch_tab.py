"""The batch tab: many pictures, a table and a gallery, and files to keep."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import gradio as gr

from agecli.faces.drawing import draw_faces
from agecli.inference.ensemble import join
from agecli.inference.predictor import Prediction, labels_of

from .batch import MOST, answer, check, to_csv, to_json
from .cards import dash, message
from .models import Contender, make_reader
from .pictures import data_uri, shrink
from .reading import Picture, Refused
from .upload import read_upload

WAITING = f"""
<div class="empty"><p class="lead">Add up to {MOST} pictures.</p>
<p>Every face in them gets a row per model, to read here or to take along as CSV or JSON.</p></div>
"""
THUMBNAIL = 320


def build(contenders: Sequence[Contender], most_bytes: int) -> None:
    """Lay out the tab, and connect it."""
    reader = make_reader(contenders)
    files = gr.File(
        label="Pictures", file_count="multiple", height=180, elem_id="uploads",
        file_types=["image"],
    )  # fmt: skip
    results = gr.HTML(WAITING, apply_default_css=False, elem_id="table")

    def run(uploads: list[dict[str, Any]] | None) -> Iterator[str]:
        try:
            pictures = [read_upload(upload) for upload in check(uploads)]
        except Refused as error:
            yield message(str(error))
            return
        shown, rows = [], []
        for number, file in enumerate(pictures):
            yield _progress(number, len(pictures), file[0])
            picture, found = answer(contenders, reader, file, most_bytes)
            shown.append(_tile(picture, found))
            rows.append(found)
        yield _page(rows, shown)

    common: dict[str, Any] = {
        "api_visibility": "private", "concurrency_id": "models", "show_progress": "hidden",
    }  # fmt: skip
    files.upload(run, files, results, preprocess=False, **common)
    files.clear(lambda: WAITING, None, results, api_visibility="private", queue=False)


def _progress(done: int, total: int, name: str) -> str:
    return (
        f'<div class="progress"><p role="status">Picture {done + 1} of {total}: {escape(name)}</p>'
        f'<progress max="{total}" value="{done}" aria-label="Pictures answered"></progress></div>'
    )


def _page(rows: list[list[Prediction]], tiles: list[str]) -> str:
    flat = [row for found in rows for row in found]
    faces = list(_by_face(rows))
    unanswered = sum(found[0].status != "ok" for found in rows)
    missing = f", {unanswered} without an answer" if unanswered else ""
    return (
        '<section class="batch"><div class="sum"><p role="status"><strong>'
        f"{len(rows)} pictures, {len(faces)} faces</strong>{missing}.</p>"
        f'<p>All models together: {_counts(faces)}</p><p class="take">'
        f"{_link('ages.csv', 'text/csv', to_csv(flat))}"
        f"{_link('ages.json', 'application/json', to_json(flat))}</p></div>"
        f'<div class="gallery">{"".join(tiles)}</div>{_table(flat)}</section>'
    )


def _counts(faces: list[list[Prediction]]) -> str:
    """Count the faces per group, young to old."""
    joint = [together for found in faces if (together := join(found))]
    count = Counter(together.group for together in joint)
    order = [group for group in (joint[0].probabilities if joint else ()) if count[group]]
    return ", ".join(f"{dash(group)}: {count[group]}" for group in order) or "no answer"


def _by_face(rows: list[list[Prediction]]) -> Iterator[list[Prediction]]:
    """Yield the answers for each face."""
    for found in rows:
        for face in dict.fromkeys(row.face for row in found if row.face):
            yield [row for row in found if row.face == face]


def _tile(picture: Picture | None, rows: list[Prediction]) -> str:
    name = escape(rows[0].source)
    if picture is None:
        return (
            f'<figure class="bad"><p>{escape(str(rows[0].error))}</p>'
            f"<figcaption>{name}</figcaption></figure>"
        )
    joint = []
    for found in _by_face([rows]):
        if together := join(found):
            joint.append(
                Prediction(
                    name, face=found[0].face, group=together.group,
                    probability=together.probability, age=together.age,
                )
            )  # fmt: skip
    count = Counter(str(row.group) for row in joint)
    said = ", ".join(f"{dash(g)} ×{n}" if n > 1 else dash(g) for g, n in count.items())
    image = shrink(draw_faces(picture.image(), labels_of(joint)), THUMBNAIL)
    return (
        f'<figure><img loading="lazy" src="{data_uri(image, 82)}" alt="{name}: {said}">'
        f"<figcaption>{name}<strong>{said}</strong></figcaption></figure>"
    )


def _table(rows: list[Prediction]) -> str:
    lines = "".join(
        f'<tr class="{row.status}"><th scope="row">{escape(row.source)}</th>'
        + (
            f"<td>{escape(str(row.model))}</td><td><strong>{dash(str(row.group))}</strong></td>"
            f"<td>{row.probability:.0%}</td>"
            f"<td>{'' if row.age is None else f'{row.age:.0f}'}</td>"
            if row.status == "ok"
            else f'<td colspan="4">{escape(str(row.error))}</td>'
        )
        + "</tr>"
        for row in rows
    )
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="All answers"><table>'
        "<thead><tr><th>picture</th><th>model</th><th>group</th><th>sure</th><th>years</th></tr>"
        f"</thead><tbody>{lines}</tbody></table></div>"
    )


def _link(name: str, kind: str, text: str) -> str:
    """Offer a file for download that lies in the page itself."""
    data = base64.b64encode(text.encode()).decode()
    return f'<a class="button" download="{name}" href="data:{kind};base64,{data}">{name}</a>'
