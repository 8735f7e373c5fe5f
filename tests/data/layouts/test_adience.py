"""Adience: five tables of folds, a folder per person."""

import shutil
import tarfile

import pytest

from agecli.ages import Age
from agecli.data.labels import Label
from agecli.errors import DataError
from tests.data.layouts.made_up import adience, labels, listing_of


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [("aligned", "landmark_aligned_face"), ("faces", "coarse_tilt_aligned_face")],
)
def test_ages_sexes_persons_and_folds_are_read(tmp_path, kind, prefix):
    found = labels(adience(tmp_path / "adience", kind))
    assert len(found) == 19
    assert found[f"{kind}/0@N00/{prefix}.0.10_ab_o.jpg"] == Label(
        Age(0, 2), "female", person="0@N00", fold=0
    )
    assert found[f"{kind}/8@N00/{prefix}.18.118_ab_o.jpg"] == Label(
        Age(60, 100), "", person="8@N00", fold=4
    )
    assert found[f"{kind}/1@N00/{prefix}.3.13_ab_o.jpg"].age == (35, 35)


def test_a_face_without_an_age_is_left_out_by_name(tmp_path):
    source = adience(tmp_path / "adience")
    origin = listing_of(source).origins[source]
    assert (origin.layout, origin.by) == ("adience", "fold_0_data.txt and 4 more")
    (left,) = origin.left_out.items()
    assert left[0] == "no age in fold_4_data.txt"
    assert left[1].files == ["aligned/9@N00/landmark_aligned_face.19.119_ab_o.jpg"]


@pytest.mark.parametrize("packed", [False, True])
def test_the_tables_may_lie_beside_the_source(tmp_path, packed):
    source = adience(tmp_path / "adience") / "aligned"
    if packed:
        archive = source.with_suffix(".tar.gz")
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(source, "aligned")
        source = archive
    found = labels(source)
    assert len(found) == 19
    assert found["0@N00/landmark_aligned_face.0.10_ab_o.jpg"].fold == 0


def test_both_kinds_of_the_same_faces_are_refused(tmp_path):
    source = adience(tmp_path / "adience")
    adience(source, "faces")
    with pytest.raises(DataError, match=r"line \d+: .* the name of several images, .*one folder"):
        labels(source)
    assert len(labels(source / "faces")) == 19


def test_the_tables_of_frontal_faces_count_where_there_are_no_others(tmp_path):
    source = adience(tmp_path / "adience")
    for path in source.glob("fold_*"):
        path.rename(path.with_name(path.name.replace("fold_", "fold_frontal_")))
    assert {label.fold for label in labels(source).values()} == {0, 1, 2, 3, 4}
    shutil.copy(source / "fold_frontal_0_data.txt", source / "fold_0_data.txt")
    assert {label.fold for label in labels(source).values()} == {0}


def test_a_face_in_two_folds_is_refused(tmp_path):
    source = adience(tmp_path / "adience")
    line = (source / "fold_0_data.txt").read_text().splitlines()[1]
    with (source / "fold_1_data.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"fold_0_data.txt line 2 and .*fold_1_data.txt line 6"):
        labels(source)


def test_without_the_tables_there_are_no_labels(tmp_path):
    source = adience(tmp_path / "adience")
    for path in source.glob("fold_*"):
        path.unlink()
    with pytest.raises(DataError, match=r"not have the layout adience: .*fold_0_data.txt"):
        labels(source, layout="adience")
