"""Dealing: whole families, evenly within each group, by content and seed alone."""

from collections import Counter
from functools import partial
from hashlib import sha256

import numpy as np
import pytest

from agecli.data.split import (
    TEST,
    TRAIN,
    VAL,
    Families,
    deal_folds,
    hold_out,
    join_persons,
    split_hash,
)


def _data(count=2000, seed=0):
    rng = np.random.default_rng(seed)
    families = rng.integers(count * 3 // 4, size=count)
    groups = rng.choice([-1, 0, 1, 2], p=[0.3, 0.1, 0.4, 0.2], size=count)
    return families, groups, _digests(count, seed)


def _digests(count, seed=0):
    hashes = [sha256(f"{seed} {number}".encode()).digest() for number in range(count)]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)


def _dealt(deal, families, groups, digests, seed=0):
    """Return what each image (N,) is dealt."""
    parts = Families.of(np.arange(len(families)), families, groups, digests, seed)
    result = np.empty(len(families), int)
    result[parts.rows] = parts.per_image(deal(parts))
    return result


def _split(families, groups, digests, seed=0):
    return _dealt(partial(hold_out, held=(TEST, VAL)), families, groups, digests, seed)


def _fold(count, families, groups, digests, seed=0):
    return _dealt(partial(deal_folds, count=count), families, groups, digests, seed)


DEALERS = [_split, partial(_fold, 5)]


@pytest.mark.parametrize("deal", DEALERS)
def test_a_family_lies_in_one_place(deal):
    families, groups, digests = _data()
    homes = {}
    for family, place in zip(families.tolist(), deal(families, groups, digests), strict=True):
        homes.setdefault(family, set()).add(place)
    assert max(Counter(families.tolist()).values()) > 3
    assert all(len(home) == 1 for home in homes.values())


def test_each_group_is_shared_out_80_10_10():
    _, groups, digests = _data()
    splits = _split(np.arange(2000), groups, digests)
    for group in (-1, 0, 1, 2):
        shares = Counter(splits[groups == group].tolist())
        total = (groups == group).sum()
        assert abs(shares[TEST] - total / 10) <= 1
        assert abs(shares[VAL] - total / 10) <= 1
        assert shares.total() == total


@pytest.mark.parametrize("single", [True, False], ids=["images", "families"])
def test_each_group_is_shared_out_evenly_to_folds(single):
    families, _, digests = _data()
    families = np.arange(2000) if single else families
    groups = families % 4 - 1
    folds = _fold(7, families, groups, digests)
    for group in (-1, 0, 1, 2):
        sizes = np.bincount(folds[groups == group], minlength=7)
        assert np.ptp(sizes) <= 1
    assert np.ptp(np.bincount(folds)) <= 1


def test_ten_pictures_of_a_group_give_one_to_each_held_out_split():
    splits = _split(np.arange(10), np.zeros(10, dtype=int), _digests(10))
    assert Counter(splits.tolist()) == {TRAIN: 8, VAL: 1, TEST: 1}


@pytest.mark.parametrize("deal", DEALERS)
def test_neither_order_nor_numbers_decide(deal):
    families, groups, digests = _data()
    order = np.random.default_rng(1).permutation(len(digests))
    names = np.random.default_rng(2).permutation(families.max() + 1)
    shuffled = deal(names[families[order]], groups[order], digests[order])
    assert (shuffled == deal(families, groups, digests)[order]).all()


def test_the_seed_decides():
    families, groups, digests = _data()
    same = np.mean(_split(families, groups, digests, 0) == _split(families, groups, digests, 1))
    assert 0.6 < same < 0.75  # 0.8² + 0.1² + 0.1² = 0.66 for independent splits


def test_a_family_counts_for_its_most_frequent_group():
    # One family of 50, mostly of group 1; were it dealt within group 0, group 0 would be uneven.
    families = np.array([0] * 50 + list(range(1, 1001)))
    groups = np.array([1] * 30 + [0] * 20 + [0] * 500 + [1] * 500)
    alone = Counter(_split(families, groups, _digests(1050))[50:550].tolist())
    assert alone == {TEST: 50, VAL: 50, TRAIN: 400}


def test_a_familys_smallest_digest_decides_on_its_place():
    """A second picture of each family, whose digest is larger, changes nothing."""
    digests = _digests(200)
    digests = digests[np.argsort([digest.tobytes() for digest in digests])]
    groups, families = np.zeros(100, dtype=int), np.arange(100)
    alone = _split(families, groups, digests[:100])
    both = np.concatenate([digests[:100], digests[:99:-1]])
    assert (_split(np.tile(families, 2), np.tile(groups, 2), both) == np.tile(alone, 2)).all()


@pytest.mark.parametrize("seed", range(20))
def test_a_huge_family_is_not_held_out(seed):
    """500 pictures of one person among 1,000, and 100 of a second."""
    families = np.array([0] * 500 + [1] * 100 + list(range(2, 402)))
    splits = _split(families, np.zeros(1000, dtype=int), _digests(1000), seed)
    assert (splits[:500] == TRAIN).all()
    assert 100 <= (splits == TEST).sum() <= 150
    assert 50 <= (splits == VAL).sum() <= 150


@pytest.mark.parametrize("seed", range(20))
def test_families_too_large_for_their_group_are_dealt_across_groups(seed):
    """40 persons with 50 pictures each, five of each of eight groups."""
    families = np.repeat(np.arange(40), 50)
    splits = _split(families, families % 8, _digests(2000), seed)
    assert Counter(splits.tolist()) == {TEST: 200, VAL: 200, TRAIN: 1600}


def test_few_persons_give_a_smallest_one_to_each_held_out_split():
    families = np.repeat(np.arange(4), [40, 30, 10, 20])
    splits = _split(families, np.zeros(100, dtype=int), _digests(100))
    assert (splits == np.repeat([TRAIN, TRAIN, TEST, VAL], [40, 30, 10, 20])).all()
    assert (_split(np.zeros(9, int), np.zeros(9, int), _digests(9)) == TRAIN).all()


def test_clusters_of_one_person_are_joined_along_chains():
    clusters = np.array([0, 1, 2, 3, -1, 1, 4, 5, -1])
    persons = np.array([7, 8, -1, 9, 7, 7, -1, 9, -1])
    joined = join_persons(clusters, persons)
    used = joined[clusters >= 0]
    assert (used[:, None] == used).tolist() == [
        [a == b for b in "xxyzxwz"] for a in "xxyzxwz"
    ]  # fmt: skip
    assert (joined[clusters < 0] == -1).all()


def test_split_hash_knows_pairs_not_their_order():
    digests, splits = ["aa", "bb", "cc"], ["train", "val", "test"]
    text = "aa train\nbb val\ncc test"
    assert split_hash(digests, splits) == sha256(text.encode()).hexdigest()
    assert split_hash(digests[::-1], splits[::-1]) == split_hash(digests, splits)
    assert split_hash(digests, splits[::-1]) != split_hash(digests, splits)
    with pytest.raises(ValueError, match="shorter"):
        split_hash(digests, splits[:2])
