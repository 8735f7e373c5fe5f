"""A model that other programs can run: with all that lies before and behind it inside."""

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
"""(N, groups); and for a model that knows years, (N,) median age, (N, YEARS) their chances."""


class Portable(nn.Module):
    """Maps face crops as they are to answers: normalises, runs the model, divides into groups.

    The same as `LoadedModel` does without a mirror image, but resizing: PIL's, torch's and ONNX's
    differ by a level or more in some pixels, which moves probabilities by up to 0.01. So crops
    come in the model's own side, cut from the picture by PIL, as they do to the predictor's.
    Batch norms are folded, in the module given.
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
        """Map uint8 (N, S, S, 3) to OUTPUTS: all of them, or the first alone."""
        x = normalise(images.permute(0, 3, 1, 2).float(), self.mean, self.std)  # (N, 3, S, S)
        chances = torch.softmax(self.module(x) / self.temperature, dim=1)  # (N, groups or YEARS)
        if not self.knows_years:
            return (chances,)
        return sum_years(chances, self.matrix), median_ages(chances), chances
