import numpy as np
from PIL import Image

from agecli.faces import Face
from agecli.inference.pictures import crop_view
from agecli.inference.stability import PERTURBATIONS, read_perturbed

SIDE = 24
VIEW = (SIDE, 0.0)


def image() -> Image.Image:
    """Red grows to the right, green downwards, from 60 on, by 2 a pixel."""
    y, x = np.mgrid[0:60, 0:60]
    return Image.fromarray(np.stack([60 + 2 * x, 60 + 2 * y, 100 + 0 * x], -1).astype(np.uint8))


def test_each_variant_changes_what_it_says():
    face = Face((10, 10, 60, 60), 1.0)
    reading = read_perturbed(image(), face, [VIEW, (48, 0.1)])
    crops = dict(zip(PERTURBATIONS, reading.crops[VIEW].astype(float), strict=True))
    assert len(reading.faces) == len(PERTURBATIONS) == 9
    assert reading.crops[(48, 0.1)].shape == (9, 48, 48, 3)
    plain = crops["as it is"]
    np.testing.assert_array_equal(plain, crop_view(image(), face, VIEW))
    inner = (slice(4, -4), slice(4, -4))
    step = 2 * 3  # 3 of the box's 50 pixels, at 2 levels a pixel
    for name, red, green in [("left", -1, 0), ("right", 1, 0), ("up", 0, -1), ("down", 0, 1)]:
        moved = (crops[name] - plain)[inner]
        assert np.abs(moved[..., 0] - red * step).max() <= 1, name
        assert np.abs(moved[..., 1] - green * step).max() <= 1, name
    np.testing.assert_array_equal(crops["mirrored"], plain[:, ::-1])
    assert abs(crops["darker"].mean() / plain.mean() - 0.7) < 0.01
    assert abs(crops["brighter"].mean() / plain.mean() - 1.3) < 0.01


def test_blurring_lowers_contrast_alone():
    board = Image.fromarray(
        (np.indices((60, 60)).sum(0) // 3 % 2 * 200).astype(np.uint8)
    ).convert("RGB")  # fmt: skip
    crops = (
        read_perturbed(board, Face((0, 0, 60, 60), 1.0), [(60, 0.0)]).crops[(60, 0.0)].astype(float)
    )
    blurred = crops[PERTURBATIONS.index("blurred")]
    assert blurred.std() < 0.9 * crops[0].std()
    assert abs(blurred.mean() - crops[0].mean()) < 2
