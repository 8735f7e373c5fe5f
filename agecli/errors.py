"""The errors a user can meet: one line each, saying what was wrong and what to do next."""

import os
import shlex
from typing import Literal

ImageFault = Literal[
    "empty", "not_an_image", "too_large", "too_thin", "cut_short", "broken", "unreadable"
]
"""What is wrong with a picture; `unreadable`: its file cannot be opened, or is another kind's."""


BRIEF = 160
"""Characters of what a library or a file says that stand in an error at most."""


def brief(said: object, most: int = BRIEF) -> str:
    """Say in one line of few characters, all of them printable, what may be long and have many."""
    text = " ".join(str(said).split())
    text = "".join(c if c.isprintable() else "?" for c in text[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"


class AgecliError(Exception):
    """A failure that the user can understand and act on; the command line exits with its code."""

    exit_code = 1


class UsageError(AgecliError):
    """An option or argument was wrong."""

    exit_code = 2


class DiskError(AgecliError):
    """There is no room for a file."""


class DataError(AgecliError):
    """A source, archive or prepared data set cannot be used."""


class ImageError(AgecliError):
    """A single picture cannot be read: the text says why to people, the fault to programs."""

    def __init__(self, text: str, fault: ImageFault = "unreadable") -> None:
        super().__init__(text)
        self.fault = fault


class WeightsError(AgecliError):
    """A weights file cannot be used."""


class TrainingError(AgecliError):
    """A training cannot start, continue or finish."""


def pasteable(*words: object) -> str:
    """Write a command as a shell takes it, whatever its words hold: `--resume 'runs/a (2)'`."""
    return " ".join(_quote(str(word)) for word in words)


def _quote(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    # Line breaks would not survive in one line, and bytes that are no text not on a terminal.
    return "$'" + "".join(_escape(byte) for byte in os.fsencode(word)) + "'"


def _escape(byte: int) -> str:
    plain = 32 <= byte < 127 and chr(byte) not in "'\\"
    return chr(byte) if plain else f"\\x{byte:02x}"
