"""FairFace: fairface_label_train.csv and fairface_label_val.csv beside train/ and val/.

Its ages are ranges ("20-29", "more than 70"). The margins 0.25 and 1.25 are an archive each.
"""

from __future__ import annotations

import re

from agecli.data.labels import Label
from agecli.data.layouts.base import Layout, Source
from agecli.data.sources import Member
from agecli.data.tables import Form, key_of

NEEDS = "fairface_label_train.csv and fairface_label_val.csv in the source or beside it"

FORM = Form(file=re.compile(r"fairface_label_(?P<split>train|val)\.csv"))
PICTURE = re.compile(r"(?:^|/)(?:train|val)/\d+\.\w+$")


def read(source: Source) -> Layout | None:
    """Read ages, sexes, races and the split of each image from the tables."""
    table = source.tables(FORM.file, [FORM]) if source.has(PICTURE) else None
    if not table:
        return None

    def label_of(member: Member) -> Label | str:
        key = key_of("/".join(source.place(member).split("/")[-2:]))
        return table.label_of([key], source.path_of(member))

    return Layout("fairface", table.name, label_of, table)
