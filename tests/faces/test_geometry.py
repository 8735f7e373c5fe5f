"""Geometry, against numpy's least squares and against transforms that are known."""

import numpy as np
import pytest

from agecli.faces.geometry import (
    Face,
    Similarity,
    centre,
    corners,
    fit_similarity,
    misfit,
    overlap,
    scaled,
    side,
    square_around,
    turn,
)

POINTS = [(55.9, 58.1), (137.4, 58.5), (95.7, 104.6), (61.5, 134.7), (134.7, 133.9)]


def box(x: float, y: float = 0, side: float = 100) -> tuple[float, float, float, float]:
    return x, y, x + side, y + side


def test_overlap():
    assert overlap(box(0), box(0)) == 1
    assert overlap(box(0), box(50)) == pytest.approx(50 / 150)
    assert overlap(box(0), box(100)) == 0
    assert overlap(box(0), box(25, 25, 50)) == 0.25
    assert overlap(box(0, side=0), box(0, side=0)) == 0
    for right, down in ((200, 0), (0, 200), (200, 200), (-200, 300)):
        assert overlap(box(0), box(right, down)) == 0
    assert overlap((0, 0, 40, 10), (10, 5, 20, 105)) == pytest.approx(50 / (400 + 1000 - 50))


def test_the_middle_and_the_longer_side_of_a_box():
    assert centre((10, 20, 40, 30)) == (25, 25)
    assert side((10, 20, 40, 30)) == 30
    assert side((10, 20, 40, 100)) == 80
    assert square_around((25, 40), 10) == (20, 35, 30, 45)


def test_a_turn_is_clockwise_as_seen():
    assert turn((1, 0), 90) == pytest.approx((0, 1))
    turned = corners((0, 0, 10, 10), 90)
    np.testing.assert_allclose(turned, [(10, 0), (10, 10), (0, 10), (0, 0)], atol=1e-9)
    turned = corners((0, 0, 20, 10), 90)  # a lying box around (10, 5) then stands
    np.testing.assert_allclose(turned, [(15, -5), (15, 15), (5, 15), (5, -5)], atol=1e-9)


@pytest.mark.parametrize(("scale", "angle"), [(0.3, 0), (2.5, 30), (1, -170), (7, 91)])
def test_a_known_similarity_is_found_again(scale: float, angle: float):
    known = Similarity(scale, angle, (17.0, -200.0))
    target = [known(point) for point in POINTS]
    found = fit_similarity(POINTS, target)
    assert (found.scale, found.angle) == pytest.approx((scale, angle))
    assert found.shift == pytest.approx(known.shift)
    assert misfit(found, POINTS, target) == pytest.approx(0, abs=1e-9)


def test_the_fit_is_the_least_squares_of_numpy():
    """With c and s for scale times cosine and sine the problem is linear: u = c x - s y + a."""
    target = np.random.default_rng(0).uniform(0, 500, (5, 2))
    x, y = np.array(POINTS).T
    one, none = np.ones(5), np.zeros(5)
    matrix = np.block([[x[:, None], -y[:, None], one[:, None], none[:, None]],
                       [y[:, None], x[:, None], none[:, None], one[:, None]]])  # fmt: skip
    (c, s, a, b), squares, *_ = np.linalg.lstsq(matrix, target.T.reshape(-1), rcond=None)
    found = fit_similarity(POINTS, target.tolist())
    assert found.scale == pytest.approx(np.hypot(c, s))
    assert found.angle == pytest.approx(np.degrees(np.arctan2(s, c)))
    assert found.shift == pytest.approx((a, b))
    assert misfit(found, POINTS, target.tolist()) == pytest.approx(np.sqrt(squares[0] / 5))


def test_a_face_scales_with_its_picture():
    face = Face((10, 20, 30, 40), 0.9, 7.0, ((12.0, 24.5),))
    assert scaled(face, 4) == Face((40, 80, 120, 160), 0.9, 7.0, ((48.0, 98.0),))
    assert scaled(face, 1) is face
    assert scaled(Face((10, 21, 31, 41), 0.9, 0.0, ((12.34, 0.0),)), 0.5) == Face(
        (5, 10, 16, 20), 0.9, 0.0, ((6.2, 0.0),)
    )


def test_a_face_is_upright_and_without_points_until_they_are_known():
    assert Face((0, 0, 1, 1), 0.5) == Face((0, 0, 1, 1), 0.5, 0.0, ())
    assert {Face((0, 0, 1, 1), 0.5): "a key"}[Face((0, 0, 1, 1), 0.5)] == "a key"
