"""Inputs to break: small intact images, data sets, weights, runs and studies, made once."""

from __future__ import annotations

import io
import shutil
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from PIL import Image

from tests.archives import SPREAD_AGES, draw_face, write_faces
from tests.fuzz.watch import forked, run

PORTRAIT = Path(__file__).parents[2] / "demo" / "examples" / "astronaut.jpg"
CASES = Path(__file__).parents[3] / "shared" / "cases"
TRAIN = ("--image-size", "32", "--batch-size", "32", "--device", "cpu", "--workers", "1")
"""Settings of a training that takes a second."""


class Toys:
    """Whole inputs in a folder; each is made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def pictures(self) -> dict[str, bytes]:
        """Pictures of a face by file name, in every format that is read."""
        with Image.open(PORTRAIT) as portrait:
            face = portrait.convert("RGB").resize((160, 160), box=(95, 0, 351, 256))
        grey, palette = face.convert("L"), face.quantize(32)
        clear = face.convert("RGBA")
        clear.putalpha(grey)
        frames = [face.rotate(angle) for angle in (10, 20)]
        made = {
            "a.jpg": _encode(face, "JPEG"),
            "progressive.jpg": _encode(face, "JPEG", progressive=True, comment=b"x" * 300),
            "cmyk.jpg": _encode(face.convert("CMYK"), "JPEG"),
            "grey.jpeg": _encode(grey, "JPEG", exif=_exif(6)),
            "a.png": _encode(face, "PNG"),
            "palette.png": _encode(palette, "PNG"),
            "clear.png": _encode(clear, "PNG", icc_profile=bytes(500)),
            "deep.png": _encode(grey.convert("I;16"), "PNG"),
            "a.webp": _encode(face, "WEBP"),
            "lossless.webp": _encode(clear, "WEBP", lossless=True),
            "a.gif": _encode(palette, "GIF", save_all=True, append_images=frames),
            "a.bmp": _encode(face, "BMP"),
            "a.tif": _encode(face, "TIFF"),
            "lzw.tif": _encode(face, "TIFF", compression="tiff_lzw"),
            "jpeg.tif": _encode(face, "TIFF", compression="jpeg"),
            "float.tif": _encode(grey.convert("F"), "TIFF"),
            "a.avif": _encode(face, "AVIF"),
            "a.jp2": _encode(face, "JPEG2000"),
            "a.mpo": _encode(face, "MPO", save_all=True, append_images=frames),
        }
        if (heic := CASES / "IMG_0001.HEIC").exists():
            made["a.heic"] = heic.read_bytes()
        return made

    @cached_property
    def faces(self) -> Path:
        """A folder of 160 drawn faces under UTKFace's names."""
        write_faces(self.folder / "faces", SPREAD_AGES * 16, size=32)
        return self.folder / "faces"

    @cached_property
    def face(self) -> bytes:
        """A drawn face, as PNG."""
        return _encode(draw_face(28, 1), "PNG")

    @cached_property
    def dataset(self) -> Path:
        """A prepared data set of the faces."""
        return self._made("data", "prepare", self.faces, "data", "--size", 32, "--workers", 1)

    @cached_property
    def run(self) -> Path:
        """A cnn's run that was interrupted after two of its three epochs."""
        folder, data = self.folder / "run", self.dataset
        forked(lambda: _train_until_interrupted(folder, data))
        return folder

    @cached_property
    def study(self) -> Path:
        """A cnn's study of one trial."""
        return self._made(
            "study", "tune", "cnn", "--data", self.dataset, "--study", "study", "--trials", 1,
            "--epochs", 1, *TRAIN[:-2],
        )  # fmt: skip

    @cached_property
    def weights(self) -> dict[str, Path]:
        """Untrained weights files of each model by their name, and of a cnn as ONNX."""
        from tests.exporting.models import SIZES

        forked(self._write_weights)
        return {name: self.folder / name for name in (*map(_file, SIZES), "cnn.onnx")}

    def _write_weights(self) -> None:
        from agecli.exporting.export import export
        from tests.exporting.models import SIZES, write_model

        for name in SIZES:
            write_model(self.folder / _file(name), name)
        export(self.folder / _file("cnn"), self.folder / "cnn.onnx")

    def _made(self, name: str, *command: object) -> Path:
        outcome = run(*command, cwd=self.folder, limit=300)
        assert outcome.code == 0, outcome.err
        return self.folder / name

    def copy(self, toy: Path, folder: Path) -> Path:
        """Copy a toy to break it."""
        copy = shutil.copytree if toy.is_dir() else shutil.copyfile
        return Path(copy(toy, folder / toy.name))


def _train_until_interrupted(folder: Path, data: Path) -> None:
    import agecli
    from agecli.training.observer import Observer
    from agecli.training.records import Epoch

    class Interrupt(Observer):
        def finished_epoch(self, epoch: Epoch) -> None:
            if epoch.epoch == 2:
                raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        agecli.train(
            "cnn", run=folder, observer=Interrupt(), data=str(data), epochs=3, image_size=32,
            batch_size=32, device="cpu",
        )  # fmt: skip


def _file(model: str) -> str:
    return f"{model}.safetensors"


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif
