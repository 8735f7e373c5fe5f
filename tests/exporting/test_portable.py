"""A model with its pre- and postprocessing inside, against cases worked by hand."""

import torch
from torch import Tensor, nn

from agecli.ages import YEARS, Scheme
from agecli.exporting.portable import Portable

MEAN, STD = [0.5, 0.25, 0.0], [0.5, 0.25, 1.0]


class Red(nn.Module):
    """Answers with the mean of the red channel for one output, and 0 for all others."""

    def __init__(self, outputs: int, index: int) -> None:
        super().__init__()
        self.outputs, self.index = outputs, index

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.full((x.shape[0], self.outputs), -1e9)
        logits[:, 0] = 0
        logits[:, self.index] = x[:, 0].mean((1, 2))
        return logits


def test_groups():
    images = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)
    images[1, :, :, 0] = 255  # normalised, red is -1 and 1
    portable = Portable(
        Red(2, 1), scheme=Scheme.parse("0-20,21+"), knows_years=False, mean=MEAN, std=STD,
        temperature=0.5,
    )  # fmt: skip
    (groups,) = portable(images)
    torch.testing.assert_close(groups[:, 1], torch.sigmoid(torch.tensor([-2.0, 2.0])))


def test_years_on_gap_ages_count_for_no_group():
    images = torch.full((1, 4, 4, 3), 255, dtype=torch.uint8)
    scheme = Scheme.parse("0-2,30-40,50+")
    sure = torch.sigmoid(torch.tensor(1.0))  # of the year 35, and the rest of the year 0
    like = {"scheme": scheme, "knows_years": True, "mean": MEAN, "std": STD}
    groups, age, years = Portable(Red(YEARS, 35), **like)(images)
    torch.testing.assert_close(groups, torch.stack([1 - sure, sure, 0 * sure])[None])
    torch.testing.assert_close(age, 34.5 + (0.5 - (1 - sure))[None] / sure)
    torch.testing.assert_close(years[0, 35], sure)
    groups, age, _ = Portable(Red(YEARS, 20), **like)(images)
    torch.testing.assert_close(groups, torch.tensor([[1.0, 0, 0]]))
    torch.testing.assert_close(age, 19.5 + (0.5 - (1 - sure))[None] / sure)


def test_as_many_groups_as_years_are_groups():
    scheme = Scheme.parse(",".join(map(str, range(100))) + ",100+")
    images = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    portable = Portable(Red(YEARS, 1), scheme=scheme, knows_years=False, mean=MEAN, std=STD)
    (groups,) = portable(images)
    assert groups.shape == (1, YEARS)
