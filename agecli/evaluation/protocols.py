"""Published figures on age, and whether a result may be put beside them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from agecli.ages import Scheme
from agecli.evaluation import metrics
from agecli.evaluation.scoring import Evaluation

_TITLES = {"mae": "MAE", "cs5": "CS@5", "exact": "exact", "one_off": "1-off"}


@dataclass(frozen=True)
class Protocol:
    """How a published figure was measured."""

    name: str
    source: str
    data: str
    ages: tuple[int, int] | None
    """The youngest and the oldest, in years; None: all, or not said."""
    split: str
    """In words: the random draws, or the given test images."""
    redrawn: bool
    """The split is one random draw of several: another draw measures the same. Else its test
    images are fixed, and a figure on others measures something else."""
    metrics: tuple[str, ...]
    """Of `metrics.score`."""
    published: dict[str, dict[str, float]] = field(default_factory=dict)
    """Method: metric: figure."""
    scheme: str | None = None
    """The age groups, where it is about groups."""


PROTOCOLS = (
    Protocol(
        "UTKFace, all ages", "Paplhám and Franc, CVPR 2024, arXiv:2307.04570", "UTKFace", None,
        "five random splits (60/20/20)", True, ("mae",),
        {"FaRL + MLP": {"mae": 3.87}, "best of the others": {"mae": 4.38}},
    ),
    Protocol(
        "UTKFace, MiVOLO's annotation", "Kuprashevich and Tolstykh 2023, README of MiVOLO",
        "UTKFace", None, "one of its two lists (it does not say which)", False,
        ("mae", "cs5"), {"VOLO-D1, face": {"mae": 4.23, "cs5": 0.6972}},
    ),
    Protocol(
        "UTKFace, ages 21-60", "CORAL: Cao, Mirjalili and Raschka 2020, arXiv:1901.07884",
        "UTKFace", (21, 60), "utk_test.csv of coral-cnn", False, ("mae",),
    ),
    Protocol(
        "Adience, 8 groups", "Levi and Hassner, CVPR workshops 2015; README of MiVOLO",
        "Adience", None, "five given folds in turn", False, ("exact", "one_off"),
        {"Levi and Hassner": {"exact": 0.507, "one_off": 0.847},
         "MiVOLO-D1, face, trained on Lagenda": {"exact": 0.6869}},
        "adience8",
    ),
)  # fmt: skip
"""CORAL's own figures are not among them: they could not be read at their source."""


def judge(results: dict[str, Evaluation], sources: list[str]) -> list[dict[str, Any]]:
    """Hold results on the same images against every protocol.

    sources: what the data set was prepared from, as its receipt says. Returns the protocols as
    plain values with `here` (model: `n` and the protocol's metrics on the images of its ages,
    where they are of its data), `comparable`, and the `reasons` if not.
    """
    return [_judge(protocol, results, sources) for protocol in PROTOCOLS]


def _judge(
    protocol: Protocol, results: dict[str, Evaluation], sources: list[str]
) -> dict[str, Any]:
    first = next(iter(results.values()))
    youngest, oldest = int(first.ages.min()), int(first.ages.max())
    same_data = protocol.data.lower() in " ".join(sources).lower()
    here = {name: _score(protocol, result) for name, result in results.items()} if same_data else {}
    here = {name: figures for name, figures in here.items() if figures}
    reasons = []
    if not same_data:
        reasons.append(f"these images are {', '.join(sources) or 'of unknown source'}")
    if not protocol.redrawn:
        reasons.append(f"its test images are {protocol.split}, here are others")
    low, high = protocol.ages or (youngest, oldest)
    if youngest < low or oldest > high:
        reasons.append(f"it is about ages {low}-{high} alone, here are {youngest}-{oldest}")
    if first.split != "test":
        reasons.append(f"the {first.split} split has been seen")
    if strangers := [name for name, result in results.items() if not result.same_split]:
        reasons.append(f"{', '.join(strangers)} may have seen these images")
    if same_data and not here:
        what = f"the groups {protocol.scheme}" if protocol.scheme else "years"
        reasons.append(f"no model answers in {what}")
    return asdict(protocol) | {"here": here, "comparable": not reasons, "reasons": reasons}


def _score(protocol: Protocol, result: Evaluation) -> dict[str, float] | None:
    """Score the images of the protocol's ages; None where the model lacks one of the metrics."""
    if protocol.scheme and result.scheme != Scheme.parse(protocol.scheme):
        return None
    low, high = protocol.ages or (result.ages.min(), result.ages.max())
    chosen = (result.ages >= low) & (result.ages <= high)
    scores = metrics.score(
        result.probabilities[chosen], result.ages[chosen], result.scheme,
        None if result.answered is None else result.answered[chosen],
    )  # fmt: skip
    if any(name not in scores for name in protocol.metrics):
        return None
    n = scores["n"] if protocol.scheme else scores["n_ages"]
    return {"n": n} | {name: scores[name] for name in protocol.metrics}


HEAD = ["protocol", "published", "here", "side by side?"]


def table(judged: list[dict[str, Any]]) -> list[list[str]]:
    """Lay out what `judge` gives as rows of cells of one or more lines; the first one is HEAD."""
    rows = [HEAD]
    for one in judged:
        published = [f"{name}: {_text(figures)}" for name, figures in one["published"].items()]
        here = [f"{name}: {_text(figures)}" for name, figures in one["here"].items()]
        if here:
            here.append(f"on {next(iter(one['here'].values()))['n']:,} images")
        verdict = f"yes: {one['split']}, here is another one"
        if not one["comparable"]:
            verdict = "no: " + "; ".join(one["reasons"])
        measured = ", ".join(_TITLES[name] for name in one["metrics"])
        rows.append(
            [f"{one['name']} ({measured})\n{one['source']}", "\n".join(published) or "–",
             "\n".join(here) or "–", verdict]
        )  # fmt: skip
    return rows


def _text(figures: dict[str, float]) -> str:
    return ", ".join(
        f"{value:.2f} y" if name == "mae" else f"{value:.1%}"
        for name, value in figures.items() if name != "n"
    )  # fmt: skip
