"""Names: any set whose file names contain the labels, by a pattern such as {age}_{identity}.*"""

from __future__ import annotations

import re

from agecli.data.labels import Label, read_age, read_fold, read_split, read_word
from agecli.data.layouts.base import Layout, Source
from agecli.data.sources import Member
from agecli.errors import UsageError, brief

PATTERNS = {
    "agedb": "{index}_{identity}_{age}_{sex}.*",
    "cacd": "{age}_{identity}_{index}.*",
    "fgnet": "{identity}A{age}*.*",
}
"""Patterns of known sets: 0_NAME_35_f.jpg, 53_FIRST_LAST_0001.jpg, 001A02.JPG."""
_MEANINGS = {
    "age": "age", "sex": "sex", "gender": "sex", "race": "race", "ethnicity": "race",
    "identity": "person", "person": "person", "split": "split", "fold": "fold",
}  # fmt: skip
"""What fields mean, by name; others are ignored, such as {index}, a number."""
_FIELDS = {
    "age": r"\d{1,3}(?:-\d{1,3}|\+)?",
    "fold": r"\d{1,3}",
    "index": r"\d{1,9}",  # not UTKFace's timestamps of 17 digits
    "sex": "male|female|man|woman|[mf01]",
}
_PIECE = re.compile(r"(\{\w+\}|\*)")
_WORDS = ("sex", "race", "person")
_MOST = 200
"""Most characters of a pattern, and of a name that is matched."""


def read(source: Source, pattern: str) -> Layout:
    """Read labels from file names; a pattern with folders matches the end of the path."""
    compiled, split_of = compile_pattern(pattern), source.split_of
    parts = PATTERNS.get(pattern, pattern).count("/") + 1

    def label_of(member: Member) -> Label | str:
        name = "/".join(source.place(member).split("/")[-parts:])
        match = compiled.fullmatch(name) if len(name) <= _MOST * parts else None
        said = match.groupdict("") if match else {}
        age = read_age(said.get("age", ""))
        if not age:
            return "its name does not match --names"
        sex, race, person = (read_word(what, said.get(what, "")) for what in _WORDS)
        split = read_split(said.get("split", "")) or split_of(member)
        return Label(age, sex, race, split, person, read_fold(said.get("fold", "")))

    return Layout("names", f"names as {PATTERNS.get(pattern, pattern)}", label_of)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of names: fields in braces, * for anything. Raises UsageError."""
    text = PATTERNS.get(pattern, pattern)
    pieces = _PIECE.split(text)  # literal, field, literal, ..., literal
    if problem := _problem(text, pieces):
        raise UsageError(
            f"--names {brief(pattern, 60)}: {problem}; use {', '.join(PATTERNS)}, or a pattern "
            "such as '{identity}_{age}_{sex}.*'"
        )
    regex = re.escape(pieces[0])
    for place in range(1, len(pieces), 2):
        regex += _regex_of(pieces[place], *pieces[place + 1 : place + 3])
        regex += re.escape(pieces[place + 1])
    return re.compile(regex, re.IGNORECASE | re.ASCII)


def _problem(text: str, pieces: list[str]) -> str:
    """Return what is wrong with a pattern, or an empty text."""
    known = [_MEANINGS[piece[1:-1]] for piece in pieces[1::2] if piece[1:-1] in _MEANINGS]
    if len(text) > _MOST:
        return f"it has more than {_MOST} characters"
    if any("{" in piece or "}" in piece for piece in pieces[::2]):
        return "a brace is unmatched"
    if "age" not in known:
        return "it has no {age}"
    if len(set(known)) < len(known):
        return "two fields mean the same"
    if "}{" in text:
        return "two fields are not separated"
    return "it has more than two *" if pieces.count("*") > 2 else ""


def _regex_of(piece: str, after: str, then: str = "") -> str:
    """Return the regular expression of a field or *, given what follows it.

    Only a person's field may contain the character that follows it, so that matching stays fast;
    before a * it has only letters and digits.
    """
    if piece == "*":
        return "[^/]*"
    what = _MEANINGS.get(piece[1:-1], "")
    field = f"[^/{re.escape(after[:1])}]+"
    if fixed := _FIELDS.get(what or piece[1:-1]):
        field = fixed
    elif not after and then == "*":
        field = "[a-z0-9]+"
    elif what == "person":
        field = "[^/]+"
    return f"(?P<{what}>{field})" if what else field
