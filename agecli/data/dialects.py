"""CSV files in the dialects that various programs write."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator

from agecli.errors import DataError

Row = tuple[int, list[str]]
"""A line's number, and its cells."""

_DELIMITERS = ",;\t|"
_EXCEL = re.compile(r"sep=(.)\r?\n")
"""The line that tells Excel the delimiter."""


def rows_of(name: str, content: bytes) -> Iterator[Row]:
    """Yield the rows that are not empty, with their line numbers."""
    try:
        utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
        told = _EXCEL.match(text)
        first = text[: 1 << 16].lstrip("\r\n").partition("\n")[0]
        delimiter = told[1] if told else max(_DELIMITERS, key=first.count)
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
        )
        if told:
            next(reader)
        for row in reader:
            if any(map(str.strip, row)):
                yield reader.line_num, [cell.strip() for cell in row]
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not a CSV file in UTF-8: save it as one") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{name} is not a CSV file in UTF-8 ({error})") from error
