"""Photographs made of the public-domain portrait: where its face is found, and what is counted."""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from agecli.ages import Scheme
from agecli.decision import LIKELIEST
from agecli.evaluation import photographs
from agecli.evaluation.backgrounds import draw_background
from agecli.evaluation.photographs import (
    Place,
    draw_empty,
    draw_photograph,
    measure_photographs,
    paste_face,
)
from agecli.evaluation.report.tables import photographs_grids
from agecli.faces import Face, align, crop, detect
from agecli.faces.geometry import overlap
from agecli.inference.model import Model
from agecli.inference.prediction import Prediction

PORTRAIT = Path(__file__).parents[2] / "demo/examples/astronaut.jpg"
AGES = [28, 28, 65, 1]


@pytest.fixture(scope="module")
def chip() -> np.ndarray:
    """Return the portrait's face as a chip of 200 px."""
    with Image.open(PORTRAIT) as image:
        image = image.convert("RGB")
    (face,) = detect(image)
    return crop(image, align(face), 200)


@pytest.mark.parametrize(("face", "tilt"), [(90, 0), (180, 8), (240, -8)])
def test_a_pasted_face_is_found_where_it_was_put(chip, face, tilt):
    background = draw_background((640, 480), np.random.default_rng(0))
    place = Place(640, 480, x=380, y=250, face=face, tilt=tilt)
    (face,) = map(align, detect(paste_face(Image.fromarray(chip), background, place)))
    assert overlap(face.box, place.box) > 0.7


def test_the_pasted_chip_is_there_turned_clockwise_and_its_surroundings_fade():
    chip = np.zeros((200, 200, 3), np.uint8)
    chip[:, 100:] = 255  # light on the right
    background = Image.new("RGB", (640, 480), (0, 0, 255))
    place = Place(640, 480, x=320, y=240, face=200 / 1.132, tilt=90)
    pixels = np.asarray(paste_face(Image.fromarray(chip), background, place)).astype(int)
    assert (pixels[300, 260:380] > 250).all()  # what was right is below
    assert (pixels[180, 260:380] < 5).all()
    assert (pixels[240, :130] == (0, 0, 255)).all()  # 0.95 sides from the centre
    fading = pixels[300, 420:520, 0]
    assert (np.diff(fading) <= 0).all() and fading[0] > 250 and fading[-1] == 0
    assert fading[37] == pytest.approx(127, abs=2)  # 60.5 down, 137.5 right: 0.75 sides


def test_places_hold_to_their_bounds_and_pictures_to_their_rows(chip):
    places = [Place.draw(np.random.default_rng(seed)) for seed in range(200)]
    assert all(60 <= p.face <= 300 and abs(p.tilt) <= 30 for p in places)
    assert all(
        p.box[0] >= 0 and p.box[1] >= 0 and p.box[2] <= p.width and p.box[3] <= p.height
        for p in places
    )
    assert min(p.face for p in places) < 65 and max(p.face for p in places) > 275
    same, again, other = (
        draw_photograph(chip, 5),
        draw_photograph(chip, 5),
        draw_photograph(chip, 6),
    )
    assert same == again != other
    assert draw_empty(5) == draw_empty(5) != draw_empty(6)


class Data:
    """Four chips whose first value is their row."""

    folder = "data"
    ages = np.array(AGES)
    images = np.zeros((4, 20, 20, 3), np.uint8) + np.arange(4, dtype=np.uint8)[:, None, None, None]

    def rows(self, split: str) -> np.ndarray:
        return np.arange(4)


class Sure(Model):
    """Predicts 25-32 for every chip."""

    scheme = Scheme.parse("adience8")
    metadata = SimpleNamespace(knows_years=False, decision=LIKELIEST, sets=None)

    def __init__(self) -> None:
        """Return no file."""

    def distributions(self, images: np.ndarray, flip: bool = False) -> np.ndarray:
        return np.eye(8)[np.full(len(images), 4)]


class Finder:
    """Finds three faces of the four, one with a badge beside it, and a face in one empty picture.

    The first is well placed and right, the second well placed and wrong, the third right but
    elsewhere; of the last it finds nothing.
    """

    def __init__(self) -> None:
        self.models = [Sure()]

    def predict(self, pictures):
        places = [Place.draw(photographs._random(row)) for row in range(4)]
        for number, picture in enumerate(pictures):
            assert isinstance(picture, Image.Image)
            name = f"picture {number}"
            box = places[number].box if number < 4 else (0, 0, 9, 9)
            shifted = tuple(end + 0.6 * places[2].face for end in box)
            badge = Prediction(name, Face((0, 0, 3, 3), 0.6), "m", "60+")
            rows = {
                0: [badge, Prediction(name, Face(box, 0.9), "m", "25-32")],
                1: [Prediction(name, Face(box, 0.9), "m", "60+")],
                2: [Prediction(name, Face(shifted, 0.9), "m", "60+")],
                5: [badge],
            }.get(number, [Prediction(name, status="no_face")])
            yield from rows


def test_detections_and_predictions_are_counted_as_by_hand(monkeypatch):
    monkeypatch.setattr(photographs, "NO_FACES", 3)
    seen = []
    result = measure_photographs(Finder(), Data(), progress=lambda *done: seen.append(done))
    assert result.found.tolist() == [True, True, False, False]
    assert result.right.tolist() == [[True, False, False, False]]
    assert result.on_chips.tolist() == [[True, True, False, False]]
    assert (result.beside, result.without, result.false) == (2, 3, 1)
    assert seen[0] == (0, 7) and seen[-1] == (7, 7)

    every = result.figures(0, np.ones(4, dtype=bool))
    assert (every.n, every.exact, every.chips) == (4, 1 / 4, 1 / 2)
    assert (every.exact_found, every.chips_found) == (1 / 2, 1)
    plain = result.plain(["sure"])
    assert plain["models"]["sure"]["all"] == asdict(every) and plain["found"]["all"] == 1 / 2
    (grid,) = photographs_grids(result, ["sure"])
    first, *parts = (row.cells for row in grid.rows)
    assert first[:5] == ("all", "4", "50.0%", "50.0%", "25.0%") and first[5].startswith("-25.0 ±")
    assert len(grid.head) == len(first) and sum(int(p[1]) for p in parts if "tilt" in p[0]) == 4
    assert sum(int(p[1]) for p in parts if "face" in p[0]) == 4


def test_more_images_than_wanted_are_sampled_the_same_way_each_time(monkeypatch):
    monkeypatch.setattr(photographs, "NO_FACES", 0)
    monkeypatch.setattr(photographs, "COUNT", 2)
    drawn = []

    def predict(pictures):
        drawn.append([picture.size for picture in pictures])
        return (Prediction(f"picture {n}", status="no_face") for n in range(len(drawn[-1])))

    predictor = SimpleNamespace(models=[Sure()], predict=predict)
    for _ in range(2):
        assert len(measure_photographs(predictor, Data()).found) == 2
    assert drawn[0] == drawn[1]
