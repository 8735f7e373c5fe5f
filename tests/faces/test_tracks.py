"""Following boxes, against where they were put."""

from __future__ import annotations

from agecli.faces.tracks import PATIENCE, Tracker


def box(x: float, y: float = 0, side: float = 100) -> tuple[float, float, float, float]:
    return x, y, x + side, y + side


def test_crossing_faces_keep_their_numbers():
    """They meet at x = 300, where the one in front hides the other."""
    tracker = Tracker()
    for step in range(13):
        right, left = box(50 * step), box(600 - 50 * step)
        seen = [right] if step == 6 else [left, right] if step % 2 else [right, left]
        numbers, lost = tracker.update(step / 2, seen)
        assert numbers == ([1] if step == 6 else [2, 1] if step % 2 else [1, 2])
        assert lost == []


def test_order_does_not_matter_where_faces_are_close():
    for order in (1, -1):
        tracker = Tracker()
        tracker.update(0, [box(0), box(60)])
        assert tracker.update(1, [box(30), box(90)][::order])[0] == [1, 2][::order]


def test_a_missed_face_is_found_again_and_a_gone_one_given_up():
    tracker = Tracker()
    tracker.update(0, [box(0), box(500)])
    later = PATIENCE - 0.1
    assert tracker.update(later / 2, [box(0)]) == ([1], [])
    assert tracker.update(later, [box(0), box(500)]) == ([1, 2], [])
    assert tracker.update(later + PATIENCE, [box(0)]) == ([1], [2])
    assert tracker.update(later + PATIENCE + 0.1, [box(500)])[0] == [3]


def test_at_a_cameras_rate_a_trembling_box_keeps_its_number_while_it_is_hidden():
    """From frame to frame it moves by 4 px, to and fro: a speed of 120 px/s that it has not."""
    tracker = Tracker()
    for frame in range(31):
        assert tracker.update(frame / 30, [box(4 * (frame % 2))])[0] == [1]
    assert tracker.update(2.5, [box(0)])[0] == [1]


def test_a_new_face_elsewhere_is_a_new_number():
    tracker = Tracker()
    tracker.update(0, [box(0)])
    assert tracker.update(0.5, [box(130), box(20)])[0] == [2, 1]
    assert tracker.update(1.0, [])[0] == []
