"""What a portrait lacks once it is blurred, darkened or small."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from agecli.faces import crop, detect
from agecli.inference.flaws import find_flaws, sharpness

PORTRAIT = Path(__file__).parents[2] / "demo/examples/astronaut.jpg"


@pytest.fixture(scope="module", params=[96, 160])
def face(request) -> Image.Image:
    with Image.open(PORTRAIT) as image:
        image = image.convert("RGB")
    return Image.fromarray(crop(image, detect(image)[0], request.param))


def flaws(image: Image.Image, side: float = 200) -> tuple[str, ...]:
    return find_flaws(np.asarray(image), side)


def test_a_good_picture_lacks_nothing_and_a_small_face_pixels(face: Image.Image):
    assert flaws(face) == flaws(face, 48) == ()
    assert flaws(face, 47) == ("small",)


def test_blur_is_told_by_its_share_of_the_face(face: Image.Image):
    blurred = [face.filter(ImageFilter.GaussianBlur(share * face.width)) for share in (0.01, 0.06)]
    assert [flaws(image) for image in blurred] == [(), ("blurred",)]


def test_darkness_is_no_blur_and_light_changes_no_blur(face: Image.Image):
    assert flaws(face.point(lambda value: value // 10)) == ("dark",)
    blurred = face.filter(ImageFilter.GaussianBlur(0.06 * face.width))
    assert flaws(blurred.point(lambda value: value // 2), 20) == ("small", "blurred")


def test_sharpness_is_the_laplacian_by_the_deviation():
    board = np.indices((8, 8)).sum(axis=0) % 2 * 10.0
    assert sharpness(board) == 40 / 5  # each square differs by 10 from each of its neighbours
    assert sharpness(board * 3 + 7) == pytest.approx(8)
    assert sharpness(np.full((8, 8), 9.0)) == 0
