"""Detections and false detections in synthetic photographs made from chips.

    python tests/benchmarks/bench_detect.py --data data/utkface --count 200

Chips of the test split are turned, scaled and pasted into pictures without faces. Scores of
false finds are printed too: they tell what a threshold costs. --only: some of the parts.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from faceless import faceless
from PIL import Image, ImageOps

from agecli.config import FACE_MARGIN
from agecli.data.store import Dataset, open_dataset
from agecli.faces import Face, align
from agecli.faces import detect as detect_upright
from agecli.faces.detector import LEAST_SCORE
from agecli.faces.geometry import centre, side

SIZE = (800, 640)
THRESHOLDS = (0.5, 0.6, 0.7, 0.8)


class Kind(NamedTuple):
    """Faces in pixels, tilts in degrees either way, shares of the face beyond a border."""

    faces: tuple[float, float]
    tilts: tuple[float, float]
    cut: tuple[float, float] = (0, 0)


KINDS = {
    "60-300 px, upright": Kind((60, 300), (0, 8)),
    "60-300 px, tilted to 30": Kind((60, 300), (0, 30)),
    "60-300 px, tilted 30 to 45": Kind((60, 300), (30, 45)),
    "40-60 px, tilted to 15": Kind((40, 60), (0, 15)),
    "60-300 px, cut by 10 to 30 %": Kind((60, 300), (0, 15), (0.1, 0.3)),
}


class Scene(NamedTuple):
    """A picture with one face of a known place, size (the detector's box) and tilt."""

    image: Image.Image
    x: float
    y: float
    face: float
    tilt: float


def detect(image: Image.Image) -> list[Face]:
    return [align(face) for face in detect_upright(image, LEAST_SCORE)]


def scenes(dataset: Dataset, kind: Kind, count: int) -> Iterator[Scene]:
    """Paste a chip each into pictures without faces."""
    rng = np.random.default_rng(0)
    rows = rng.choice(dataset.rows("test"), count, replace=False)
    for row, image in zip(rows, faceless(count, SIZE, seed=1), strict=True):
        face = float(np.exp(rng.uniform(*np.log(kind.faces))))
        tilt = float(rng.uniform(*kind.tilts) * rng.choice([-1, 1]))
        whole = round(face * (1 + 2 * FACE_MARGIN))
        place = np.array([rng.uniform(0.75 * whole, length - 0.75 * whole) for length in SIZE])
        if kind.cut[1]:
            axis, inside = rng.integers(0, 2), face * (0.5 - rng.uniform(*kind.cut))
            place[axis] = rng.choice([inside, SIZE[axis] - inside])
        chip = Image.fromarray(dataset.images[row]).convert("RGBA")
        chip = chip.resize((whole, whole), Image.Resampling.BICUBIC)
        chip = chip.rotate(-tilt, Image.Resampling.BICUBIC, expand=True)
        left, top = round(place[0] - chip.width / 2), round(place[1] - chip.height / 2)
        image.paste(chip, (left, top), chip)
        yield Scene(image, left + chip.width / 2, top + chip.height / 2, face, tilt)


def fits(found: Face, scene: Scene) -> bool:
    """Return whether it is the scene's face: within 0.3 sides of it, 0.6-1.6 times its size."""
    x, y = centre(found.box)
    off = max(abs(x - scene.x), abs(y - scene.y))
    return off < 0.3 * scene.face and 0.6 < side(found.box) / scene.face < 1.6


def recall(dataset: Dataset, count: int) -> None:
    """Print the share of faces found per kind, with what a higher threshold would leave."""
    for name, kind in KINDS.items():
        best, tilts, places, false = [], [], [], []
        for scene in scenes(dataset, kind, count):
            found = detect(scene.image)
            right = [face for face in found if fits(face, scene)]
            false += [face.score for face in found if face not in right]
            best.append(max((face.score for face in right), default=-np.inf))
            for face in right[:1]:
                tilts.append(abs(face.angle - scene.tilt))
                off = centre(face.box)[0] - scene.x
                places.append(abs(off) / scene.face)
        shares = "  ".join(f"≥{t:.1f}: {np.mean(np.array(best) >= t):.1%}" for t in THRESHOLDS)
        print(
            f"{name:<30} found {np.isfinite(best).mean():.1%} ({shares}), tilt within "
            f"{np.mean(tilts):.1f}°, place {np.mean(places):.1%}, {_list(false)} further"
        )


def false_faces(count: int) -> None:
    """Print the false faces per 100 pictures without faces, per threshold."""
    false = [face.score for image in faceless(count, SIZE) for face in detect(image)]
    for least in THRESHOLDS:
        many = sum(score >= least for score in false)
        print(f"false faces in {count} pictures, score ≥ {least}: {many} ({many / count:.1%})")
    print(f"scores: {_list(false)}")


def timing(rounds: int) -> None:
    """Print seconds and CPU seconds of large pictures, and the peak of memory."""
    for size in ((1633, 1225), (8165, 6124)):
        for name, image in _pictures(size):
            times = []
            for _ in range(rounds):
                wall, cpu = time.perf_counter(), time.process_time()
                found = len(detect(image))
                times.append((time.perf_counter() - wall, time.process_time() - cpu))
            wall, cpu = np.min(times, axis=0)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f"{size[0] * size[1] / 1e6:.0f} megapixels, {name}: {found} faces, {wall:.2f} s, "
                f"{cpu:.2f} s of CPU; process's peak {peak:.2f} GiB"
            )


def _pictures(size: tuple[int, int]) -> Iterator[tuple[str, Image.Image]]:
    portrait = Path(__file__).parents[2] / "demo/examples/astronaut.jpg"
    head = Image.open(portrait).convert("RGB").crop((92, 0, 348, 256))
    crowd = next(faceless(2, (1024, 768))).resize(size)  # at this size it took GiB to make
    yield "no face", crowd.copy()
    side = size[1] // 8
    for column in range(4):
        crowd.paste(head.resize((side, side)), (column * 2 * side, 2 * side))
    yield "four small faces", crowd
    yield "a portrait", ImageOps.fit(head, size)


def _list(scores: list[float]) -> str:
    strongest = " ".join(f"{score:.2f}" for score in sorted(scores, reverse=True)[:12])
    return f"{len(scores)} [{strongest}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/utkface"))
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["recall", "false", "time"])
    wanted = parser.parse_args()
    if wanted.only in (None, "time"):
        timing(wanted.rounds)
    if wanted.only in (None, "false"):
        false_faces(wanted.count)
    if wanted.only in (None, "recall"):
        recall(open_dataset(wanted.data), wanted.count)


if __name__ == "__main__":
    main()
