"""Read JSON and TOML as values of known types, ranges and sizes.

The form of a file is a type: a dataclass, a TypedDict, a dict of such. Its fields' types are
checked, and the bounds beside them (`Annotated[int, Meta(ge=1, le=1024)]`). A violation is a
ValueError of one line, to which the caller adds the file's name and what to do. The home of
msgspec.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from agecli.errors import brief

T = TypeVar("T")

MOST_BYTES = 1 << 26
"""Most bytes of a text file: the largest is a data set's receipt."""

_PLACE = re.compile(r"(.*?) - at `(?:key in )?\$\.?(.*)`", re.DOTALL)


def decode(text: str | bytes, form: type[T]) -> T:
    """Parse JSON as a value of a form. Raises ValueError for anything else."""
    from msgspec import json

    with _one_line():
        return json.decode(text, type=form)


def convert(value: Any, form: type[T]) -> T:
    """Check a plain value and convert it to a form. Raises ValueError for anything else."""
    import msgspec

    with _one_line():
        return msgspec.convert(value, form)


def read_json(path: Path, form: type[T]) -> T:
    """Read a JSON file as a value of a form. Raises ValueError for anything else."""
    return decode(read_text(path), form)


def read_toml(path: Path, form: type[T]) -> T:
    """Read a TOML file as a value of a form. Raises ValueError for anything else."""
    import tomllib

    from msgspec import json

    text = read_text(path)
    with _one_line():
        values = tomllib.loads(text)
        json.encode(values)  # for its ValueError on a number with more digits than Python prints
    return convert(values, form)


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """Read a text file in UTF-8. Raises ValueError if it is unreadable or too large."""
    with _one_line():
        return read_bytes(path, most).decode()


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Read a file. Raises ValueError if it is unreadable or too large."""
    with _one_line(), path.open("rb") as file:
        content = file.read(most + 1)
        if len(content) > most:
            raise ValueError(f"more than {most >> 20} MiB")
        return content


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn any error of a reader into a ValueError of a few words."""
    try:
        yield
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from error
    except ValueError as error:
        raise ValueError(_in_words(str(error))) from error


def _in_words(reason: str) -> str:
    """Rewrite "Expected `int`, got `str` - at `$.size`" as "size: expected int, got str"."""
    if match := _PLACE.fullmatch(reason):
        reason = f"{match[2] or 'all'}: {match[1][:1].lower()}{match[1][1:]}"
    return brief(reason.replace("`", ""))
