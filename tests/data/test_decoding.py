"""Pictures become rows: pixels, digest, trace; or a reason."""

from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from agecli.data import patches
from agecli.data.archives import Place
from agecli.data.columns import Column
from agecli.data.decoding import DIGEST, Decoder, Task, warm_up
from agecli.data.pixels import PixelFile
from tests.data.pictures import textured


@pytest.fixture
def decoder(tmp_path):
    return Decoder(
        PixelFile(tmp_path, 4, 32), Column(tmp_path / "digests", DIGEST, 4),
        Column(tmp_path / "traces", patches.TRACE, 4), patches.fingerprint, patches.traces,
        lambda image: image.rotate(180) if image.width > 50 else None,
    )  # fmt: skip


def _tasks(folder, *cropped):
    for number, crop in enumerate(cropped):
        path = folder / f"{number}.png"
        textured(number, 96 if number < 2 else 40).save(path)
        yield Task(number, Place(str(path)), crop)


def _pixels(decoder, row):
    with decoder.images.reader() as read:
        return read(row)


def test_each_row_has_what_its_picture_has(decoder, tmp_path):
    tasks = [*_tasks(tmp_path, False, True, False, True)]
    assert decoder(tasks[:2]) + decoder(tasks[2:]) == ["", "", "", "no face found"]
    for task in tasks:
        data = (tmp_path / f"{task.row}.png").read_bytes()
        assert decoder.digests[task.row : task.row + 1].tobytes() == sha256(data).digest()
    stored = textured(1).rotate(180).resize((32, 32), Image.Resampling.BILINEAR)
    assert (_pixels(decoder, 1) == np.asarray(stored)).all()
    prints = np.array([patches.fingerprint(stored)])
    assert decoder.traces[1:2] == patches.traces(prints)
    assert not _pixels(decoder, 3).any() and not decoder.traces[3:4]["sums"].any()


def test_what_cannot_be_read_says_why_and_spares_the_others(decoder, tmp_path):
    tasks = [*_tasks(tmp_path, False, False, False)]
    (tmp_path / "0.png").unlink()
    (tmp_path / "1.png").write_bytes(b"no picture")
    missing, broken, fine = decoder(tasks)
    assert missing == "unreadable: no such file or directory"
    assert broken == "unreadable: not an image"
    assert fine == "" and _pixels(decoder, 2).any()
    assert decoder.digests[0:1].tobytes() == sha256(b"").digest()


def test_a_lost_picture_keeps_its_digest(decoder, tmp_path):
    (task,) = _tasks(tmp_path, False)
    assert decoder.lose(task, "the decoder crashed") == "unreadable: the decoder crashed"
    data = (tmp_path / "0.png").read_bytes()
    assert decoder.digests[0:1].tobytes() == sha256(data).digest()


def test_warming_up_is_no_work():
    assert warm_up([]) == []
