"""A model that other programs can run: with all that lies before and behind it inside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from agecli.ages import Scheme
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
        self,
        module: nn.Module,
        *,
        scheme: Scheme,
        mean: Sequence[float],
        std: Sequence[float],
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        fold(module)
        self.module = module
        self.scheme, self.mean, self.std, self.temperature = scheme, mean, std, temperature
        self.register_buffer("matrix", torch.from_numpy(scheme.year_matrix()))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map uint8 (N, S, S, 3) to OUTPUTS: all of them, or the first alone."""
        x = normalise(images.permute(0, 3, 1, 2).float(), self.mean, self.std)  # (N, 3, S, S)
        chances = torch.softmax(self.module(x) / self.temperature, dim=1)  # (N, groups or YEARS)
        if chances.shape[1] == len(self.scheme):
            return (chances,)
        groups = chances @ self.matrix + 1e-12  # (N, groups)
        return groups / groups.sum(dim=1, keepdim=True), _median_ages(chances), chances


def _median_ages(chances: Tensor) -> Tensor:
    """Return the median age (N,) of year distributions (N, YEARS), as `agecli.ages` does."""
    below = chances.cumsum(dim=1)
    year = (below < 0.5).sum(dim=1, keepdim=True)
    beyond = below.gather(1, year) - 0.5
    return (year + 0.5 - beyond / chances.gather(1, year))[:, 0]
