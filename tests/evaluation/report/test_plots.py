import sys

import numpy as np
import pytest
from PIL import Image

from agecli.evaluation.report.plots import plot_confusion, plot_rates


@pytest.mark.parametrize("groups", [2, 8, 20])
def test_the_picture_is_a_png_with_both_panels(tmp_path, groups):
    path = tmp_path / "confusion.png"
    counts = np.diag(np.arange(groups) * 700)  # the first row is empty

    plot_confusion(path, counts, [f"{i}-{i}" for i in range(groups)], "cnn, 72.5 % exact")

    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width > 1.5 * image.height > 600
        pixels = np.asarray(image.convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0]) > 60  # full cells, of both panels
    middle = image.width // 2
    assert blue[:, :middle].any() and blue[:, middle:].any()


def test_drawing_leaves_pyplot_alone(tmp_path):
    loaded = "matplotlib.pyplot" in sys.modules
    plot_confusion(tmp_path / "c.png", [[3, 1], [0, 2]], ["0-2", "4-6"], "title")
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(OSError):
        plot_confusion(tmp_path / "none" / "c.png", [[3, 1], [0, 2]], ["0-2", "4-6"], "title")


def test_a_search_is_drawn_as_png_with_its_curve_and_choice(tmp_path):
    rates = np.geomspace(1e-7, 1, 60)
    plot_rates(tmp_path / "lr.png", rates, 4 - np.log1p(rates * 1e4), 1e-3)
    with Image.open(tmp_path / "lr.png") as image:
        assert image.format == "PNG"
        assert image.width > 1.5 * image.height > 600
        pixels = np.asarray(image.convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0]) > 60
    orange = (pixels[..., 0] - pixels[..., 2]) > 60
    assert np.ptp(np.nonzero(blue)[1]) > 0.7 * image.width  # the curve crosses the picture
    rows, columns = np.nonzero(orange)
    line = np.bincount(columns).argmax()  # the chosen rate stands upright, at its place
    assert np.ptp(rows[columns == line]) > 0.6 * image.height
    left, right = np.nonzero(blue)[1].min(), np.nonzero(blue)[1].max()
    assert (line - left) / (right - left) == pytest.approx(4 / 7, abs=0.03)
