"""Search the settings of a model's training: `agecli tune` as a Python function."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from agecli.config import PLACE, TRIALS, Metric, Pruner, configure
from agecli.tuning.plan import open_study
from agecli.tuning.report import check_study, write_report
from agecli.tuning.search import Search
from agecli.tuning.study import Study, StudyProgress
from agecli.tuning.summary import Summary, summarise


class SearchObserver:
    """Receives a search's events; the base class ignores them all."""

    def opened(self, study: Study, workers: int) -> None:
        """Receive the study and the number of its workers."""

    def progressed(self, progress: StudyProgress) -> None:
        """Receive the study's progress, a few times a second."""

    def warned(self, text: str) -> None:
        """Receive a one-line notice, of a download for example."""


def tune(
    model: str, *, study: str | Path | None = None, trials: int = TRIALS, workers: int = 1,
    timeout: float | None = None, metric: Metric | None = None, pruner: Pruner | None = None,
    space: str | Path | None = None, storage: str = "", observer: SearchObserver | None = None,
    **settings: Any,
) -> Summary:  # fmt: skip
    """Search for the settings with which a model trains best, or continue a study.

    settings: fixed ones, `data` among them; the others of the space are searched. study:
    its folder, studies/MODEL by default, which gets best.toml, plots and a page. trials: how many
    it shall have in the end. workers: how many train at once, each a process. timeout:
    seconds after which no trial starts. metric, pruner: val_exact and hyperband, unless given or
    set by the study. space: a TOML file with the space. storage: the URL of a database that
    machines share.

    Raises UsageError for wrong settings or a study of something else, DataError for an unusable
    data set, TrainingError if no worker can run.
    """
    observer = observer or SearchObserver()
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
    kind = type(configure(model, **settings))
    goals = {k: v for k, v in (("metric", metric), ("pruner", pruner)) if v is not None}
    folder, file = Path(study or Path("studies", model)), Path(space) if space else None
    check_study(folder)
    opened = open_study(folder, storage, kind, settings, goals, file, observer.warned)
    observer.opened(opened, workers)
    place = {name: settings[name] for name in PLACE if name in settings}
    with Search(
        opened, url=storage, trials=trials, workers=workers, timeout=timeout, place=place
    ) as search:
        progress = search.run(observer.progressed)
    found = summarise(opened, progress)
    return replace(found, files=write_report(opened, progress, found))
