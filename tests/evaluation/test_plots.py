import sys

import numpy as np
import pytest
from PIL import Image

from agecli.evaluation.plots import plot_confusion


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
