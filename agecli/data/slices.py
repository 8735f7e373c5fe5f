"""More columns of tables, kept so that `agecli evaluate` can score by their values."""

from __future__ import annotations

from collections.abc import Sequence

from agecli.data.labels import MOST_SLICES, MOST_VALUES, Label
from agecli.data.tables import COLUMNS, Table
from agecli.errors import DataError, UsageError, brief


def check_names(names: Sequence[str]) -> None:
    """Check the names of columns to keep. Raises UsageError for invalid ones."""
    known = {"id", "source", "sha256", "cluster", "excluded"}
    known.update(*COLUMNS.values(), COLUMNS)
    plain = [name.casefold() for name in names]
    if taken := [name for name in names if name.casefold() in known]:
        raise UsageError(f"--slices: {taken[0]} is always read: leave it out")
    if not all(plain) or len({*plain}) < len(plain) or len(plain) > MOST_SLICES:
        raise UsageError(
            f"--slices: pass the names of 1 to {MOST_SLICES} columns, each once, as hair,glasses"
        )


def check_kept(names: Sequence[str], tables: Sequence[Table]) -> None:
    """Raise DataError for columns to keep that are in no table or have too many values."""
    for place, name in enumerate(names):
        if not any(name in table.slices for table in tables):
            unused = ", ".join(title for table in tables for title in table.unused)
            raise DataError(
                f"--slices: no table has a column {brief(name)}"
                + (f": the unused columns are {brief(unused)}" if unused else "")
            )
        labels = (label for table in tables for label in table.labels.values())
        values = {label.slices[place] for label in labels if isinstance(label, Label)} - {""}
        if len(values) > MOST_VALUES:
            some = ", ".join(sorted(values)[:3])
            raise DataError(
                f"--slices: {brief(name)} has {len(values):,} values ({brief(some)}, ...): "
                f"choose a column of at most {MOST_VALUES}"
            )
