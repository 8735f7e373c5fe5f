"""Labels of the person in an image, and the ways in which they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from agecli.ages import OLDEST, Age
from agecli.data.split import SPLITS

SEXES = ("male", "female")
RACES = ("White", "Black", "Asian", "Indian", "other")
UNKNOWN = frozenset({"", "?", "-", "n/a", "na", "nan", "none", "null", "unknown"})
"""Words for an unknown value, in any column."""
MOST_SLICES, MOST_VALUES = 20, 50
"""Most columns kept as slices, and most distinct values of each."""

_WORDS: dict[str, dict[str, str]] = {
    "sex": {"m": "male", "f": "female", "man": "male", "woman": "female", "u": ""}
    | {word: sex for code, sex in enumerate(SEXES) for word in (str(code), sex)},
    "race": {
        word: race for code, race in enumerate(RACES) for word in (str(code), race.casefold())
    },
    "split": dict(zip(SPLITS, SPLITS, strict=True))
    | {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"},
    "person": {},
    "slice": {},
}
"""Meanings of words and of UTKFace's codes, by column. Other sexes or races are kept: FairFace's
East Asian and Southeast Asian, Latino_Hispanic and Middle Eastern are groups of their own."""

_NUMBER = r"([0-9]{1,3})(?:\.[0-9]*)?"
_YEARS = re.compile(r" *(?:years?|yrs?|y)(?: old)?$")
_YEAR = re.compile(_NUMBER)
_RANGE = re.compile(rf"{_NUMBER} *(?:-|–|to|\.\.) *{_NUMBER}")
_INTERVAL = re.compile(rf"([(\[]) *{_NUMBER} *(?:,|;|-|–|to) *{_NUMBER} *([)\]])")
_FROM = re.compile(
    rf"{_NUMBER} *(?:\+|and (?:over|older|above|more)|or (?:over|older|above|more))"
    rf"|(?:more than|older than|over|above|from|>=|≥) *{_NUMBER}"
)
_BELOW = re.compile(rf"(?:less than|younger than|under|below|<) *{_NUMBER}")


@dataclass(frozen=True, slots=True)
class Label:
    """The label of an image; empty texts are unknown."""

    age: Age
    sex: str = ""
    race: str = ""
    split: str = ""
    """Its split, in a data set with its own splits."""
    person: str = ""
    """The person, whose images all lie in one split."""
    fold: int = -1
    """Its fold from 0, in a data set with its own folds."""
    repaired: bool = False
    """Whether the file's name was irregular, but its age readable."""
    slices: tuple[str, ...] = ()
    """The values of the slices."""


@lru_cache(4096)
def read_age(text: str) -> Age | None:
    """Return an age as people write it: a year, a range of years, or one with an open end; or None.

    "34" and "34.6" are the year 34; "25-32", "25 to 32", "[25, 32]" and Adience's "(25, 32)" have
    both ends included, "[25, 32)" excludes the last and "(25, 32]" the first year. "60+",
    "60 and older", "over 60" and FairFace's "more than 70" start with the year; "under 5" ends
    before it.
    """
    text = " ".join(text.casefold().replace("_", " ").split())
    text = _YEARS.sub("", text)
    if match := _YEAR.fullmatch(text):
        low = high = int(match[1])
    elif match := _RANGE.fullmatch(text):
        low, high = int(match[1]), int(match[2])
    elif match := _INTERVAL.fullmatch(text):
        low, high = int(match[2]), int(match[3])
        low += match[1] == "(" and match[4] == "]"
        high -= match[1] == "[" and match[4] == ")"
    elif match := _FROM.fullmatch(text):
        low, high = int(match[1] or match[2]), OLDEST
    elif match := _BELOW.fullmatch(text):
        low, high = 0, int(match[1]) - 1
    else:
        return None
    return Age(low, high) if 0 <= low <= high <= OLDEST else None


def read_word(column: str, text: str) -> str:
    """Return the meaning of a word or code in the column sex, race, split, person or a slice."""
    word = text.casefold()
    return "" if word in UNKNOWN else _WORDS[column].get(word, text)


def read_split(text: str) -> str:
    """Return the split that a word or a folder's name means; empty for none."""
    return _WORDS["split"].get(text.casefold(), "")


def read_fold(text: str) -> int:
    """Return the number of a fold written as "3" or "fold_3"; -1 for anything else."""
    match = re.fullmatch(r"(?:fold[ _-]*)?([0-9]{1,3})", text.casefold())
    return int(match[1]) if match else -1
