"""A model that other programs can run, including its pre- and postprocessing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from agecli.ages import Scheme, median_ages, sum_years
from agecli.data.batches import normalise
from agecli.models.blocks import fold

INPUT = "images"
"""uint8 (N, S, S, 3), RGB crops of the model's own side."""
OUTPUTS = ("probabilities", "age", "years")
"""(N, groups); for a model of years also (N,) median age and (N, YEARS) probabilities."""


class Portable(nn.Module):
    """Maps raw face crops to predictions: normalises, runs the model, sums into groups.

    The same as `LoadedModel` without mirrored images, except resizing: PIL's, torch's and ONNX's
    differ by a level or more in some pixels, which changes probabilities by up to 0.01. So crops
    come in the model's own side, cut from the image by PIL, as in the predictor.
    Batch norms are folded in place.
    """

    matrix: Tensor

    def __init__(
        self, module: nn.Module, *, scheme: Scheme, knows_years: bool, mean: Sequence[float],
        std: Sequence[float], temperature: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        fold(module)
        self.module, self.knows_years = module, knows_years
        self.mean, self.std, self.temperature = mean, std, temperature
        self.register_buffer("matrix", torch.from_numpy(scheme.year_matrix()))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map uint8 (N, S, S, 3) to OUTPUTS: all of them, or only the first."""
        x = normalise(images.permute(0, 3, 1, 2).float(), self.mean, self.std)  # (N, 3, S, S)
        chances = torch.softmax(self.module(x) / self.temperature, dim=1)  # (N, groups or YEARS)
        if not self.knows_years:
            return (chances,)
        return sum_years(chances, self.matrix), median_ages(chances), chances
