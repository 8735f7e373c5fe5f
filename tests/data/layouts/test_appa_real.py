"""APPA-REAL: real ages, of the cropped faces."""

from agecli.ages import Age
from agecli.data.labels import Label
from agecli.data.receipt import LeftOut
from tests.data.layouts.made_up import appa_real, labels, listing_of


def test_real_ages_and_splits_of_the_faces_are_read(tmp_path):
    source = appa_real(tmp_path / "appa-real-release")
    assert labels(source) == {
        f"{folder}/{number:06}.jpg_face.jpg": Label(Age(20 + number, 20 + number), split=split)
        for number, (folder, split) in enumerate(
            pair for pair in (("train", "train"), ("valid", "val"), ("test", "test"))
            for _ in range(2)
        )
    }  # fmt: skip


def test_the_photographs_are_left_out_where_there_are_faces(tmp_path):
    source = appa_real(tmp_path / "appa-real-release")
    listing = listing_of(source)
    assert listing.origins[source].left_out == {
        "its face is a file of its own": LeftOut(
            6, sorted(f"{s}/{i:06}.jpg" for i, s in enumerate(
                ["train", "train", "valid", "valid", "test", "test"]
            )),
        ),
    }  # fmt: skip
    assert "apparent_age_avg" in listing.unused
    assert listing.missing == 0


def test_without_faces_the_photographs_are_taken(tmp_path):
    found = labels(appa_real(tmp_path / "appa-real-release", faces=False))
    assert found["valid/000002.jpg"] == Label(Age(22, 22), split="val")
    assert len(found) == 6
