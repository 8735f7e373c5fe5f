"""Photographs end to end: faces in larger images, detected, aligned, cropped and predicted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import chain, groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli.ages import FloatArray
from agecli.config import FACE_MARGIN, FLIP, TrainConfig
from agecli.evaluation.backgrounds import draw_background
from agecli.evaluation.scoring import ImageProgress, known_rows
from agecli.evaluation.significance import bootstrap_interval
from agecli.faces.geometry import Box, overlap, square_around

if TYPE_CHECKING:
    from agecli.data.store import Dataset
    from agecli.faces import Face
    from agecli.inference.prediction import Prediction
    from agecli.inference.predictor import Predictor

SEED = 7
COUNT = 500
"""Most faces that are pasted into images."""
NO_FACES = 200
"""Number of negatives."""
WIDTHS, HEIGHTS = (640, 1024), (480, 768)
"""Sizes of the images in pixels."""
TILT = 30.0
"""Largest tilt of a head, in degrees."""
FACES = (60, 300)
"""Smallest and largest side of a face in pixels, as detected: without the chip's margin."""
FADE = (0.6, 0.9)
"""Distances from the face's centre, in sides of the chip, at which it starts to fade and ends."""
FOUND = 0.5
"""Smallest intersection over union of a detection's box and the true one that counts as found."""
PARTS = {
    "tilt": ("°", (0, 10, 20, TILT)),
    "face": (" px", (FACES[0], 100, 180, FACES[1])),
}
"""Criteria by which faces are divided: unit, and bounds of the parts."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Place:
    """An image's size, and the position of a face in it."""

    width: int
    height: int
    x: float
    """The face's centre."""
    y: float
    face: float
    """Side of the face in pixels."""
    tilt: float
    """Tilt of the head in degrees, clockwise as seen."""

    @classmethod
    def draw(cls, random: np.random.Generator) -> Place:
        """Draw a position with the whole face inside the image."""
        width, height = int(random.integers(*WIDTHS)), int(random.integers(*HEIGHTS))
        face = float(np.exp(random.uniform(*np.log(FACES))))
        x, y = (random.uniform(face / 2, length - face / 2) for length in (width, height))
        return cls(width, height, x, y, face, random.uniform(-TILT, TILT))

    @property
    def box(self) -> Box:
        """Return the square around the face's centre, before rotation by the tilt."""
        return square_around((self.x, self.y), self.face)


@dataclass(frozen=True)
class Figures:
    """A model's scores on n faces."""

    n: int
    exact: float
    """Exact accuracy on all, pasted into photographs; undetected faces count as wrong."""
    chips: float
    """Exact accuracy on the chips themselves."""
    interval: tuple[float, float]
    """95 % interval of `exact` - `chips`, by the bootstrap."""
    exact_found: float | None
    """Exact accuracy on detected faces; None without any."""
    chips_found: float | None
    """Exact accuracy on the chips of these."""


@dataclass(frozen=True)
class Photographs:
    """Results on N photographs of one face each, and on negatives."""

    tilts: FloatArray
    """(N,) absolute tilts in degrees."""
    sides: FloatArray
    """(N,) sides of the faces, in pixels."""
    found: Bools
    """(N,) whether the face was detected."""
    right: Bools
    """(models, N) whether it was detected and predicted exactly."""
    on_chips: Bools
    """(models, N) whether the pasted chip itself is predicted exactly."""
    beside: int
    """False detections in the photographs."""
    without: int
    """Number of negatives."""
    false: int
    """False detections in these."""

    def parts(self) -> dict[str, Bools]:
        """Return the table's parts by name, each a mask (N,) of its faces."""
        parts = {"all": np.ones(len(self.found), dtype=bool)}
        for name, values in (("tilt", self.tilts), ("face", self.sides)):
            unit, ends = PARTS[name]
            for low, high in pairwise(ends):
                inside = (values >= low) & (values < high)
                if inside.any():
                    parts[f"{name} {low:g}-{high:g}{unit}"] = inside
        return parts

    def figures(self, model: int, part: Bools) -> Figures:
        """Return a model's figures on a part (N,) of the faces."""
        found, some = self.found[part], self.found[part].any()
        right, on_chips = self.right[model][part], self.on_chips[model][part]
        return Figures(
            n=len(found),
            exact=float(right.mean()),
            chips=float(on_chips.mean()),
            interval=bootstrap_interval(right.astype(np.float64) - on_chips),
            exact_found=float(right[found].mean()) if some else None,
            chips_found=float(on_chips[found].mean()) if some else None,
        )

    def plain(self, names: list[str]) -> dict[str, Any]:
        """Return the figures as plain values for JSON, per model and part."""
        parts = self.parts()
        return {
            "n": len(self.found),
            "found": {name: float(self.found[part].mean()) for name, part in parts.items()},
            "beside": self.beside,
            "without_faces": self.without,
            "false_faces": self.false,
            "models": {
                model: {key: asdict(self.figures(number, part)) for key, part in parts.items()}
                for number, model in enumerate(names)
            },
        }


def draw_photograph(chip: NDArray[np.uint8], row: int) -> Image.Image:
    """Paste a chip (S, S, 3) into an image, the same one for the same row of the data set."""
    random = _random(row)
    place = Place.draw(random)
    background = draw_background((place.width, place.height), random)
    return paste_face(Image.fromarray(chip), background, place)


def draw_empty(number: int) -> Image.Image:
    """Draw a negative, the same one for the same number."""
    random = _random(number, 1)
    place = Place.draw(random)
    return draw_background((place.width, place.height), random)


def _random(*key: int) -> np.random.Generator:
    return np.random.default_rng((SEED, *key))


def paste_face(chip: Image.Image, background: Image.Image, place: Place) -> Image.Image:
    """Paste a chip into an image; its border is repeated outwards and fades.

    So neither an edge nor a frame is visible, and all of the chip but its corners is.
    """
    pad = chip.width // 2
    wide = Image.fromarray(np.pad(np.asarray(chip), ((pad, pad), (pad, pad), (0, 0)), mode="edge"))
    side = place.face * (1 + 2 * FACE_MARGIN)
    extent = round(side * wide.width / chip.width)
    fine = wide.resize((2 * extent, 2 * extent), Image.Resampling.BICUBIC)  # against blur
    turned = fine.rotate(-place.tilt, Image.Resampling.BICUBIC)
    turned = turned.resize((extent, extent), Image.Resampling.BILINEAR)
    at = (np.arange(extent) + 0.5 - extent / 2) / side
    distance = np.hypot(at[:, None], at)  # (extent, extent), in sides of the chip
    begins, ends = FADE
    mask = np.clip((ends - distance) / (ends - begins), 0, 1)
    corner = round(place.x - extent / 2), round(place.y - extent / 2)
    picture = background.copy()
    picture.paste(turned, corner, Image.fromarray((255 * mask).astype(np.uint8)))
    return picture


def measure_photographs(
    predictor: Predictor,
    dataset: Dataset,
    split: str = "test",
    *,
    flip: bool = FLIP,
    batch_size: int = TrainConfig.batch_size,
    progress: ImageProgress = lambda done, total: None,
) -> Photographs:
    """Predict faces of a split pasted into photographs, and the chips themselves.

    On a seeded sample of the images with a group in all models. Raises DataError without any.
    """
    models = predictor.models
    rows = known_rows(models, dataset, split)
    if len(rows) > COUNT:
        rows = np.sort(_random().choice(rows, COUNT, replace=False))
    progress(0, total := len(rows) + NO_FACES)
    places = [Place.draw(_random(row)) for row in rows]
    chips = np.take(dataset.images, rows, axis=0)
    truths = [model.scheme.groups_of(dataset.ages[rows]) for model in models]
    found = np.zeros(len(rows), dtype=bool)
    right = np.zeros((len(models), len(rows)), dtype=bool)
    beside = false = 0
    pictures = chain(map(draw_photograph, chips, rows), map(draw_empty, range(NO_FACES)))
    answers = groupby(predictor.predict(pictures), lambda prediction: prediction.source)
    for number, (_, predictions) in enumerate(answers):
        faces: dict[Face, list[Prediction]] = {}
        for answer in predictions:
            if answer.face:
                faces.setdefault(answer.face, []).append(answer)
        progress(number + 1, total)
        if number >= len(rows):
            false += len(faces)
            continue
        shares = {face: overlap(face.box, places[number].box) for face in faces}
        best = max(faces, key=shares.__getitem__, default=None)
        found[number] = best is not None and shares[best] >= FOUND
        beside += len(faces) - int(found[number])
        if best and found[number]:
            right[:, number] = [
                answer.group == model.scheme.labels[truth[number]]
                for answer, model, truth in zip(faces[best], models, truths, strict=True)
            ]
    on_chips = [
        model.answer(chips, flip, batch_size).decided == truth
        for model, truth in zip(models, truths, strict=True)
    ]
    tilts, sides = np.transpose([(abs(place.tilt), place.face) for place in places])
    return Photographs(
        tilts, sides, found, right, np.array(on_chips), beside, without=NO_FACES, false=false
    )
