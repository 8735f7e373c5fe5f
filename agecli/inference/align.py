"""Set faces upright and centred by the aligner's answers; numpy alone, so workers need no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import atan2, cos, degrees, exp, radians, sin
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agecli.config import FACE_MARGIN
from agecli.inference.crops import Box, crop_box, crop_face, side
from agecli.inference.faces import Face
from agecli.weights import aligner_file, read_aligner

LOOKS = 2
"""How often a face is looked at: the second time where the first look has put it."""
MIRRORED = np.array([1, -1, 1, -1, 1, 1], np.float32)
"""What a mirror does to the network's numbers: the sine and the shift to the right turn round."""
PIECE = 64
"""Faces that are looked at together."""
FARTHEST = 0.6
"""Most that a look may move a face, in sides of what it sees, and scale it by, as a logarithm."""
LOGIT, DETECTED, NEITHER = 1.28, 0.62, -7.5
"""What the aligner's logit, the detector's score and nothing count for in the log-odds of a face.

Logistic regression on the detector's finds down to -0.7, 249 of validation chips in scenes and 18
in pictures of no face, which it parts; then the constant was raised from -8.1, so that the even
chance lies at a logit of 5.7: 99 % of validation chips have more, though blurred, dark or covered.
"""
SAME = 0.35
"""Faces nearer to each other than this, in sides of the larger one, are one and the same."""

Pixels = NDArray[np.uint8]
FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class Estimates:
    """How faces lie in square pictures (N of them): where the frame of UTKFace's chips is."""

    angle: FloatArray
    """(N,) tilt in degrees, clockwise as seen."""
    scale: FloatArray
    """(N,) side of the frame, in sides of the picture."""
    shift: FloatArray
    """(N, 2) right and down from the picture's centre to the frame's, in sides of the picture."""
    confidence: FloatArray
    """(N,) probability that it is a face."""


@dataclass(frozen=True)
class _Frame:
    """A square in a picture: what the aligner looks at, and what it finds."""

    x: float
    y: float
    side: float
    angle: float

    @classmethod
    def around(cls, box: Box, angle: float) -> _Frame:
        return cls((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, side(box), angle)

    @property
    def box(self) -> Box:
        half = self.side / 2
        return self.x - half, self.y - half, self.x + half, self.y + half

    def shrunk(self, times: float) -> _Frame:
        return replace(self, side=self.side / times)

    def moved(self, pose: FloatArray) -> _Frame:
        """Go where a look finds the face: cosine, sine, log scale, right, down."""
        log_scale, right, down = np.clip(pose[2:5], -FARTHEST, FARTHEST).tolist()
        right, down = right * self.side, down * self.side
        c, s = cos(radians(self.angle)), sin(radians(self.angle))
        angle = self.angle + degrees(atan2(pose[1], pose[0]))
        return _Frame(
            self.x + c * right - s * down,
            self.y + s * right + c * down,
            self.side * exp(log_scale),
            (angle + 180) % 360 - 180,
        )


def refine(image: Image.Image, faces: Sequence[Face]) -> list[Face]:
    """Set the faces that were detected in an RGB picture anew: box, tilt and score.

    The box is where the detector would have it if the head were upright: `crop_box` makes of it,
    turned by the angle, what UTKFace's chips show. The score, 0 to 1, weighs the detector's with
    the aligner's own. Faces that turn out to be the same are merged.
    """
    frames = [_Frame.around(crop_box(face.box), face.angle) for face in faces]
    frames, logits = _settle([image] * len(frames), frames)
    refined: list[Face] = []
    for face, frame, logit in zip(faces, frames, logits, strict=True):
        left, top, right, bottom = map(round, frame.shrunk(1 + 2 * FACE_MARGIN).box)
        score = round(face_score(face.score, logit), 3)
        refined.append(Face((left, top, right, bottom), score, round(frame.angle, 1)))
    return _merged(refined)


def face_score(detected: float, logit: float) -> float:
    """Weigh the detector's score and the aligner's logit into one score, 0 to 1."""
    return 1 / (1 + exp(-(LOGIT * logit + DETECTED * detected + NEITHER)))


def estimate(pictures: Pixels, network: Network | None = None) -> Estimates:
    """Tell how the faces lie that uint8 pictures (N, S, S, 3) show; by the released aligner."""
    size = pictures.shape[1]
    whole = _Frame(size / 2, size / 2, size, 0.0)
    images = [Image.fromarray(picture) for picture in pictures]
    frames, logits = _settle(images, [whole] * len(images), network)
    places = np.array([(f.x, f.y, f.side, f.angle) for f in frames]).reshape(-1, 4)
    return Estimates(
        angle=places[:, 3],
        scale=places[:, 2] / size,
        shift=places[:, :2] / size - 0.5,
        confidence=1 / (1 + np.exp(-logits)),
    )


def align_chips(chips: Pixels) -> Pixels:
    """Set the faces upright and centred that uint8 chips (N, S, S, 3) show; gives as many."""
    size = chips.shape[1]
    images = [Image.fromarray(chip) for chip in chips]
    frames, _ = _settle(images, [_Frame(size / 2, size / 2, size, 0.0)] * len(images))
    turned = [
        crop_face(image, frame.box, size, frame.angle)
        for image, frame in zip(images, frames, strict=True)
    ]
    return np.stack(turned) if turned else chips


def _settle(
    images: Sequence[Image.Image], frames: Sequence[_Frame], network: Network | None = None
) -> tuple[list[_Frame], FloatArray]:
    """Look at a frame in each image, and again where its face is; give frames and logits (N,)."""
    network = network or load_network()
    settled: list[_Frame] = []
    logits: list[FloatArray] = []
    for start in range(0, len(frames), PIECE):
        piece = list(frames[start : start + PIECE])
        for _ in range(LOOKS):
            crops = [
                crop_face(image, frame.box, network.side, frame.angle)
                for image, frame in zip(images[start:], piece, strict=False)
            ]
            answers = _look(network, np.stack(crops))  # (n, 6)
            piece = [frame.moved(a) for frame, a in zip(piece, answers, strict=True)]
        settled += piece
        logits.append(answers[:, 5])
    return settled, np.concatenate(logits) if logits else np.zeros(0)


def _merged(faces: Iterable[Face]) -> list[Face]:
    """Keep the best of faces that lie on each other, and the order."""
    kept: list[Face] = []
    faces = list(faces)
    for face in sorted(faces, key=lambda face: face.score, reverse=True):
        if not any(_same(face.box, other.box) for other in kept):
            kept.append(face)
    return [face for face in faces if face in kept]


def _same(a: Box, b: Box) -> bool:
    right, down = (a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2
    return float(np.hypot(right, down)) < SAME * max(side(a), side(b))


def _look(network: Network, pictures: Pixels) -> FloatArray:
    """Average what the network says of pictures (N, S, S, 3) and of their mirror images."""
    plain, mirrored = np.split(network(np.concatenate([pictures, pictures[:, :, ::-1]])), 2)
    return (plain + mirrored * MIRRORED) / 2


class Network:
    """The aligner of a weights file in numpy, its batch norms folded into its convolutions."""

    def __init__(self, path: Path) -> None:
        metadata, tensors = read_aligner(path)
        self.side = metadata.image_size
        self._convs = []
        for number, stride in enumerate(metadata.strides):
            norm = f"convs.{number}.norm"
            gain = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + 1e-5)
            weight = tensors[f"convs.{number}.conv.weight"] * gain[:, None, None, None]
            bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * gain
            # (O, I, 3, 3) to (9 I, O): rows as `_columns` lays the pixels out
            matrix = weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))
            self._convs.append((np.ascontiguousarray(matrix), bias, stride))
        hidden = tensors["hidden.weight"]  # (H, C * h * w), of channels first
        rest = round((hidden.shape[1] / len(self._convs[-1][1])) ** 0.5)
        hidden = hidden.reshape(len(hidden), -1, rest, rest).transpose(2, 3, 1, 0)
        self._hidden = hidden.reshape(-1, hidden.shape[-1]), tensors["hidden.bias"]
        self._out = tensors["out.weight"].T, tensors["out.bias"]

    def __call__(self, pictures: Pixels) -> FloatArray:
        """Map uint8 pictures (N, 64, 64, 3) to (N, 6), as `agecli.models.aligner` says."""
        x = pictures.astype(np.float32)
        mean = x.mean(axis=(1, 2, 3), keepdims=True)
        x = (x - mean) / (x.std(axis=(1, 2, 3), keepdims=True) + 1)
        for matrix, bias, stride in self._convs:
            x = np.maximum(_columns(x, stride) @ matrix + bias, 0)  # (N, h, w, C)
        x = np.maximum(x.reshape(len(x), -1) @ self._hidden[0] + self._hidden[1], 0)
        return x @ self._out[0] + self._out[1]


def _columns(x: FloatArray, stride: int) -> FloatArray:
    """Lay out the 3×3 surroundings of each pixel (N, H, W, C) as (N, H/stride, W/stride, 9 C)."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1], x.shape[2]
    places = [(slice(i, i + height, stride), slice(j, j + width, stride))
              for i in range(3) for j in range(3)]  # fmt: skip
    return np.concatenate([padded[:, rows, columns] for rows, columns in places], axis=-1)


@cache
def load_network() -> Network:
    """Load the released aligner, once per process. Raises WeightsError where there is none."""
    return Network(aligner_file())
