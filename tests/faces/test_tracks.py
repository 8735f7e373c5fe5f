"""Following boxes, against where they were put."""

from __future__ import annotations

from agecli.faces.tracks import GONE_AFTER, Tracker


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


def test_a_missed_face_is_found_again_and_a_gone_one_dropped():
    tracker = Tracker()
    tracker.update(0, [box(0), box(500)])
    later = GONE_AFTER - 0.1
    assert tracker.update(later / 2, [box(0)]) == ([1], [])
    assert tracker.update(later, [box(0), box(500)]) == ([1, 2], [])
    assert tracker.update(later + GONE_AFTER, [box(0)]) == ([1], [2])
    assert tracker.update(later + GONE_AFTER + 0.1, [box(500)])[0] == [3]


def test_at_a_cameras_rate_a_trembling_box_keeps_its_number_while_it_is_hidden():
    """From frame to frame it jitters by 4 px: a speed of 120 px/s that it does not have."""
    tracker = Tracker()
    for frame in range(31):
        assert tracker.update(frame / 30, [box(4 * (frame % 2))])[0] == [1]
    assert tracker.update(2.5, [box(0)])[0] == [1]


def test_a_new_face_elsewhere_is_a_new_number():
    tracker = Tracker()
    tracker.update(0, [box(0)])
    assert tracker.update(0.5, [box(130), box(20)])[0] == [2, 1]
    assert tracker.update(1.0, [])[0] == []


def test_boxes_that_share_a_tenth_are_one_face():
    """Squares of 110 px, moved by 90: they share 20 x 110 of 200 x 110."""
    for moved, number in ((90, 1), (91, 2)):
        tracker = Tracker()
        tracker.update(0, [box(0, side=110)])
        assert tracker.update(1, [box(moved, side=110)])[0] == [number]


def test_a_face_is_dropped_after_two_and_a_half_seconds():
    tracker = Tracker()
    tracker.update(10, [box(0)])
    assert tracker.update(12.4, [])[1] == []
    assert tracker.update(12.5, []) == ([], [1])
    assert tracker.update(12.6, []) == ([], [])


def follows(seen: dict[float, tuple[float, float]], last: float, x: float, y: float) -> bool:
    """Return whether a face of 40 px, seen at times and places, is expected around a place."""
    answers = []
    for right, down in ((20, 0), (-20, 0), (0, 20), (0, -20), (0, 0)):  # 30 px would be too far
        tracker = Tracker()
        for seconds, place in seen.items():
            assert tracker.update(seconds, [box(*place, side=40)])[0] == [1]
        answers += tracker.update(last, [box(x + right, y + down, side=40)])[0]
    return answers == [1] * 5


def test_a_hidden_face_is_expected_where_its_speed_takes_it():
    """20 px a second to the right and 10 upwards, for 1.5 seconds more."""
    assert follows({0: (0, 0), 1: (20, -10)}, 2.5, 50, -25)
    assert follows({4: (10, 0), 5: (30, -15), 6: (45, -5)}, 7, 60, 5)  # its last speed counts


def test_a_speed_is_averaged_over_half_a_second():
    """After a quarter of a second half of 100 px a second is believed, then half of the rest."""
    assert follows({0: (0, 0), 0.25: (25, 12)}, 1.25, 75, 36)
    assert follows({0: (0, 0), 0.25: (25, 12), 0.5: (50, 24)}, 1.5, 125, 60)


def test_two_frames_of_the_same_time_are_followed():
    tracker = Tracker()
    assert [tracker.update(1, [box(x)])[0] for x in (0, 10, 5)] == [[1]] * 3
    assert tracker.update(1.5, [box(8)])[0] == [1]


def test_of_two_boxes_on_one_face_the_nearer_is_it():
    tracker = Tracker()
    tracker.update(0, [box(0)])
    assert tracker.update(0.5, [box(40), box(10), box(30)])[0] == [2, 1, 3]
