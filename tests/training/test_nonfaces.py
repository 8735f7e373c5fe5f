import numpy as np

from agecli.training import nonfaces


def test_every_kind_is_drawn_and_repeats_by_its_seed():
    count = len(nonfaces.KINDS) * 2
    pictures = nonfaces.draw_pictures(count, 48, 1)
    assert pictures.shape == (count, 48, 48, 3)
    assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures, nonfaces.draw_pictures(count, 48, 1))
    assert all(len(np.unique(picture)) > 2 for picture in pictures)
    differences = np.abs(pictures[:, None].astype(int) - pictures[None]).mean(axis=(2, 3, 4))
    assert differences[~np.eye(count, dtype=bool)].min() > 5


def test_held_kinds_are_none_of_the_others():
    assert not set(nonfaces.HELD) & set(nonfaces.KINDS)
    assert nonfaces.draw_pictures(3, 48, 1, held=True).shape == (3, 48, 48, 3)


def test_samples_are_cut_from_installed_packages_but_their_portraits():
    files = nonfaces._sample_files()
    assert any("matplotlib" in str(path) for path in files)
    assert not any("grace_hopper" in path.name for path in files)
    pieces = nonfaces.cut_samples(12, 40, 3)
    assert pieces.shape == (12, 40, 40, 3)
    np.testing.assert_array_equal(pieces, nonfaces.cut_samples(12, 40, 3))
