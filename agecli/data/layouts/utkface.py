"""UTKFace: age_sex_race_datetime.jpg.chip.jpg, or without .chip.jpg in the wild."""

from __future__ import annotations

import re
from dataclasses import replace

from agecli.ages import OLDEST, Age
from agecli.data.labels import RACES, SEXES, Label
from agecli.data.layouts.base import Layout, Source
from agecli.data.sources import Member

NEEDS = "file names such as 26_1_3_20170104221633430.jpg"

_WELL_NAMED = re.compile(r"\d{1,3}_[01]_[0-4]_\d+\.jpg(\.chip\.jpg)?")
_READABLE = re.compile(r"(\d{1,3})_(?:([01])_([0-4])_|[0-4]_)\d{8,}")
_CHIP = re.compile(r"\.chip\.jpg$")


def read(source: Source) -> Layout:
    """Read ages, sexes and races from file names, and splits from folders if there are any."""
    split_of = source.split_of

    def label_of(member: Member) -> Label | str:
        label = label_of_name(member.name.rpartition("/")[2])
        if not label:
            return "no age in its name"
        split = split_of(member)
        return replace(label, split=split) if split else label

    return Layout("utkface", "file names", label_of, aligned=source.has(_CHIP))


def label_of_name(name: str) -> Label | None:
    """Return the label in a file's name, or None without an age.

    If sex or race is missing, it is ambiguous which: both are unknown.
    """
    match = _READABLE.match(name)
    if not match or int(match[1]) > OLDEST:
        return None
    sex, race = (SEXES[int(match[2])], RACES[int(match[3])]) if match[2] else ("", "")
    age = int(match[1])
    return Label(Age(age, age), sex, race, repaired=not _WELL_NAMED.fullmatch(name))
