"""Answers for videos: who is followed, and means against the predictor's answers frame by frame."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agecli import Prediction, Predictor
from agecli.decision import LIKELIEST, MEDIAN, Decision
from agecli.errors import ImageError
from agecli.faces import Face
from agecli.faces.tracks import GONE_AFTER
from agecli.inference.pictures import STDIN
from agecli.sets import Sets
from agecli.video.frames import Frame
from agecli.video.people import People, predict_files, predict_video
from tests.archives import jpeg_bytes
from tests.inference.test_predictor import write_toy
from tests.video.videos import portraits, scene, write_video

BLANK = Image.new("RGB", (4, 4))


def seen(x: int, score: float, p: float, age: float | None = None, model: str = "cnn"):
    chances = {"0-29": p, "30+": round(1 - p, 4)}
    group = max(chances, key=lambda name: chances[name])
    face = Face((x, 0, x + 100, 100), score)
    return Prediction("picture 0", face, model, group, chances[group], chances, age)


class Scripted:
    """Answers with the rows that the script has for the next frame."""

    def __init__(
        self, *script: list[Prediction], decisions: Sequence[Decision] = (LIKELIEST,)
    ) -> None:
        self.script, self.decisions = iter(script), list(decisions)

    def predict(self, images: Iterable[Image.Image]) -> Iterator[Prediction]:
        (image,) = images
        assert image is BLANK
        yield from next(self.script) or [Prediction("picture 0", status="no_face", error="none")]


def every_half_second(count: int) -> Iterator[Frame]:
    return (Frame(number / 2, BLANK) for number in range(count))


def test_the_mean_over_the_frames():
    predictor = Scripted(
        [seen(0, 1.0, 0.9, 20), seen(300, 0.4, 0.2, 60)],
        [seen(20, 1.5, 0.3, 30)],
        [],
        [seen(55, 0.5, 0.1, 43)],
    )
    first, second = predict_video(predictor, every_half_second(4), "clip.mp4")
    assert first.source == second.source == "clip.mp4"
    assert (first.group, first.probability, first.age) == ("30+", 0.5667, 31.0)
    assert first.probabilities == {"0-29": round(1.3 / 3, 4), "30+": round(1.7 / 3, 4)}
    assert first.face == Face((20, 0, 120, 100), 1.5)  # where it is surest
    assert vars(first.track) == {"number": 1, "frames": 3, "first": 0, "last": 1.5, "best": 0.5}
    assert vars(second.track) == {"number": 2, "frames": 1, "first": 0, "last": 0, "best": 0}
    assert (second.group, second.probability, second.age) == ("30+", 0.8, 60)


def test_each_model_has_its_own_mean():
    pair = [seen(0, 1, 0.9), seen(0, 1, 0.2, 50, "dinov2")]
    other = [seen(9, 2, 0.7), seen(9, 2, 0.4, 60, "dinov2")]
    a, b = predict_video(
        Scripted(pair, other, decisions=[LIKELIEST] * 2), every_half_second(2), "v"
    )
    assert [(row.model, row.probabilities["0-29"], row.age) for row in (a, b)] == [
        ("cnn", 0.8, None),
        ("dinov2", 0.3, 55.0),
    ]
    assert a.track == b.track


def test_the_rule_of_the_model_decides_the_mean():
    """For (0.45, 0.15, 0.4): the likeliest is 0-9, the median 10-19."""
    rows = [
        Prediction("x", seen(0, 1, 1).face, "cnn", "0-9", p, {"0-9": p, "10-19": 0.15, "20+": q})
        for p, q in ((0.6, 0.25), (0.3, 0.55))
    ]
    for decision, group in ((LIKELIEST, "0-9"), (MEDIAN, "10-19")):
        script = Scripted(*([row] for row in rows), decisions=[decision])
        (row,) = predict_video(script, every_half_second(2), "v")
        assert (row.group, row.torn) == (group, decision is MEDIAN)


def test_who_was_seen_in_a_frame_was_seen():
    first, surest, last = (seen(0, score, 0.9) for score in (1, 2, 1))
    frames = [
        [replace(first, seen=True)],
        [replace(surest, seen=False)],
        [replace(last, seen=False)],
    ]
    (row,) = predict_video(Scripted(*frames), every_half_second(3), "v")
    assert row.seen is True
    for known in (False, None):
        frames = [[replace(first, seen=known)], [replace(surest, seen=known)]]
        (row,) = predict_video(Scripted(*frames), every_half_second(2), "v")
        assert row.seen is known


def test_rows_come_when_a_face_is_gone():
    script = [[seen(0, 1, 0.9)], *[[seen(300, 1, 0.9)]] * 9]
    drawn = 0

    def frames():
        nonlocal drawn
        for frame in every_half_second(10):
            drawn += 1
            yield frame

    rows = predict_video(Scripted(*script), frames(), "v")
    assert next(rows).track.number == 1
    assert drawn == 1 + round(2 * GONE_AFTER)  # two frames a second
    assert [row.track.frames for row in rows] == [9]


def test_without_a_face():
    (row,) = predict_video(Scripted([], []), every_half_second(2), "v")
    assert (row.source, row.status, row.error) == ("v", "no_face", "no face found")


@pytest.mark.parametrize("count", [0, 2])
def test_a_cut_video_is_predicted_as_far_as_it_goes(count: int):
    def frames():
        yield from every_half_second(count)
        raise ImageError("ends after 1.0 of 9.0 seconds")

    *rows, last = predict_video(Scripted(*[[seen(0, 1, 0.9)]] * count), frames(), "v")
    assert [row.track.frames for row in rows] == ([count] if count else [])
    assert (last.status, last.error) == ("unreadable", "ends after 1.0 of 9.0 seconds")


def test_those_in_view_are_shown():
    shown = []
    script = [[seen(0, 1, 0.9), seen(300, 1, 0.5)], [seen(0, 1, 0.7)]]
    list(
        predict_video(
            Scripted(*script), every_half_second(2), "v",
            watch=lambda source, frame, rows: shown.append((source, frame.seconds, rows)),
        )
    )  # fmt: skip
    assert [(source, seconds) for source, seconds, _ in shown] == [("v", 0), ("v", 0.5)]
    assert [[row.track.number for row in rows] for *_, rows in shown] == [[1, 2], [1]]
    assert shown[1][2][0].probability == 0.8


def test_an_endless_video_needs_the_memory_of_a_frame():
    class Passing:
        decisions = (LIKELIEST,)

        def __init__(self) -> None:
            self.frames = 0

        def predict(self, images: Iterable[Image.Image]) -> Iterator[Prediction]:
            self.frames += 1
            yield seen(1000 * self.frames, 1, 0.9)  # each time another face, elsewhere

    def endless() -> Iterator[Frame]:
        second = 0
        while True:
            second += 1
            yield Frame(second, Image.fromarray(np.zeros((300, 400, 3), np.uint8)))

    predictor = Passing()
    rows = predict_video(predictor, endless(), "v")
    next(rows)
    tracemalloc.start()
    for _ in range(300):
        next(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert predictor.frames == 301 + ceil(GONE_AFTER)  # a frame a second
    assert peak < 3e6  # the 300 frames are 108 MB


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy") / "cnn.safetensors", outputs=101)


def places(frame: int) -> dict[str, int]:
    """Return the left sides of heads: two cross about frame 4, the dark one leaves, one enters."""
    return {
        "light": min(20 + 45 * frame, 200),
        "dark": 400 - 60 * frame,
        "late": 620 - 50 * (frame - 6),
    }


def crossing(frames: int = 12) -> list[Image.Image]:
    light, dark = portraits()
    heads = {"dark": dark, "late": dark, "light": light}  # the last one is in front
    return [
        scene(*((head, places(frame)[name]) for name, head in heads.items()))
        for frame in range(frames)
    ]


def test_people_who_cross_leave_and_enter(toy: Path):
    """By where the heads were put: the predictor's answers for each, averaged by hand."""
    predictor = Predictor([toy], device="cpu")
    images = crossing()
    per_head: dict[str, list[Prediction]] = {"light": [], "dark": [], "late": []}
    for number, image in enumerate(images):
        for row in predictor.predict([image]):
            if row.face:
                middle = (row.face.box[0] + row.face.box[2]) / 2
                near = min(per_head, key=lambda name: abs(places(number)[name] + 112 - middle))
                per_head[near].append(row)
    assert min(map(len, per_head.values())) >= 2
    frames = (Frame(number / 2, image) for number, image in enumerate(images))
    people = sorted(predict_video(predictor, frames, "v"), key=lambda row: row.face.score)
    expected = sorted(
        (
            (
                len(rows),
                np.mean([list(row.probabilities.values()) for row in rows], axis=0),
                np.mean([row.age for row in rows]),
                max(row.face.score for row in rows),
            )
            for rows in per_head.values()
        ),
        key=lambda person: person[3],
    )
    assert len(people) == len(expected) == 3
    for row, (count, mean, age, score) in zip(people, expected, strict=True):
        assert row.track.frames == count
        assert row.face.score == score
        np.testing.assert_allclose(list(row.probabilities.values()), mean, atol=6e-5)
        assert row.age == pytest.approx(age, abs=0.051)
        assert row.probability == max(row.probabilities.values())


def test_many_frames_of_one_face_make_its_set_no_narrower(tmp_path: Path):
    rows = ((0.9,) * 3, (0.88,) * 3, (0.87,) * 3)
    sets = Sets((0.125,) * 8, rows, rows, largest_entropy=2.0)
    predictor = Predictor(
        [write_toy(tmp_path / "m.safetensors", outputs=101, sets=sets)], device="cpu"
    )
    images = [scene((portraits()[0], 40 + 10 * n)) for n in range(6)]
    each = [row for image in images for row in predictor.predict([image])]
    frames = (Frame(number / 2, image) for number, image in enumerate(images))
    (person,) = predict_video(predictor, frames, "v")
    assert person.coverage == 0.9
    assert person.sure == (2 * sum(row.sure for row in each) >= len(each))
    widths = [row.age_high - row.age_low for row in each]
    assert np.mean(widths) <= person.age_high - person.age_low <= max(widths) + 2
    assert len(person.set) >= np.mean([len(row.set) for row in each])
    assert person.group in person.set
    assert min(row.age_low for row in each) <= person.age_low <= person.age


def test_files_of_all_kinds_in_their_order(toy: Path, tmp_path: Path):
    head = portraits()[0]
    head.save(tmp_path / "a.png")
    clip = write_video(tmp_path / "b.mkv", [scene((head, 40 + 10 * n)) for n in range(15)])
    predictor = Predictor([toy], device="cpu", workers=2)  # which a frame alone does without
    paths = [tmp_path / "a.png", clip, STDIN, tmp_path / "gone.mp4", tmp_path / "a.png"]
    rows = list(predict_files(predictor, paths, fps=2, stdin=jpeg_bytes(head)))
    assert [row.source for row in rows] == list(map(str, paths))
    assert [row.status for row in rows] == ["ok", "ok", "ok", "unreadable", "ok"]
    assert [row.track.frames if row.track else None for row in rows] == [None, 3, None, None, None]
    assert rows[3].error == "no such file or directory"
    assert rows[0].face == rows[4].face
    assert rows[0].face.box[0] == pytest.approx(rows[2].face.box[0], abs=4)
    assert rows[1].age == pytest.approx(rows[0].age, abs=10)


def test_whole_pictures_are_followed_too(toy: Path):
    frames = [Frame(second, scene()) for second in range(3)]
    (row,) = predict_video(Predictor([toy], device="cpu", crops=True), frames, "v")
    assert (row.face, row.track.frames) == (None, 3)


def test_of_a_stream_the_last_frames_count_most():
    """By hand, for two frames: (0.9 + 0.3) / 2 = 0.6, then (0.6 + 0.1) / 2 = 0.35."""
    script = Scripted(*([seen(x, 1, p, age)] for x, p, age in
                        ((0, 0.9, 20), (20, 0.3, 30), (40, 0.1, 43))))  # fmt: skip
    people = People(script, "camera", most=2)
    for frame in every_half_second(3):
        assert people.look(frame) == []
    ((face, (row,)),) = people.in_view
    assert face.box == (40, 0, 140, 100)  # where it is now
    assert (row.probabilities["0-29"], row.age) == (0.35, 34.0)
    assert (row.track.number, row.track.frames, people.met) == (1, 3, 1)


def test_a_set_stays_the_same_over_a_long_stream():
    row = replace(seen(0, 1, 0.7, 33), set=("0-29", "30+"), age_low=3, age_high=41, sure=True)
    people = People(Scripted(*[[row]] * 300), "camera", most=20)
    for frame in (Frame(number / 5, BLANK) for number in range(300)):
        people.look(frame)
    ((_, (told,)),) = people.in_view
    assert (told.set, told.age_low, told.age_high, told.sure) == (("0-29", "30+"), 3, 41, True)
