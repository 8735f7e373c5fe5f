"""An ensemble that was fitted on validation images: its file beside the weights, its answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from msgspec import Meta

from agecli import __version__
from agecli.ages import NO_GROUP, YEARS, Answers, FloatArray, Labels, Scheme, softmax
from agecli.decision import LIKELIEST, Decision, check_decision
from agecli.errors import brief
from agecli.files import write_text
from agecli.metadata import Count, Text
from agecli.reading import read_json
from agecli.sets import Sets, check_sets

ENSEMBLE = "ensemble"
"""What stands in place of a model's name."""
FILE = "ensemble.json"
MARK = '"members"'
"""By which the file is recognised."""
FORMAT = 1
MOST_POWER = 20.0
FLOOR = 1e-6
"""Probabilities below count as this one, so that no model alone can rule out an answer."""

Share = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True)
class Member:
    """A model of an ensemble."""

    file: Annotated[Text, Meta(min_length=1)]
    """The name of its weights file, which lies beside that of the ensemble."""
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    """Of the weights file."""
    power: Annotated[float, Meta(ge=0, le=MOST_POWER)]
    """How much it counts, as `combine` says; 0: not at all."""
    exact: Share
    """Its exact accuracy on the validation images."""


@dataclass(frozen=True)
class Fitted:
    """An ensemble as it was fitted: what ensemble.json holds."""

    members: Annotated[list[Member], Meta(min_length=2, max_length=100)]
    """The best first."""
    better: bool
    """It is better than the best of them, beyond chance."""
    p: Share
    """Of McNemar's test of that."""
    figures: dict[Text, float]
    """On the validation images, each answered with powers that were fitted on others."""
    n: Count
    """Validation images that have a group."""
    split_hash: Text
    """Of the data set that they are of."""
    scheme: Labels
    """The groups of all members, young to old."""
    decision: Decision = LIKELIEST
    """The rule for the answered group."""
    sets: Sets | None = None
    """Thresholds of the age sets; None in files of earlier versions."""
    agecli_version: Text = __version__
    format: Annotated[int, Meta(ge=1)] = FORMAT

    def __str__(self) -> str:
        parts = ", ".join(f"{Path(one.file).stem} {one.power:.2f}" for one in self.members)
        best, exact = self.members[0], self.figures.get("exact", 0)
        verdict = "better than" if self.better else "not told apart from"
        return (
            f"{parts}; {exact:.1%} exact on validation images left out of the fit, {verdict} "
            f"{Path(best.file).stem} alone ({best.exact:.1%}, p = {self.p:.2g})"
        )

    def sort(self, paths: Sequence[Path]) -> list[Path]:
        """Put the best member's weights file first, and leave the others in their order."""
        return sorted(paths, key=lambda path: path.name != self.members[0].file)

    def place(self, models: int) -> int:
        """Return where it stands among the answers of so many models: the first, or the last."""
        return 0 if self.better else models

    def combine(self, paths: Sequence[Path], answers: Sequence[Answers]) -> Answers:
        """Answer with what the members' weights files answer for the same images."""
        powers = {member.file: member.power for member in self.members}
        joint = combine(answers, [powers[path.name] for path in paths])
        return replace(joint, decision=self.decision, sets=self.sets)

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")


class Found(NamedTuple):
    """The ensemble that was fitted for some weights files, if any."""

    fitted: Fitted | None = None
    file: Path | None = None
    note: str = ""
    """Why the one in their folder is not used; empty where there is none, or it is."""

    def __str__(self) -> str:
        return f"{self.file}: {self.fitted}" if self.fitted else self.note


def find_fitted(paths: Sequence[Path]) -> Found:
    """Find what was fitted for just these weights files: ensemble.json in their folder."""
    if len(paths) < 2 or len({path.parent for path in paths}) > 1:
        return Found()
    file = paths[0].with_name(FILE)
    if not file.exists():
        return Found()
    try:
        return Found(_read(file, paths), file)
    except ValueError as error:
        return Found(
            note=f"warning: {file}: {brief(error)}; the models' plain mean is taken instead, "
            "`agecli evaluate WEIGHTS... --split val --fit-ensemble` fits it again"
        )  # fmt: skip


def _read(file: Path, paths: Sequence[Path]) -> Fitted:
    """Read an ensemble. Raises ValueError for one that cannot be, or is not of these files."""
    if read_json(file, _Known).format > FORMAT:
        raise ValueError("it is of a newer agecli")
    fitted = read_json(file, Fitted)
    members = {member.file: member.sha256 for member in fitted.members}
    if len(members) != len(fitted.members):
        raise ValueError("it names a file twice")
    if not any(member.power for member in fitted.members):
        raise ValueError("none of its members counts")
    if sorted(members) != sorted(path.name for path in paths):
        raise ValueError(f"it is of other models ({', '.join(members)})")
    check_decision(fitted.decision, len(fitted.scheme))
    if fitted.sets:
        check_sets(fitted.sets, len(fitted.scheme))
    for path in paths:
        if sha256_of(path) != members[path.name]:
            raise ValueError(f"{path.name} has changed since it was fitted")
    return fitted


@dataclass(frozen=True)
class _Known:
    """What tells whether the rest can be read."""

    format: int


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file. Raises ValueError for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from error


def combine(answers: Sequence[Answers], powers: Sequence[float] | FloatArray) -> Answers:
    """Multiply distributions, each raised to a power, and normalise the product.

    answers: of M models of the same groups for the same N images; powers: (M,). It is a logarithmic
    opinion pool (Heskes 1998): a geometric mean where the powers add up to 1, sharper above. Where
    a model knows years, so does the result, in which the others count as `logarithms` says.
    """
    product = softmax(np.tensordot(np.asarray(powers), logarithms(answers), axes=1))  # (N, outputs)
    return Answers(product, answers[0].scheme, any(one.knows_years for one in answers))


def logarithms(answers: Sequence[Answers]) -> FloatArray:
    """Return the logarithms of M models' distributions, (M, N, groups), or (M, N, YEARS) of years.

    Beside models that know years, one of groups says the same of all years of a group, and of a gap
    age what lies between its neighbours: so their product has its groups' product, too.
    """
    logs = [np.log(np.maximum(one.distribution, FLOOR)) for one in answers]
    if any(one.knows_years for one in answers):
        spread = _spread(answers[0].scheme)
        logs = [
            log if one.knows_years else log @ spread for log, one in zip(logs, answers, strict=True)
        ]
    return np.stack(logs)


def _spread(scheme: Scheme) -> FloatArray:
    """Return the matrix (groups, YEARS) of each group's share in a year, interpolated in gaps."""
    groups = scheme.groups_of(np.arange(YEARS))
    known = np.flatnonzero(groups != NO_GROUP)
    return np.stack(
        [np.interp(np.arange(YEARS), known, groups[known] == group) for group in range(len(scheme))]
    )
