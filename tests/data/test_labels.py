"""Names and CSV files: what they say of pictures, and what is refused."""

import unicodedata
from pathlib import Path

import pytest

from agecli.ages import Age
from agecli.data.labels import Label, key_of, label_of_name, read_labels
from agecli.errors import DataError

CASES = Path(__file__).parents[3] / "shared/cases"


# Names


@pytest.mark.parametrize("suffix", [".jpg.chip.jpg", ".jpg"])
def test_a_name_gives_age_sex_and_race(suffix):
    expected = Label(Age.parse("26"), "female", "Indian")
    assert label_of_name(f"26_1_3_20170104221633430{suffix}") == expected


@pytest.mark.parametrize(
    ("name", "age"),
    [
        ("39_1_20170116174525125.jpg.chip.jpg", 39),
        ("61_1_20170109142408075.jpg.chip.jpg", 61),
        ("61_1_20170109150557335.jpg.chip.jpg", 61),
    ],
)
def test_of_a_name_that_lacks_a_field_only_the_age_is_known(name, age):
    assert label_of_name(name) == Label(Age(age, age), "", "", repaired=True)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        (
            "24_0_1_20170116220224657 .jpg.chip.jpg",
            Label(Age(24, 24), "male", "Black", repaired=True),
        ),
        (
            "55_0_0_20170116232725357jpg.chip.jpg",
            Label(Age(55, 55), "male", "White", repaired=True),
        ),
    ],
)
def test_a_space_or_a_missing_dot_loses_nothing(name, label):
    assert label_of_name(name) == label


@pytest.mark.parametrize(
    "name",
    ["face.jpg", "IMG_20170101.jpg", "12.jpg", "121_0_0_20170101000000001.jpg", "2017_1.jpg"],
)
def test_other_names_carry_no_age(name):
    assert label_of_name(name) is None


# CSV


def _csv(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_gives_labels_by_path(tmp_path):
    path = _csv(tmp_path, "\ufeffrace,path,age\n White ,./a.jpg,7\n,b/ü.png,30.0\n,c.jpg,41.9\n")
    assert read_labels(path).labels == {
        "a.jpg": Label(Age.parse("7"), "", "White"),
        "b/ü.png": Label(Age.parse("30")),
        "c.jpg": Label(Age.parse("41")),
    }


@pytest.mark.parametrize("age", ["", "old", "-1", "-0.5", "121", "nan", "inf", "1e400"])
def test_a_csv_with_an_impossible_age_is_refused_by_its_line(tmp_path, age):
    with pytest.raises(DataError, match=r"labels\.csv line 3: .*0 to 120"):
        read_labels(_csv(tmp_path, f"path,age\na.jpg,3\nb.jpg,{age}\n"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no column path and age"),
        ("path:age\na.jpg:3\n", "no column path and age"),
        ("path,years\na.jpg,3\n", "no column age"),
        ("path,age\n", "no rows"),
        ("path,age\n,5\n", "line 2"),
    ],
)
def test_a_csv_without_what_is_needed_is_refused(tmp_path, text, reason):
    with pytest.raises(DataError, match=reason):
        read_labels(_csv(tmp_path, text))


def test_a_csv_that_is_none_is_refused(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xff\xd8\xff\xe0 a picture")
    with pytest.raises(DataError, match="not a CSV file in UTF-8"):
        read_labels(path)
    with pytest.raises(DataError, match="No such file"):
        read_labels(tmp_path / "none.csv")


TWO = {"a.jpg": Label(Age.parse("3")), "b c.jpg": Label(Age.parse("70"))}


@pytest.mark.parametrize(
    "text",
    [
        "path;age\na.jpg;3\nb c.jpg;70\n",
        "path\tage\na.jpg\t3\nb c.jpg\t70\n",
        "path, age\na.jpg, 3\nb c.jpg , 70 \n",
        "\ufeffPath,Age\r\na.jpg,3\r\n\r\nb c.jpg,70\r\n",
        '"age", "filename"\n"3", "a.jpg"\n"70", "b c.jpg"',
        "image,age\n./a.jpg,3\n.\\b c.jpg,70.5\n",
    ],
    ids=["semicolons", "tabs", "blanks", "of Windows", "quoted", "other names"],
)
def test_tables_are_read_as_people_have_them(tmp_path, text):
    table = read_labels(_csv(tmp_path, text))
    assert (table.labels, table.unused) == (TWO, [])


def test_words_and_codes_are_mapped_and_other_words_kept(tmp_path):
    cells = ["M,0", "female,asian", "1,4", "girl,Inuit", ","]
    text = "path,age,gender,ethnicity\n" + "".join(f"{i}.jpg,5,{c}\n" for i, c in enumerate(cells))
    labels = read_labels(_csv(tmp_path, text)).labels.values()
    assert [(label.sex, label.race) for label in labels] == [
        ("male", "White"), ("female", "Asian"), ("female", "other"), ("girl", "Inuit"), ("", ""),
    ]  # fmt: skip


def test_splits_and_persons_are_read_and_other_columns_named(tmp_path):
    text = "path,age,subset,identity,Notes,score\na.jpg,3,Training,7,x,1\nb c.jpg,70,valid,,y,2\n"
    table = read_labels(_csv(tmp_path, text))
    assert list(table.labels.values()) == [
        Label(Age.parse("3"), split="train", person="7"), Label(Age.parse("70"), split="val"),
    ]  # fmt: skip
    assert table.unused == ["Notes", "score"]


def test_a_split_of_another_name_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"line 3: a split is one of train, val, test, not 'later'"):
        read_labels(_csv(tmp_path, "path,age,split\na.jpg,3,test\nb.jpg,4,later\n"))


def test_all_lines_with_impossible_ages_are_named_at_once(tmp_path):
    ages = ["3", "-1", "200", "4", "(25, 32)", *["x"] * 30]
    text = "path;age\n" + "".join(f"{i}.jpg;{age}\n" for i, age in enumerate(ages))
    with pytest.raises(DataError) as error:
        read_labels(_csv(tmp_path, text))
    assert "lines 3, 4, 6, 7, " in str(error.value)
    assert "23 and 13 more: each line needs one age from 0 to 120, not '-1'" in str(error.value)


def test_a_picture_with_two_labels_is_refused_by_both_lines(tmp_path):
    path = _csv(tmp_path, "path,age\na.jpg,2\nb.jpg,5\n.\\a.jpg,80\n")
    with pytest.raises(DataError, match=r"lines 2 and 4: .*two labels, of ages 2 and 80"):
        read_labels(path)
    assert read_labels(_csv(tmp_path, "path,age\na.jpg,2\n./a.jpg,2\n")).labels == {
        "a.jpg": Label(Age.parse("2"))
    }


def test_a_path_is_the_same_in_composed_and_decomposed_letters():
    composed, decomposed = (unicodedata.normalize(form, "Jürgen.jpg") for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert key_of(composed) == key_of(decomposed) == key_of(f".\\{decomposed}")


@pytest.mark.parametrize(
    ("name", "rows", "unused"),
    [
        ("semicolon", 420, []),
        ("spaces", 420, []),
        ("win", 420, []),
        ("nfd", 60, []),
        ("split", 420, []),
        ("personid", 420, []),
        ("gender", 420, []),
    ],
)
def test_the_cases_are_read(name, rows, unused):
    if not CASES.exists():
        pytest.skip("no ../shared")
    table = read_labels(CASES / f"{name}.csv")
    assert (len(table.labels), table.unused) == (rows, unused)
    first = next(iter(table.labels.values()))
    assert first.age == (2, 2)
    assert first.split == ("train" if name == "split" else "")
    assert first.person == ("0" if name == "personid" else "")
    assert (first.sex, first.race) == (("male", "Asian") if name == "gender" else ("", ""))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dup_conflict.csv", r"lines 2 and 422: p0000\.jpg has two labels, of ages 2 and 80"),
        ("adience.csv", r"lines 2, 3, .* more: each line needs one age .*\(25, 32\)"),
        ("fairface_path.csv", r"lines 2, 3, .* more: each line needs one age .*'20-29'"),
        ("fold_0_data.txt", "no column path"),
    ],
)
def test_the_cases_are_refused_in_one_line(name, reason):
    if not CASES.exists():
        pytest.skip("no ../shared")
    with pytest.raises(DataError, match=reason) as error:
        read_labels(CASES / name)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
