from math import cos, log, pi, radians, sin

import pytest
import torch

from agecli.training import disturb
from agecli.training.disturb import Draw


def make_draw(seed: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed))


def test_poses_fill_the_stated_range_and_a_share_lies_near():
    poses = disturb.draw_poses(4000, make_draw())
    angle, scale, right, down = poses.T
    assert angle.abs().max() == pytest.approx(radians(45), rel=0.02)
    assert (scale.min(), scale.max()) == pytest.approx((log(0.6), log(1.6)), abs=0.02)
    assert right.abs().max() == pytest.approx(0.25, rel=0.02)
    assert down.abs().max() == pytest.approx(0.25, rel=0.02)
    near = (angle.abs() < radians(45 * 0.3)).float().mean()
    assert near == pytest.approx(0.4 + 0.6 * 0.3, abs=0.03)


@pytest.mark.parametrize(
    ("angle", "scale", "right", "down"),
    [(0, 1, 0, 0), (0, 1, 0.2, -0.1), (40, 0.7, -0.1, 0.2), (-30, 1.3, 0.1, 0)],
)
def test_a_chip_lies_where_its_pose_says(angle: float, scale: float, right: float, down: float):
    """A point right below the middle: its place is worked out from the angle, by hand."""
    chips = torch.zeros(8, 3, 80, 80)
    chips[:, :, 56:60, 38:42] = 255  # 0.225 sides below the middle, on the line of mirroring
    pose = torch.tensor([[radians(angle), log(scale), right, down]]).expand(8, 4)
    pictures = disturb.place(chips, pose, 64, make_draw())
    turned = radians(angle)  # clockwise as seen: what is below goes left
    x = 0.5 + right - sin(turned) * 0.225 * scale
    y = 0.5 + down + cos(turned) * 0.225 * scale
    reach = torch.arange(64)
    for picture in pictures[1:4]:  # the first is reflected, the last have pieces of others
        weight = picture[0].clamp(min=30) - 30
        across = (weight.sum(0) * (reach + 0.5)).sum() / weight.sum() / 64
        below = (weight.sum(1) * (reach + 0.5)).sum() / weight.sum() / 64
        assert (across, below) == (pytest.approx(x, abs=0.02), pytest.approx(y, abs=0.02))


def test_beyond_a_chip_lies_no_frame_of_black():
    chips = torch.full((32, 3, 40, 40), 200.0)
    pose = torch.tensor([[pi / 4, log(0.6), 0.0, 0.0]]).expand(32, 4)
    assert disturb.place(chips, pose, 32, make_draw()).min() > 199


def test_hidden_faces_are_other_pictures_than_the_chips():
    torch.manual_seed(0)
    chips = torch.rand(40, 3, 10, 10).repeat_interleave(8, 2).repeat_interleave(8, 3) * 255
    hidden = disturb.hide_face(chips, 64, make_draw())
    assert hidden.shape == (40, 3, 64, 64)
    assert torch.isfinite(hidden).all()
    same = torch.nn.functional.interpolate(chips, 64, mode="bilinear", antialias=True)
    assert ((hidden - same).abs().mean(dim=(1, 2, 3)) > 10).all()


def test_all_is_repeated_by_the_same_generator_and_stays_in_range():
    chips = torch.rand(12, 3, 40, 40) * 255

    def lesson(seed: int) -> torch.Tensor:
        draw = make_draw(seed)
        poses = disturb.draw_poses(12, draw)
        return disturb.worsen(disturb.place(chips, poses, 32, draw), draw)

    assert torch.equal(lesson(1), lesson(1))
    assert not torch.equal(lesson(1), lesson(2))
    assert lesson(1).min() >= 0
    assert lesson(1).max() <= 255


def test_pictures_of_no_face_are_shown_from_within():
    images = torch.full((6, 3, 30, 30), 90.0)
    turned = disturb.turn_any(images, 32, make_draw())
    assert turned.shape == (6, 3, 32, 32)
    torch.testing.assert_close(turned, torch.full_like(turned, 90.0))
