"""Folders: one per age, range or group ("25", "0-2", "60+"), also below train, val and test."""

from __future__ import annotations

import re

from agecli.ages import Age
from agecli.data.labels import Label, read_age
from agecli.data.layouts.base import Layout, Source
from agecli.data.sources import Member

NEEDS = 'folders whose names are ages, such as "25", "0-2" or "60+"'


def read(source: Source) -> Layout:
    """Read the age from the innermost folder that names one; it may be the source itself."""
    ages: dict[str, Age | None] = {}  # by folder
    split_of = source.split_of

    def label_of(member: Member) -> Label | str:
        folder = source.place(member).rpartition("/")[0]
        if folder not in ages:
            found = map(age_of_folder, reversed(folder.split("/")))
            ages[folder] = next((age for age in found if age), None)
        age = ages[folder]
        return Label(age, split=split_of(member)) if age else "no age in its folder's name"

    return Layout("folders", "folders' names", label_of)


def age_of_folder(name: str) -> Age | None:
    """Return the age in a folder's name: "25", "0-2", "20_29", "age_25", "more_than_70"."""
    name = re.sub(r"^(?:ages?|aged)[ _-]*", "", name.strip().casefold())
    return read_age(re.sub(r"(?<=\d)_(?=\d)", "-", name))
