"""Score and fit ensembles of models on the images that the models were scored on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agecli.ages import NO_GROUP, YEARS, Answers, FloatArray, IntArray, softmax
from agecli.decision import MEDIAN
from agecli.errors import DataError, UsageError
from agecli.evaluation import metrics
from agecli.evaluation.calibration import fit_decision, fit_sets
from agecli.evaluation.scoring import Evaluation
from agecli.evaluation.significance import CERTAIN, mcnemar
from agecli.files import Output, check_outputs, marked
from agecli.inference.fitted import (
    ENSEMBLE,
    FILE,
    MARK,
    MOST_POWER,
    Fitted,
    Member,
    combine,
    logarithms,
    sha256_of,
)

PARTS = 5
"""Parts of the validation images for cross-fitting: each is predicted by a fit on the others."""
FIGURES = ("exact", "one_off", "macro_f1", "mae", "ece")


def make_ensemble(results: Sequence[Evaluation], fitted: Fitted | None = None) -> Evaluation | None:
    """Score the joint prediction of models on the same images.

    fitted: the ensemble fitted for them; by default the plain mean of their
    probabilities, whose median is the group, and of any predicted ages. None for one
    model, or for different age groups or folds.
    """
    if len(results) < 2 or not _alike(results):
        return None
    first = results[0]
    if fitted:
        read = fitted.combine([_file(result) for result in results], _answers(results))
        answered, title = read.ages, "fitted on validation images"
    else:
        mean = np.mean([result.probabilities for result in results], axis=0)  # (N, groups)
        read = Answers(mean, first.scheme, knows_years=False, decision=MEDIAN)
        ages = [result.answered for result in results if result.answered is not None]
        answered, title = np.mean(ages, axis=0) if ages else None, "plain mean"
    left_out = max((one.left_out for one in results if one.left_out is not None), default=None)
    rates = sum(1 / result.images_per_second for result in results)
    return replace(
        first, name=ENSEMBLE, model=ENSEMBLE, title=title, weights=None,
        distribution=read.distribution, probabilities=read.groups, answered=answered,
        temperature=1.0, knows_years=read.knows_years, decision=read.decision, sets=read.sets,
        scores=metrics.score(read.groups, first.ages, first.scheme, answered, read.decided),
        images_per_second=1 / rates, same_split=all(result.same_split for result in results),
        left_out=None if any(result.may_have_seen for result in results) else left_out,
    )  # fmt: skip


def check_fit(paths: Sequence[Path], split: str, *, force: bool) -> Path:
    """Return the path of the ensemble file of weights files, in their folder.

    Raises UsageError if none can be fitted, or another file has that name.
    """
    option = "--fit-ensemble"
    if split != "val" or force:
        raise UsageError(
            f"{option}: it is fitted on validation images: use --split val without --force"
        )
    if len({path.name for path in paths}) < 2 or len({path.parent for path in paths}) > 1:
        raise UsageError(f"{option}: pass several weights files in one folder, which stores the "
                         "ensemble beside them")  # fmt: skip
    file = paths[0].with_name(FILE)
    check_outputs([Output(option, file, marked(MARK))])
    return file


def fit_ensemble(
    results: Sequence[Evaluation], changed: Sequence[Sequence[Evaluation]], split_hash: str
) -> Fitted:
    """Fit an ensemble of models on the same validation images; its best member comes first.

    The models' powers maximise the likelihood of the true groups; models that add nothing get
    0. Whether it is better than the best model is tested by cross-fitting.
    changed: the models' predictions under each of the CALIBRATION_VIEWS, for the age sets. Raises
    UsageError for models of different groups, DataError for too few images.
    """
    if not _alike(results):
        raise UsageError("--fit-ensemble: the models have different age groups or folds")
    known = results[0].truth != NO_GROUP
    if known.sum() < 2 * PARTS:
        raise DataError(f"{known.sum()} validation images have a group: too few for --fit-ensemble")
    results = sorted(results, key=lambda result: -result.scores.exact)  # stable
    powers = fit_powers(_answers(results), results[0].truth)
    best, left_out = results[0], _cross_fit(_answers(results), results[0].truth)
    left_out = replace(left_out, decision=fit_decision(left_out, best.ages))
    scores = metrics.score(left_out.groups, best.ages, best.scheme, left_out.ages, left_out.decided)
    right = left_out.decided == best.truth
    p = mcnemar(right[known], (best.answers == best.truth)[known])
    members = [
        Member(file.name, sha256_of(file), round(float(power), 4), result.scores.exact)
        for result, power in zip(results, powers, strict=True)
        for file in [_file(result)]
    ]
    figures = {name: value for name, value in scores.plain().items() if name in FIGURES}
    better = p < CERTAIN and scores.exact > best.scores.exact
    fitted = Fitted(
        members, better, p, figures, scores.n, split_hash, best.scheme.labels, left_out.decision
    )
    *smaller, perturbed = (
        fitted.combine([_file(one) for one in view], _answers(view)) for view in changed
    )
    return replace(fitted, sets=fit_sets([*smaller, left_out], perturbed, best.ages))


def fit_powers(answers: Sequence[Answers], truth: IntArray) -> FloatArray:
    """Return the non-negative powers (M,) that maximise the likelihood of the true groups (N,).

    answers: predictions of M models. For groups alone the likelihood has one maximum (a logistic
    regression); with years, all starts that were tried lead to the same one.
    """
    from scipy.optimize import minimize

    scheme, known = answers[0].scheme, truth != NO_GROUP
    logs, truth = logarithms(answers)[:, known], truth[known]  # (M, n, outputs)
    sums = scheme.year_matrix() if logs.shape[2] == YEARS else np.eye(len(scheme))
    own, every = sums.T[truth], sums.sum(axis=1)  # (n, outputs), (outputs,)

    def loss(powers: FloatArray) -> tuple[float, FloatArray]:
        chances = softmax(np.tensordot(powers, logs, axes=1))  # (n, outputs)
        inside, all_inside = (chances * own).sum(axis=1), chances @ every  # (n,)
        slope = chances * (every / all_inside[:, None] - own / inside[:, None])
        value = np.log(all_inside / inside).mean()
        return float(value), np.einsum("mno,no->m", logs, slope) / len(truth)

    start = np.full(len(answers), 1 / len(answers))
    bounds = [(0, MOST_POWER)] * len(answers)
    return minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x


def _cross_fit(answers: Sequence[Answers], truth: IntArray) -> Answers:
    """Predict each part of the images with powers fitted on the others."""
    parts = np.cumsum(truth != NO_GROUP) % PARTS  # equally many images with a group in each
    every = combine(answers, np.ones(len(answers)))  # filled below
    for part in range(PARTS):
        inside = parts == part
        powers = fit_powers([_take(one, ~inside) for one in answers], truth[~inside])
        held = combine([_take(one, inside) for one in answers], powers)
        every.distribution[inside] = held.distribution
    return every


def _take(answers: Answers, chosen: NDArray[np.bool_]) -> Answers:
    return replace(answers, distribution=answers.distribution[chosen])


def _answers(results: Sequence[Evaluation]) -> list[Answers]:
    return [Answers(one.distribution, one.scheme, one.knows_years) for one in results]


def _file(result: Evaluation) -> Path:
    assert result.weights  # all but ensembles have one
    return result.weights


def _alike(results: Sequence[Evaluation]) -> bool:
    """Return whether models have the same groups, and are scored on the same images."""
    first = results[0]
    return all(one.scheme == first.scheme and one.fold == first.fold for one in results)
