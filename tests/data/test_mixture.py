"""The order of an epoch's rows: how often each source's images come."""

import numpy as np
import pytest

from agecli.data.batches import Batches
from agecli.data.mixture import Order, check_sources
from agecli.errors import UsageError

ROWS = np.arange(100, 200)
SOURCES = np.array(["large"] * 80 + ["small"] * 20)


def draw(shares: dict[str, float], seed: int = 0) -> np.ndarray:
    return Order(ROWS, SOURCES, shares).draw(np.random.default_rng(seed))


def test_without_shares_each_image_comes_once():
    assert sorted(draw({})) == ROWS.tolist()
    assert draw({}).tolist() != ROWS.tolist()


def test_shares_are_kept_in_an_epoch_of_the_same_length():
    drawn = draw({"large": 1, "small": 1})
    assert len(drawn) == 100
    small = drawn[drawn >= 180]
    assert len(small) == 50
    times = np.unique(small, return_counts=True)[1]
    assert len(times) == 20 and set(times) == {2, 3}  # none is preferred
    assert len(set(drawn[drawn < 180])) == 50  # and none of the others repeated
    assert (np.diff(drawn >= 180) != 0).sum() > 20  # mixed


def test_epochs_take_other_images_of_a_source_that_is_drawn_less():
    shares = {"large": 1, "small": 4}
    one, other = draw(shares, 1), draw(shares, 2)
    assert set(one[one < 180]) != set(other[other < 180])


def test_a_share_of_0_leaves_a_source_out():
    assert sorted(set(draw({"large": 0, "small": 1}))) == ROWS[80:].tolist()


def test_the_shares_of_a_source_without_images_go_to_the_others():
    order = Order(ROWS[:80], SOURCES[:80], {"large": 1, "small": 1})
    assert sorted(order.draw(np.random.default_rng(0))) == ROWS[:80].tolist()


def test_batches_follow_the_order():
    images = np.zeros((200, 2, 2, 3), np.uint8)
    order = Order(ROWS, SOURCES, {"large": 1, "small": 1})
    loader = Batches(images, ROWS, batch_size=10, shuffle=True, draw=order.draw)
    rows = np.concatenate([rows for _, rows in loader.epoch()])
    assert len(rows) == 100 and (rows >= 180).sum() == 50


def test_shares_name_each_source_of_the_data_set():
    check_sources({}, SOURCES)
    check_sources({"small": 1, "large": 0}, SOURCES)
    with pytest.raises(UsageError, match="--shares large=1,small=1"):
        check_sources({"small": 1}, SOURCES)
