"""From frames to a prediction per person: faces are tracked, and their predictions averaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, zip_longest
from pathlib import Path

import numpy as np

from agecli.config import FPS
from agecli.decision import Decision
from agecli.errors import ImageError
from agecli.faces import Face
from agecli.faces.tracks import Track, Tracker
from agecli.inference.pictures import NO_FACE, STDIN, Status
from agecli.inference.prediction import Prediction, name_answer
from agecli.inference.predictor import Predictor
from agecli.video.frames import Frame, is_video, read_video

WHOLE = (0, 0, 1, 1)
"""Stands for the box of a prediction for the whole image: it overlaps only with itself."""

Watch = Callable[[str, Frame, list[Prediction]], None]
"""Called with each frame of a source, and the predictions so far for the faces in view."""


class _Person:
    """The predictions for one face, summed over its frames."""

    def __init__(self, number: int, seconds: float, most: float) -> None:
        self.track = Track(number, 0, seconds, seconds, seconds)
        self.rows: list[Prediction] = []
        self.sums: list[np.ndarray] = []
        self.seen: list[bool | None] = []
        self.face: Face | None = None
        self.weight, self.most = 0.0, most

    def see(self, seconds: float, rows: list[Prediction]) -> None:
        """Add a frame's predictions, one per model; beside `most` of them, earlier ones fade."""
        values = [_numbers(row) for row in rows]
        kept = min(self.weight, self.most - 1)
        if self.rows:
            fade = kept / self.weight
            values = [fade * old + new for old, new in zip(self.sums, values, strict=True)]
        self.sums, self.weight = values, kept + 1
        self.seen = [before or row.seen for row, before in zip_longest(rows, self.seen)]
        surest = not self.rows or _score(rows[0]) > _score(self.rows[0])
        self.rows, self.face = rows if surest else self.rows, rows[0].face
        self.track = replace(
            self.track,
            frames=self.track.frames + 1,
            last=seconds,
            best=seconds if surest else self.track.best,
        )

    def answers(self, source: str, decisions: Sequence[Decision]) -> list[Prediction]:
        """Return the mean of each model's predictions, with the box of the highest score.

        It counts as seen by a model if it does in any frame. Frames of one face are not
        independent: its age set ends where those of the frames end on average, and it
        is confident if most of them are.
        """
        answers = zip(self.rows, self.sums, self.seen, decisions, strict=True)
        return [self._mean(source, *answer) for answer in answers]

    def _mean(
        self, source: str, row: Prediction, total: np.ndarray, seen: bool | None,
        decision: Decision,
    ) -> Prediction:  # fmt: skip
        labels = list(row.probabilities or ())
        mean = np.round(total / self.weight, 9)  # so that a fading sum of equal ends stays there
        chances, (age, first, last, low, high, sure) = np.split(mean, [len(labels)])
        named = name_answer(labels, chances, None if row.age is None else age, decision)
        if row.set:
            own = labels.index(named["group"])
            ends = min(math.floor(first), own), max(math.ceil(last), own)
            named |= {"set": tuple(labels[ends[0] : ends[1] + 1]), "sure": bool(sure >= 0.5)}
            named |= {"flaws": () if sure >= 0.5 else row.flaws}
        if row.age_low is not None:
            named |= {"age_low": math.floor(low), "age_high": math.ceil(high)}
        return replace(row, source=source, track=self.track, seen=seen, **named)


def _numbers(row: Prediction) -> np.ndarray:
    """Return the values averaged over frames: probabilities, age, ends of the set, confidence."""
    chances, groups = row.probabilities or {}, row.set or ()
    ends = [list(chances).index(group) for group in (groups[:1] + groups[-1:])] or [0, 0]
    ages = [row.age or 0, *ends, row.age_low or 0, row.age_high or 0]
    return np.array([*chances.values(), *ages, bool(row.sure)])


class People:
    """The people of a video, tracked from frame to frame.

    most: frames over which predictions are averaged, recent ones weighing more; without, all weigh
    the same.
    """

    def __init__(self, predictor: Predictor, source: str, most: float = math.inf) -> None:
        self._predictor, self._source, self._most = predictor, source, most
        self._tracker = Tracker()
        self._people: dict[int, _Person] = {}
        self._seconds = 0.0
        self.met = 0
        """Number of people seen so far."""

    def look(self, frame: Frame) -> list[Prediction]:
        """Process the next frame; return the predictions for people who have left by then."""
        self._seconds = frame.seconds
        faces = _faces(self._predictor, frame)
        numbers, gone = self._tracker.update(frame.seconds, [_box(rows[0]) for rows in faces])
        self.met = max([self.met, *numbers])
        for number, rows in zip(numbers, faces, strict=True):
            new = _Person(number, frame.seconds, self._most)
            self._people.setdefault(number, new).see(frame.seconds, rows)
        return self._answers(self._people.pop(number) for number in gone)

    @property
    def in_view(self) -> list[tuple[Face | None, list[Prediction]]]:
        """Return each person's face in the last frame, with the predictions so far, by model."""
        here = [one for one in self._people.values() if one.track.last == self._seconds]
        return [(person.face, self._answers([person])) for person in here]

    @property
    def left(self) -> list[Prediction]:
        """Return the predictions for all who have not left."""
        return self._answers(self._people.values())

    def _answers(self, people: Iterable[_Person]) -> list[Prediction]:
        rules = self._predictor.decisions
        return [row for person in people for row in person.answers(self._source, rules)]


def predict_video(
    predictor: Predictor, frames: Iterable[Frame], source: str, watch: Watch | None = None
) -> Iterator[Prediction]:
    """Yield a Prediction per person and model, the mean over frames, once the person has left.

    Frames are read one at a time and not kept. The readable part of a damaged video is predicted,
    and a last row of status "unreadable" says why the rest is missing.
    """
    people = People(predictor, source)
    status: Status = "no_face"
    error = NO_FACE
    try:
        for frame in frames:
            yield from people.look(frame)
            if watch:
                watch(source, frame, [row for _, rows in people.in_view for row in rows])
        status = "ok" if people.met else status
    except ImageError as problem:
        status, error = "unreadable", str(problem)
    yield from people.left
    if status != "ok":
        yield Prediction(source, status=status, error=error)


def predict_files(
    predictor: Predictor,
    paths: Iterable[Path],
    *,
    fps: float | None = FPS,
    seconds: float | None = None,
    stdin: bytes = b"",
    watch: Watch | None = None,
) -> Iterator[Prediction]:
    """Yield the predictions for images and videos from `find_pictures`, in order.

    Of videos, fps frames per second are used (None: all), in the first `seconds` (None: in
    all). stdin: the content of the image named by the path -.
    """
    for kind, group in groupby(paths, key=_kind):
        if kind == "picture":
            yield from predictor.predict(group)
        elif kind == "video":
            for path in group:
                frames = read_video(path, fps, seconds)
                yield from predict_video(predictor, frames, str(path), watch)
        else:
            for row in predictor.predict([stdin]):
                yield replace(row, source=str(STDIN))


def _kind(path: Path) -> str:
    return "stdin" if path == STDIN else "video" if is_video(path) else "picture"


def _faces(predictor: Predictor, frame: Frame) -> Sequence[list[Prediction]]:
    """Return the models' predictions for each face of a frame."""
    rows = (row for row in predictor.predict([frame.image]) if row.status == "ok")
    return [list(group) for _, group in groupby(rows, key=lambda row: row.face)]


def _box(row: Prediction) -> tuple[int, int, int, int]:
    return row.face.box if row.face else WHOLE


def _score(row: Prediction) -> float:
    return row.face.score if row.face else 0
