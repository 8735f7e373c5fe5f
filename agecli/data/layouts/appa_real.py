"""APPA-REAL: gt_avg_train.csv, gt_avg_valid.csv and gt_avg_test.csv beside train/, valid/, test/.

Each image comes twice: 000000.jpg, and 000000.jpg_face.jpg with its face cropped and upright. Its
label is the real age; the apparent age (apparent_age_avg) is another task.
"""

from __future__ import annotations

import re

from agecli.data.labels import Label
from agecli.data.layouts.base import Layout, Source
from agecli.data.sources import Member
from agecli.data.tables import COLUMNS, Form, key_of

NEEDS = "gt_avg_train.csv, gt_avg_valid.csv and gt_avg_test.csv in the source or beside it"

FORM = Form(
    columns=COLUMNS | {"age": ("real_age",)},
    key="{split}/{path}",
    file=re.compile(r"gt_avg_(?P<split>train|valid|test)\.csv"),
)
PICTURE = re.compile(r"(?:^|/)(?:train|valid|test)/\d+\.jpg(?:_face\.jpg)?$")
_FACE = "_face.jpg"


def read(source: Source) -> Layout | None:
    """Read real ages and splits from the tables, for the cropped faces if there are any."""
    table = source.tables(FORM.file, [FORM]) if source.has(PICTURE) else None
    if not table:
        return None
    faces = any(member.name.endswith(_FACE) for member in source.members)

    def label_of(member: Member) -> Label | str:
        path = source.place(member)
        if faces and not path.endswith(_FACE):
            return "its face is a file of its own"
        key = key_of("/".join(path.removesuffix(_FACE).split("/")[-2:]))
        return table.label_of([key], source.path_of(member))

    return Layout("appa-real", table.name, label_of, table)
