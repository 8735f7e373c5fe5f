"""Everything that `agecli evaluate` measures, as one function; it prints nothing.

Data sets hold chips, which `to_input` resizes in a batch to the model's side, as in training;
`Predictor` crops faces from images with PIL, at the model's side already. Both are bilinear with
antialiasing, and the rest is the same code. For 1,000 validation chips of UTKFace the
released cnn predicts equal groups both ways, with probabilities that differ by at most 0.0033.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from itertools import combinations, starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agecli import distributed
from agecli.ages import NO_GROUP
from agecli.config import FLIP, Device, TrainConfig
from agecli.data.store import Dataset, open_dataset
from agecli.errors import UsageError
from agecli.evaluation.ensembles import check_fit, fit_ensemble, make_ensemble
from agecli.evaluation.folds import (
    Folds,
    check_same_images,
    dataset_of,
    new_images,
    spread_over_folds,
)
from agecli.evaluation.gates import check_gate, is_of_robustness, parse_gate
from agecli.evaluation.names import model_names
from agecli.evaluation.perturbations import CALIBRATION_VIEWS
from agecli.evaluation.robustness import Robustness, align_pictures, measure_robustness
from agecli.evaluation.scoring import Evaluation, evaluate_model
from agecli.evaluation.significance import Difference, exact_difference, years_difference
from agecli.files import Output, check_outputs
from agecli.inference.fitted import Found, find_fitted
from agecli.weights import is_ours, named_weights, read_metadata, save_weights

if TYPE_CHECKING:
    from agecli.evaluation.photographs import Photographs


StageProgress = Callable[[str, int, int], None]
"""Called with the stage, the number of images done and in all."""


@dataclass(frozen=True)
class Suite:
    """Predictions of models on the same images, their scores and comparisons."""

    dataset: Dataset
    models: list[Evaluation]
    ensemble: Evaluation | None
    """None for one model, or models of different age groups or folds."""
    pairs: list[Difference]
    robustness: dict[str, Robustness]
    """By the models' names; empty if not requested."""
    photographs: Photographs | None
    """None if not requested, and in all processes of a launch but the first."""
    left_out: int | None = None
    """Number of images of the split left out since any model has seen them; None
    if nothing was searched."""
    failures: list[str] = field(default_factory=list)
    """The gates that are not met, in words."""
    found: Found = field(default_factory=Found)
    """The ensemble fitted for the models; without one, their plain mean is used."""

    @cached_property
    def folds(self) -> list[Folds]:
        """Return the means over folds, of the models with several folds."""
        return spread_over_folds(self.models)

    @property
    def rows(self) -> list[Evaluation]:
        """Return the models, and last their ensemble."""
        return [*self.models, self.ensemble] if self.ensemble else self.models

    @property
    def caution(self) -> str:
        """Return a warning if the models have different age groups; empty otherwise."""
        if len({model.scheme for model in self.models}) == 1:
            return ""
        return (
            "The models have different age groups: their exact and 1-off accuracies, macro-F1 and "
            "kappa cannot be compared. Differences are in years, if both models predict years."
        )

    @property
    def left_out_note(self) -> str:
        """Return how many images are left out, and why; empty if unknown."""
        if self.left_out:
            what = "image is" if self.left_out == 1 else "images are"
            who = "the model has" if len(self.models) == 1 else "one of the models has"
            return f"{self.left_out:,} {what} left out: {who} seen them, or near copies."
        if self.left_out is None or any(model.may_have_seen for model in self.models):
            return ""
        who = "the model" if len(self.models) == 1 else "each model"
        return f"All images are new to {who}, by the fingerprints of what it has seen."

    @property
    def names(self) -> list[str]:
        """Return the models' names in tables."""
        return [model.name for model in self.models]

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield plain values for JSON: an object per row, and one for each other measurement."""
        yield from (row.summary() for row in self.rows)
        data = {"data": str(self.dataset.folder)}
        if self.folds:
            yield data | {"folds": [asdict(one) for one in self.folds]}
        if self.pairs:
            yield data | {"pairs": [asdict(pair) for pair in self.pairs]}
        if self.robustness:
            plain = {name: one.plain() for name, one in self.robustness.items()}
            yield data | {"robustness": plain}
        if self.photographs:
            yield data | {"photographs": self.photographs.plain(self.names)}


def evaluate(
    *weights: Path | str,
    data: Path | str = TrainConfig.data,
    split: str = "test",
    flip: bool = FLIP,
    batch_size: int = TrainConfig.batch_size,
    device: Device = TrainConfig.device,
    force: bool = False,
    robustness: bool = False,
    store: bool = False,
    photographs: bool = False,
    gates: Sequence[str] = (),
    fit: bool = False,
    progress: StageProgress = lambda stage, done, total: None,
) -> Suite:
    """Score models on the images of a split, and compare them.

    weights: files, run folders, or released models' names. data: a folder of `agecli prepare`; a
    model that left out one of its folds is scored on that.
    split: or "all" of them; on other data than the models' own, images that any of them has seen
    are left out. flip: average each image's prediction with its mirror image's. force: also score
    models without fingerprints. robustness: also score perturbed images;
    store: write that into the weights files. photographs: also detect faces in larger
    images. gates: conditions on every model, such as "exact>=0.7". fit: fit an ensemble to the
    models on the validation images, and store it beside their weights. All processes of a launch
    call this, and divide the images.

    Raises DataError if there is no such data set or split, and for models of other splits,
    WeightsError for unusable files, UsageError for invalid gates and nothing to store.
    """
    from agecli.inference.predictor import load_model

    for gate in gates:
        parse_gate(gate)  # before the work, for its errors
    dataset, paths = open_dataset(Path(data)), named_weights(*weights)
    if store:
        _check_store(paths, dataset, robustness=robustness, split=split, force=force)
    kept = check_fit(paths, split, force=force) if fit else None
    unseen = new_images(paths, dataset, split, force=force)
    together = {"--robustness": robustness, "--photographs": photographs, "--fit-ensemble": fit}
    for option, given in together.items():
        if given:
            check_same_images(option, unseen)
    models = [load_model(path, device) for path in paths]
    options: dict[str, Any] = {"flip": flip, "batch_size": batch_size}
    results = []
    for name, model, new in zip(model_names(paths), models, unseen, strict=True):
        show = partial(progress, str(model.path))
        result = evaluate_model(model, new.dataset, split, parallel=True, progress=show, **options)
        left_out = new.left_out if new.searched else None
        results.append(replace(result, name=name, left_out=left_out))
    dataset = unseen[0].dataset
    perturbed: list[Robustness] = []
    if robustness:
        show = partial(progress, "perturbed images")
        perturbed = measure_robustness(
            models, dataset, split, align=align_pictures, parallel=True, progress=show, **options
        )
    if store and distributed.is_main():
        _store(paths, perturbed)
    pasted = None
    if photographs and distributed.is_main():
        show = partial(progress, "photographs")
        pasted = _measure_photographs(paths, dataset, split, device, progress=show, **options)
    by_name = {result.name: one for result, one in zip(results, perturbed, strict=False)}
    pairs = compare_models(results)
    by_fold = {new.dataset.fold: new.left_out for new in unseen}
    gone = [count for count in by_fold.values() if count is not None]
    found = find_fitted(paths)
    if kept:
        options |= {"parallel": True}
        changed = [
            [evaluate_model(one, dataset, split, change=view, **options) for one in models]
            for view in CALIBRATION_VIEWS
        ]
        found = Found(fit_ensemble(results, changed, dataset.split_hash), kept)
        if found.fitted and distributed.is_main():
            found.fitted.write(kept)
    suite = Suite(
        dataset, results, make_ensemble(results, found.fitted), pairs, by_name, pasted,
        left_out=sum(gone) if gone else None, found=found,
    )  # fmt: skip
    checks = (
        check_gate(gate, row, by_name.get(row.name))
        for row in suite.rows for gate in gates
        if row is not suite.ensemble or not is_of_robustness(gate)
    )  # fmt: skip
    return replace(suite, failures=[*filter(None, checks)])


def compare_models(results: list[Evaluation]) -> list[Difference]:
    """Compare models in pairs: by their groups, on images that have one, if the groups are equal.

    Models of different groups are compared by years, if both predict them, otherwise not at all:
    fewer groups are easier. Models of different folds are not compared.
    """
    return [*filter(None, starmap(_compare, combinations(results, 2)))]


def _compare(first: Evaluation, second: Evaluation) -> Difference | None:
    names = first.name, second.name
    if first.fold != second.fold:
        return None
    if first.scheme == second.scheme:
        known = first.truth != NO_GROUP
        right = [(one.answers == one.truth)[known] for one in (first, second)]
        return exact_difference(names, *right)
    known = np.isfinite(first.errors) & np.isfinite(second.errors)
    if not known.any():
        return None
    return years_difference(names, first.errors[known], second.errors[known])


def _check_store(
    paths: list[Path], dataset: Dataset, *, robustness: bool, split: str, force: bool
) -> None:
    """Raise UsageError if there is nothing to store, or nowhere to store it."""
    if not robustness:
        raise UsageError("--store: it stores the figures of --robustness: pass that, too")
    if split != "test" or force:
        raise UsageError("--store: a weights file stores figures on its test split: leave out "
                         "--split and --force")  # fmt: skip
    for path in paths:
        if path.suffix != ".safetensors":
            raise UsageError(f"--store: {path} is an export: use the weights it was made from")
        metadata = read_metadata(path)
        if metadata.split_hash != dataset_of(metadata, dataset).split_hash:
            raise UsageError(f"--store: {path} was trained on another split than that of "
                             f"{dataset.folder}: pass its own --data")  # fmt: skip
    check_outputs(Output("--store", path, is_ours) for path in paths)


def _store(paths: list[Path], results: list[Robustness]) -> None:
    """Write each model's robustness into its weights file's metadata."""
    from safetensors.torch import load_file

    for path, result in zip(paths, results, strict=True):
        metadata = read_metadata(path)
        changed = replace(metadata, metrics=metadata.metrics | {"robustness": result.brief()})
        save_weights(path, load_file(path), changed, half=False)


def _measure_photographs(
    paths: list[Path], dataset: Dataset, split: str, device: Device, *, flip: bool, **options: Any
) -> Photographs:
    from agecli.data.workers import default_workers
    from agecli.evaluation.photographs import measure_photographs
    from agecli.inference.predictor import Predictor

    predictor = Predictor(paths, device=device, flip=flip, workers=default_workers())
    return measure_photographs(predictor, dataset, split, flip=flip, **options)
