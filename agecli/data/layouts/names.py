"""Names: any set whose file names carry the labels, by a pattern such as {age}_{identity}.*"""

from __future__ import annotations

import re

from agecli.data.labels import Label, read_age, read_fold, read_split, read_word
from agecli.data.layouts.base import Layout, Source
from agecli.data.sources import Member
from agecli.errors import UsageError, brief

NEEDS = "file names that fit --names"

PATTERNS = {
    "agedb": "{index}_{identity}_{age}_{sex}.*",
    "cacd": "{age}_{identity}_{index}.*",
    "fgnet": "{identity}A{age}*.*",
}
"""Of sets known by name, as 0_NAME_35_f.jpg, 53_FIRST_LAST_0001.jpg and 001A02.JPG."""
_MEANINGS = {
    "age": "age", "sex": "sex", "gender": "sex", "race": "race", "ethnicity": "race",
    "identity": "person", "person": "person", "split": "split", "fold": "fold",
}  # fmt: skip
"""By what a field is called; other fields, as {index}, are passed over."""
_FIELDS = {"age": r"\d{1,3}(?:-\d{1,3}|\+)?", "person": "[^/]+", "fold": r"\d{1,3}"}
_WORDS = ("sex", "race", "person")
_MOST = 200
"""Characters of a pattern, and of a name that is held against one."""


def read(source: Source, pattern: str) -> Layout:
    """Read labels from file names; a pattern with folders is held against the path's end."""
    compiled, split_of = compile_pattern(pattern), source.split_of
    parts = PATTERNS.get(pattern, pattern).count("/") + 1

    def label_of(member: Member) -> Label | str:
        name = "/".join(source.place(member).split("/")[-parts:])
        match = compiled.fullmatch(name) if len(name) <= _MOST * parts else None
        said = match.groupdict("") if match else {}
        age = read_age(said.get("age", ""))
        if not age:
            return "its name does not fit --names"
        sex, race, person = (read_word(what, said.get(what, "")) for what in _WORDS)
        split = read_split(said.get("split", "")) or split_of(member)
        return Label(age, sex, race, split, person, read_fold(said.get("fold", "")))

    return Layout("names", f"names as {PATTERNS.get(pattern, pattern)}", label_of)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of names: fields in braces, * for anything. Raises UsageError.

    Only a person's field may hold the character that follows it, so that no name takes long.
    """
    text = PATTERNS.get(pattern, pattern)
    pieces = re.split(r"(\{\w+\}|\*)", text)
    known = [_MEANINGS.get(piece[1:-1], "") for piece in pieces[1::2] if piece != "*"]
    known = [what for what in known if what]
    problem = ""
    if len(text) > _MOST:
        problem = f"it has more than {_MOST} characters"
    elif any("{" in piece or "}" in piece for piece in pieces[::2]):
        problem = "a brace stands alone"
    elif "age" not in known:
        problem = "it has no {age}"
    elif len(set(known)) < len(known):
        problem = "two fields mean the same"
    elif re.search(r"\}\{", text):
        problem = "nothing parts two fields"
    elif sum(piece == "*" for piece in pieces) > 2:
        problem = "it has more than two *"
    if problem:
        raise UsageError(
            f"--names {brief(pattern, 60)}: {problem}; use {', '.join(PATTERNS)}, or a pattern, "
            "as '{identity}_{age}_{sex}.*'"
        )
    regex = ""
    for place, piece in enumerate(pieces):
        if place % 2 == 0:
            regex += re.escape(piece)
        elif piece == "*":
            regex += "[^/]*"
        else:
            what = _MEANINGS.get(piece[1:-1], "")
            follows = re.escape(pieces[place + 1][:1])
            field = _FIELDS.get(what, f"[^/{follows}]+")
            regex += f"(?P<{what}>{field})" if what else field
    return re.compile(regex, re.IGNORECASE | re.ASCII)
