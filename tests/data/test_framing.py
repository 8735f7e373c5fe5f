"""The sources whose faces are cropped, by a judge of some of their images."""

from pathlib import Path

import numpy as np
from PIL import Image

from agecli.config import PrepareConfig
from agecli.data import framing
from agecli.data.archives import Place
from agecli.data.framing import Verdict
from agecli.data.prepare import prepare
from agecli.data.receipt import Origin
from tests.data.pictures import write_set

SMALL, BRIGHT = PrepareConfig(size=32), 127


def brightness(pictures):
    """Judge that pictures are cropped if most are bright."""
    seen = [bool(np.asarray(picture).mean() > BRIGHT) for picture in pictures]
    return Verdict(2 * sum(seen) > len(seen), f"{sum(seen)} of {len(seen)} are bright")


def left_half(image: Image.Image) -> Image.Image:
    return image.crop((0, 0, image.width // 2, image.height))


def _plain(folder: Path, value: int, number: int) -> Path:
    write_set(folder, [f"{age}/{i}.jpg" for age in (5, 30) for i in range(number)])
    for path in folder.rglob("*.jpg"):
        noise = np.random.default_rng(int(path.stem)).integers(20, size=(24, 48, 1), dtype=np.uint8)
        noise[:, 24:] = 0
        Image.fromarray((noise + np.uint8(value)).repeat(3, axis=2)).save(path)
    return folder


def test_each_source_is_judged_by_its_own_pictures(tmp_path):
    sources = [_plain(tmp_path / "dark", 20, 5), _plain(tmp_path / "bright", 200, 5)]
    receipt = prepare(sources, tmp_path / "out", SMALL, crop=left_half, judge=brightness, workers=1)
    assert [(o.name, o.cropped, o.why) for o in receipt.origins] == [
        ("dark", False, "0 of 10 are bright"), ("bright", True, "10 of 10 are bright"),
    ]  # fmt: skip
    images = np.load(tmp_path / "out/images.npy")
    spread = images[..., -8:, :].std(axis=(1, 2, 3))  # the right side is plain unless cut off
    assert sorted(spread > 2) == [False] * 10 + [True] * 10


def test_without_a_judge_all_are_cropped_or_none():
    origins = {Path("a"): Origin("a", "folders")}
    assert framing.decide(origins, {}, left_half, None)[Path("a")].cropped
    assert not framing.decide(origins, {}, None, None)[Path("a")].cropped


def test_names_of_aligned_chips_are_believed():
    origins = {Path("a"): Origin("a", "utkface")}
    (origin,) = framing.decide(origins, {}, left_half, brightness).values()
    assert (origin.cropped, origin.why) == (False, "their names say that they are aligned chips")


def test_pictures_that_cannot_be_read_are_not_judged(tmp_path):
    source = _plain(tmp_path / "bright", 200, 2)
    (source / "5/0.jpg").write_bytes(b"broken")
    places = [Place(str(path)) for path in source.rglob("*.jpg")]
    origins = {source: Origin("bright", "folders")}
    (origin,) = framing.decide(origins, {source: places}, left_half, brightness).values()
    assert origin.why == "3 of 3 are bright"
