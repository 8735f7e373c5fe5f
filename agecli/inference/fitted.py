"""Ensembles fitted on validation images: their file beside the weights, their predictions."""

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
"""The ensemble's name, in place of a model's."""
FILE = "ensemble.json"
MARK = '"members"'
"""The key by which the file is recognised."""
FORMAT = 1
MOST_POWER = 20.0
FLOOR = 1e-6
"""Lower bound of probabilities, so that no single model can rule out a group."""

Share = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True)
class Member:
    """A model of an ensemble."""

    file: Annotated[Text, Meta(min_length=1)]
    """The name of its weights file, which lies beside the ensemble's."""
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    """SHA-256 of the weights file."""
    power: Annotated[float, Meta(ge=0, le=MOST_POWER)]
    """Its power in `combine`; 0 if it does not count."""
    exact: Share
    """Its exact accuracy on the validation images."""


@dataclass(frozen=True)
class Fitted:
    """A fitted ensemble: the contents of ensemble.json."""

    members: Annotated[list[Member], Meta(min_length=2, max_length=100)]
    """The members, best first."""
    better: bool
    """Whether it is significantly better than its best member."""
    p: Share
    """The p-value of McNemar's test of that."""
    figures: dict[Text, float]
    """Exact accuracy on the validation images, by cross-fitting."""
    n: Count
    """Number of validation images with a group."""
    split_hash: Text
    """Split hash of their data set."""
    scheme: Labels
    """The groups of all members, young to old."""
    decision: Decision = LIKELIEST
    """The decision rule for the predicted group."""
    sets: Sets | None = None
    """Thresholds of the age sets; None in files from earlier versions."""
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
        """Move the best member's weights file to the front, keeping the order of the others."""
        return sorted(paths, key=lambda path: path.name != self.members[0].file)

    def place(self, models: int) -> int:
        """Return its position among the predictions of so many models: first or last."""
        return 0 if self.better else models

    def find(self, paths: Sequence[Path]) -> list[int]:
        """Return the positions of its members among weights files."""
        files = {member.file for member in self.members}
        return [place for place, path in enumerate(paths) if path.name in files]

    def combine(self, paths: Sequence[Path], answers: Sequence[Answers]) -> Answers:
        """Combine the members' predictions for the same images; others do not count."""
        powers = {member.file: member.power for member in self.members}
        own = self.find(paths)
        joint = combine([answers[i] for i in own], [powers[paths[i].name] for i in own])
        return replace(joint, decision=self.decision, sets=self.sets)

    def write(self, path: Path) -> None:
        """Write it as JSON, completely or not at all."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")


class Found(NamedTuple):
    """The ensemble of some weights files, if any."""

    fitted: Fitted | None = None
    file: Path | None = None
    note: str = ""
    """Why the one in their folder is not used; empty if there is none, or it is used."""

    def __str__(self) -> str:
        return f"{self.file}: {self.fitted}" if self.fitted else self.note


def find_fitted(paths: Sequence[Path]) -> Found:
    """Find an ensemble whose members are all among weights files: ensemble.json in their folder."""
    if len(paths) < 2 or len({path.parent for path in paths}) > 1:
        return Found()
    file = paths[0].with_name(FILE)
    if not file.exists():
        return Found()
    try:
        return Found(_read(file, paths), file)
    except ValueError as error:
        return Found(
            note=f"warning: {file}: {brief(error)}; the models' plain mean is used instead, "
            "`agecli evaluate WEIGHTS... --split val --fit-ensemble` fits it again"
        )  # fmt: skip


def _read(file: Path, paths: Sequence[Path]) -> Fitted:
    """Read an ensemble. Raises ValueError for an invalid one, or if a member is not among files."""
    if read_json(file, _Known).format > FORMAT:
        raise ValueError("it is from a newer agecli")
    fitted = read_json(file, Fitted)
    members = {member.file: member.sha256 for member in fitted.members}
    if len(members) != len(fitted.members):
        raise ValueError("it names a file twice")
    if not any(member.power for member in fitted.members):
        raise ValueError("none of its members counts")
    given = {path.name: path for path in paths}
    if members.keys() - given.keys():
        raise ValueError(f"it belongs to other models ({', '.join(members)})")
    check_decision(fitted.decision, len(fitted.scheme))
    if fitted.sets:
        check_sets(fitted.sets, len(fitted.scheme))
    for name, sha256 in members.items():
        if sha256_of(given[name]) != sha256:
            raise ValueError(f"{name} has changed since it was fitted")
    return fitted


@dataclass(frozen=True)
class _Known:
    """The fields that determine whether the rest can be read."""

    format: int


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file. Raises ValueError for an unreadable one."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from error


def combine(answers: Sequence[Answers], powers: Sequence[float] | FloatArray) -> Answers:
    """Multiply distributions, each raised to a power, and normalise the product.

    answers: of M models with equal groups for the same N images; powers: (M,). It is a logarithmic
    opinion pool (Heskes 1998): a geometric mean if the powers add up to 1, sharper above. If
    any model predicts years, so does the result, to which the others contribute by `logarithms`.
    """
    product = softmax(np.tensordot(np.asarray(powers), logarithms(answers), axes=1))  # (N, outputs)
    return Answers(product, answers[0].scheme, any(one.knows_years for one in answers))


def logarithms(answers: Sequence[Answers]) -> FloatArray:
    """Return the logarithms of M models' distributions, (M, N, groups), or (M, N, YEARS) of years.

    Beside models of years, a model of groups is constant over a group's years, and at a gap
    age interpolated between its neighbours: so their product has its groups' product, too.
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
