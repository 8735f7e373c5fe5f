"""Decisions on images: own splits and folds, copies and persons across them, several sources."""

from collections import Counter
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from agecli.config import PrepareConfig
from agecli.data.decide import REASONS, Known, decide, decide_fold
from agecli.data.split import SPLITS, TEST, TRAIN, VAL

CONFIG = PrepareConfig()


def _known(count, **columns):
    """Make images that are all different, of one source and without own splits."""
    hashes = [sha256(f"{number}".encode()).digest() for number in range(count)]
    none = np.full(count, -1)
    known = Known(
        clusters=np.arange(count),
        ages=np.repeat(np.arange(count)[:, None] % 100, 2, axis=1),
        digests=np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32),
        sources=np.zeros(count, int), persons=none, splits=none, folds=none,
        doubtful=np.zeros(count, bool),
    )  # fmt: skip
    return replace(known, **{name: np.asarray(values) for name, values in columns.items()})


def _part(known, rows):
    return Known(**{name: values[rows] for name, values in vars(known).items()})


def _reasons(decided):
    return [REASONS[reason] for reason in decided.reasons]


def test_images_that_cannot_be_used_have_no_split_and_do_not_count():
    known = _known(2000, clusters=np.where(np.arange(2000) % 2, np.arange(2000), -1))
    decided = decide(known, replace(CONFIG, folds=5))
    assert (decided.splits[::2] == -1).all() and (decided.folds[::2] == -1).all()
    alone = decide(_part(known, np.arange(1, 2000, 2)), replace(CONFIG, folds=5))
    assert (decided.splits[1::2] == alone.splits).all()
    assert (decided.folds[1::2] == alone.folds).all()
    assert not decided.reasons.any()


def test_own_splits_are_kept_and_leaks_left_out():
    splits = [TRAIN, VAL, TEST, VAL, TRAIN, TRAIN, TRAIN, TEST]
    clusters = [0, 0, 1, 1, 1, 2, 2, 3]
    decided = decide(_known(8, clusters=clusters, splits=splits), CONFIG)
    assert decided.splits.tolist() == splits
    val, test = (f"its copy or person is in {split}" for split in ("val", "test"))
    assert _reasons(decided) == [val, "", "", test, test, "", "", ""]


def test_what_is_doubtful_does_not_train_and_moves_nothing():
    plain, doubted = _known(1000), _known(1000, doubtful=np.arange(1000) % 2 == 0)
    before, decided = (
        decide(plain, replace(CONFIG, folds=4)),
        decide(doubted, replace(CONFIG, folds=4)),
    )
    assert (before.splits == decided.splits).all() and (before.folds == decided.folds).all()
    train = decided.splits == TRAIN
    assert {*np.array(_reasons(decided))[train & doubted.doubtful]} == {"doubtful"}
    assert not decided.reasons[~train | ~doubted.doubtful].any()
    of_fold = decide_fold(replace(doubted, folds=decided.folds), 1, CONFIG)
    assert not of_fold.reasons[decided.folds == 1].any()
    left = (of_fold.splits == TRAIN) & doubted.doubtful
    assert (np.array(_reasons(of_fold))[left] == "doubtful").all() and left.sum() > 300


def test_own_splits_without_validation_get_a_tenth_of_training():
    known = _known(1000, splits=np.repeat([TRAIN, TEST], [800, 200]))
    decided = decide(known, CONFIG)
    assert (decided.splits[800:] == TEST).all()
    assert 70 <= (decided.splits[:800] == VAL).sum() <= 90
    assert not (decided.splits[:800] == TEST).any()


def test_a_sources_rows_keep_the_split_that_they_have_alone():
    known = _known(3000, sources=np.repeat([0, 1], [1000, 2000]))
    both = decide(known, replace(CONFIG, folds=4))
    for rows in (np.arange(1000), np.arange(1000, 3000)):
        alone = decide(_part(known, rows), replace(CONFIG, folds=4))
        assert (alone.splits == both.splits[rows]).all()
        assert (alone.folds == both.folds[rows]).all()


def test_a_cluster_across_sources_takes_the_strictest_split():
    known = _known(2000, sources=np.repeat([0, 1], 1000))
    alone = decide(known, CONFIG).splits
    joined = replace(known, clusters=np.tile(np.arange(1000), 2))
    decided = decide(joined, CONFIG)
    strictest = np.maximum(alone[:1000], alone[1000:])
    assert {*zip(alone[:1000].tolist(), alone[1000:].tolist(), strict=True)} >= {(0, 2), (2, 1)}
    assert (decided.splits == np.tile(strictest, 2)).all()
    assert not decided.reasons.any()


def test_what_is_dealt_follows_a_copy_with_a_split_of_its_own():
    own = np.repeat([TRAIN, VAL, TEST, -1], [500, 250, 250, 1000])
    known = _known(
        2000, sources=np.repeat([0, 1], 1000), clusters=np.tile(np.arange(1000), 2), splits=own,
        ages=np.repeat(np.tile(np.arange(1000) % 100, 2)[:, None], 2, axis=1),
    )  # fmt: skip
    decided = decide(known, CONFIG)
    assert (decided.splits == np.tile(own[:1000], 2)).all()
    assert not decided.reasons.any()


def test_persons_lie_in_one_split_and_one_fold():
    persons = np.random.default_rng(0).integers(300, size=2000)
    decided = decide(_known(2000, persons=persons), replace(CONFIG, folds=5))
    for places in (decided.splits, decided.folds):
        homes = {*zip(persons.tolist(), places.tolist(), strict=True)}
        assert len(homes) == len({*persons.tolist()})
    assert np.ptp(np.bincount(decided.folds)) <= 20
    assert not decided.reasons.any()


def test_copies_of_other_ages_are_dropped_from_training_only():
    ages = np.repeat(np.where(np.arange(2000) < 1000, 30, 36)[:, None], 2, axis=1)
    known = _known(2000, clusters=np.tile(np.arange(1000), 2), ages=ages)
    decided = decide(known, CONFIG)
    assert ((decided.reasons > 0) == (decided.splits == TRAIN)).all()
    assert {*_reasons(decided)} == {"", "copies more than 5 years apart"}
    assert not decide(known, replace(CONFIG, conflicts="keep")).reasons.any()


def test_own_folds_are_kept():
    folds = np.where(np.arange(1000) < 600, np.arange(1000) % 3, -1)
    assert (decide(_known(1000, folds=folds), CONFIG).folds == folds).all()
    decided = decide(_known(1000, folds=folds), replace(CONFIG, folds=3)).folds
    assert (decided[:600] == folds[:600]).all()
    assert np.ptp(np.bincount(decided[600:])) <= 1


@pytest.mark.parametrize("fold", range(4))
def test_a_fold_is_the_test_split_and_a_tenth_of_the_rest_validates(fold):
    persons = np.random.default_rng(0).integers(400, size=2000)
    known = _known(2000, persons=persons)
    known = replace(known, folds=decide(known, replace(CONFIG, folds=4)).folds)
    decided = decide_fold(known, fold, CONFIG)
    assert ((decided.splits == TEST) == (known.folds == fold)).all()
    counts = Counter(SPLITS[place] for place in decided.splits.tolist())
    assert 0.09 * 1500 <= counts["val"] <= 0.12 * 1500
    homes = {*zip(persons.tolist(), decided.splits.tolist(), strict=True)}
    assert len(homes) == len({*persons.tolist()})
    assert not decided.reasons.any()


def test_where_own_folds_part_a_person_the_test_fold_stays_whole():
    known = _known(1000, persons=np.arange(1000) // 2, folds=np.arange(1000) % 5)
    for fold in range(5):
        decided = decide_fold(known, fold, CONFIG)
        test = known.folds == fold
        assert (decided.splits[test] == TEST).all() and not decided.reasons[test].any()
        persons = {*known.persons[test].tolist()}
        leaks = ~test & np.isin(known.persons, [*persons])
        assert leaks.sum() == 200
        assert ((decided.reasons > 0) == leaks).all()
