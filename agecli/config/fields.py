"""Fields of settings: their meaning, type and range, and how they become options."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from agecli.errors import UsageError, brief

T = TypeVar("T")

Settings = dict[str, Any]
"""Settings by name, as plain values."""


Panel = Literal["Data", "Model", "Optimisation", "Augmentation", "Memory", "Run"]
"""Panels of options in the help, in this order, below the most important ones."""
PANELS: tuple[Panel, ...] = get_args(Panel)


@dataclass(frozen=True)
class Option:
    """How a setting becomes an option, if not in the plain way."""

    panel: Panel | None = None
    """The panel; None for the ten most important options, which the help shows first."""
    metavar: str | None = None
    """The value's placeholder in the help."""
    parser: Callable[[str], Any] | None = None
    negated: bool = True
    """Whether a switch has a --no- counterpart."""


NOT_GIVEN = "settled by the model or its backbone"
"""Marks a setting without an option."""

NoOption = Annotated[T, NOT_GIVEN]
Weights = Annotated[str, Option("Model", "WEIGHTS")]

DLIB = "dlib29"
"""The architecture and the stem that can start from dlib's weights."""


def is_dlib(init: str) -> bool:
    """Return whether initial weights are dlib's file, by its name: it may be gone on resuming."""
    return init.endswith(".dat") and not Path(init).is_dir()


KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    int | None: ((int, NoneType), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    tuple[float, ...]: ((tuple,), "a list of numbers"),
}
"""Python types of a setting's values, and their names; an integer is also a number."""


FIELD = re.compile(r'^    (\w+): [^\n]*\n    """(.*?)"""', re.MULTILINE | re.DOTALL)
"""A field on one line, and the docstring under it."""


def flag_of(name: str) -> str:
    """Return the option of a setting: --batch-size of batch_size."""
    return "--" + name.replace("_", "-")


def types_of(kind: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields, with their annotations."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}


def mark_of(hint: Any) -> tuple[Any, Any]:
    """Split a field's type into the type itself and its annotation, or None."""
    return get_args(hint) if get_origin(hint) is Annotated else (hint, None)


def help_of(kind: type) -> dict[str, str]:
    """Return the first paragraphs of the docstrings under a dataclass's fields, inherited ones too.

    A class's own docstrings override inherited ones.
    """
    texts: dict[str, str] = {}
    for each in filter(is_dataclass, reversed(kind.__mro__)):
        texts |= _texts(each.__module__).get(each.__name__, {})
    return texts


@lru_cache
def _texts(module: str) -> dict[str, dict[str, str]]:
    """Return the docstrings under the fields of a module's classes, by class and field.

    By regular expression: parsing would take ten times as long, at every start.
    """
    source = Path(str(sys.modules[module].__file__)).read_text(encoding="utf-8")
    classes = re.split(r"^class (\w+)", source, flags=re.MULTILINE)[1:]
    return {
        name: {
            field: " ".join(text.split("\n\n")[0].split()) for field, text in FIELD.findall(body)
        }
        for name, body in zip(classes[::2], classes[1::2], strict=True)
    }


def check_types(config: Any) -> None:
    """Raise UsageError, by its flag, for a setting of a wrong type or outside its choices.

    A file may contain anything.
    """
    for name, hint in types_of(type(config)).items():
        value, kind = getattr(config, name), mark_of(hint)[0]
        if get_origin(kind) is Literal:
            fits, wanted = value in get_args(kind), f"one of {', '.join(get_args(kind))}"
        else:
            types, wanted = KINDS[kind]
            fits = isinstance(value, types) and (kind is bool or not isinstance(value, bool))
            if types == (tuple,):
                fits = fits and all(isinstance(part, float | int) for part in value)
        if not fits:
            raise UsageError(f"{flag_of(name)}: {brief(repr(value))} is not {wanted}")


def check_range(config: Any, **ranges: tuple[float, float]) -> None:
    """Raise UsageError, by its flag, for a setting outside its range; None is skipped."""
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            shown = brief(value, 40)
            raise UsageError(f"{flag_of(name)}: {shown} is not between {low:g} and {high:g}")
