"""Adience: fold_0_data.txt to fold_4_data.txt beside faces/ or aligned/, a folder per person.

The tables identify an image by three columns; its file is
aligned/USER/landmark_aligned_face.FACE.IMAGE or faces/USER/coarse_tilt_aligned_face.FACE.IMAGE.
"""

from __future__ import annotations

import re

from agecli.data.labels import Label
from agecli.data.layouts.base import Layout, Source
from agecli.data.sources import Member
from agecli.data.tables import Form, key_of

NEEDS = "fold_0_data.txt to fold_4_data.txt in the source or beside it, and its aligned or faces"

FORM = Form(
    columns={
        "person": ("user_id",),
        "image": ("original_image",),
        "face": ("face_id",),
        "age": ("age",),
        "sex": ("gender",),
    },
    key="{person}/{face}.{image}",
    file=re.compile(r"fold_(?:frontal_)?(?P<fold>\d)_data\.(?:txt|csv)"),
    blank_ages=True,  # as in several hundred of the published rows
)
PICTURE = re.compile(r"[^/]+/(?:landmark_aligned|coarse_tilt_aligned)_face\.\d+\.[^/]+$")
_FOLDS, _FRONTAL = (re.compile(rf"fold_{part}\d_data\.(?:txt|csv)") for part in ("", "frontal_"))


def read(source: Source) -> Layout | None:
    """Read ages, sexes, persons and the five official folds from the tables.

    Tables of all faces take precedence over those of frontal faces only.
    """
    if not source.has(PICTURE):
        return None
    table = source.tables(_FOLDS, [FORM]) or source.tables(_FRONTAL, [FORM])
    if not table:
        return None

    def label_of(member: Member) -> Label | str:
        return table.label_of([key_of_picture(source.place(member))], source.path_of(member))

    return Layout("adience", table.name, label_of, table)


def key_of_picture(path: str) -> str:
    """Return an image's key in the tables: person/face.image."""
    person, name = path.split("/")[-2:]
    return key_of(f"{person}/{name.partition('.')[2]}")
