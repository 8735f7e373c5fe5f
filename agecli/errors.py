"""The errors a user can meet: one line each, saying what was wrong and what to do next."""

import os
import shlex
from typing import Literal

ImageFault = Literal[
    "empty", "not_an_image", "too_large", "too_thin", "cut_short", "broken", "unreadable"
]
"""What is wrong with an image; `unreadable`: its file cannot be opened, or is of another kind."""


BRIEF = 160
"""Most characters of a library's or file's text within an error."""


def brief(said: object, most: int = BRIEF) -> str:
    """Shorten a value to one line of few, printable characters."""
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
    """The disk is too full for a file."""


class DataError(AgecliError):
    """A source, archive or prepared data set cannot be used."""


class ImageError(AgecliError):
    """A single image cannot be read: the text says why to people, the fault to programs."""

    def __init__(self, text: str, fault: ImageFault = "unreadable") -> None:
        super().__init__(text)
        self.fault = fault


class WeightsError(AgecliError):
    """A weights file cannot be used."""


class TrainingError(AgecliError):
    """A training cannot start, continue or finish."""


def pasteable(*words: object) -> str:
    """Return a command quoted for a shell, whatever it contains: `--resume 'runs/a (2)'`."""
    return " ".join(_quote(str(word)) for word in words)


def _quote(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    # Line breaks would not survive in one line, nor undecodable bytes on a terminal.
    return "$'" + "".join(_escape(byte) for byte in os.fsencode(word)) + "'"


def _escape(byte: int) -> str:
    plain = 32 <= byte < 127 and chr(byte) not in "'\\"
    return chr(byte) if plain else f"\\x{byte:02x}"
