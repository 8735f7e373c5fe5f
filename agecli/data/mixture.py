"""The order of training images: each once per epoch, or a share from each source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agecli.ages import IntArray
from agecli.errors import UsageError

Shares = dict[str, float]
"""Relative shares by source; empty for each image once."""


def check_sources(shares: Shares, sources: NDArray[np.str_]) -> None:
    """Raise UsageError for shares that do not name each of the sources (N,) of a data set."""
    there = sorted(set(sources.tolist()))
    if shares and sorted(shares) != there:
        example = ",".join(f"{source}=1" for source in there)
        raise UsageError(f"--shares: name each source of the data set: --shares {example}")


class Order:
    """Draws the order of an epoch's rows.

    With shares an epoch is as long as without: it takes a varying subset of a source's images,
    or repeats them. rows, sources: (N,) each.
    """

    def __init__(self, rows: IntArray, sources: NDArray[np.str_], shares: Shares) -> None:
        self.parts = [(rows, len(rows))]
        if shares:
            there = {source: share for source, share in shares.items() if source in sources}
            total = sum(there.values())
            self.parts = [
                (rows[sources == source], round(len(rows) * share / total))
                for source, share in there.items()
            ]

    def draw(self, random: np.random.Generator) -> IntArray:
        """Draw the rows of an epoch, shuffled."""
        drawn = [np.resize(random.permutation(rows), count) for rows, count in self.parts if count]
        return drawn[0] if len(drawn) == 1 else random.permutation(np.concatenate(drawn))
