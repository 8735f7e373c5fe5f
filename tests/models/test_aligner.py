import torch

from agecli.models.aligner import OUTPUTS, SIDE, Aligner


def test_six_numbers_of_less_than_half_a_million_parameters():
    model = Aligner().eval()
    assert model(torch.rand(3, 3, SIDE, SIDE) * 255).shape == (3, OUTPUTS)
    assert sum(p.numel() for p in model.parameters()) < 500_000


def test_light_does_not_matter():
    torch.manual_seed(0)
    model = Aligner().eval()
    few = torch.rand(1, 3, 4, 4) * 100 + 50
    picture = torch.nn.functional.interpolate(few, SIDE, mode="bilinear")
    with torch.inference_mode():
        answer, brighter = model(picture), model(picture * 1.5 + 20)
        turned = model(picture.flip(2))
    assert (answer - brighter).abs().max() < 0.1 * (answer - turned).abs().max()
