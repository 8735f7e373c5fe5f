"""CSV files: what they say of pictures, and what is refused."""

import unicodedata
from pathlib import Path

import pytest

from agecli.ages import Age
from agecli.data.labels import Label
from agecli.data.layouts.csv import read_labels
from agecli.data.tables import key_of
from agecli.errors import DataError

CASES = Path(__file__).parents[3] / "shared/cases"


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


@pytest.mark.parametrize("age", ["", "old", "-31", "2014", "nan", "(25, 32"])
def test_a_csv_with_an_impossible_age_is_refused_by_its_line(tmp_path, age):
    with pytest.raises(DataError, match=r"labels\.csv line 3 .*0 to 120"):
        read_labels(_csv(tmp_path, f"path;age\na.jpg;3\nb.jpg;{age}\n"))


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


def test_a_year_and_a_range_of_it_may_both_be_there(tmp_path):
    text = "path,age,age_group\na.jpg,30,25-32\nb.jpg,,60+\nc.jpg,20-29,\n"
    ages = [label.age for label in read_labels(_csv(tmp_path, text)).labels.values()]
    assert ages == [(30, 30), (60, 120), (20, 29)]
    text = "path,age,age_group\na.jpg,30,25-32\nb.jpg,50,60+\n"
    with pytest.raises(
        DataError, match=r"line 3 \('50 in 60\+'\): an age has to lie in its own range"
    ):
        read_labels(_csv(tmp_path, text))


def test_a_column_of_ranges_alone_is_enough_and_one_of_words_is_not_used(tmp_path):
    table = read_labels(_csv(tmp_path, "file,age_range\na.jpg,more than 70\n"))
    assert table.labels == {"a.jpg": Label(Age(70, 120))}
    table = read_labels(_csv(tmp_path, "file,age,age_group\na.jpg,3,child\nb.jpg,40,adult\n"))
    assert [label.age for label in table.labels.values()] == [(3, 3), (40, 40)]
    assert table.unused == ["age_group"]


def test_folds_and_users_are_read(tmp_path):
    text = "file,age,fold,user_id\na.jpg,3,2,7@N\nb.jpg,4,fold_0,\nc.jpg,5,,\n"
    labels = read_labels(_csv(tmp_path, text)).labels.values()
    assert [(label.fold, label.person) for label in labels] == [(2, "7@N"), (0, ""), (-1, "")]


def test_faults_of_all_kinds_are_reported_at_once(tmp_path):
    text = (
        "path,age,split,fold\na.jpg,-31,train,0\nb.jpg,3,later,0\n,4,test,0\nc.jpg,5,val,x\n"
        "d.jpg,6,val,1\nd.jpg,7,val,1\ne.jpg,2014,val,1\n"
    )
    with pytest.raises(DataError) as error:
        read_labels(_csv(tmp_path, text))
    for fault in (
        "lines 2 ('-31'), 8 ('2014'): each line needs one age",
        "line 3 ('later'): a split is one of",
        "line 4 (''): each line needs the path",
        "line 5 ('x'): a fold is",
        "lines 6 and 7: d.jpg has two labels, of ages 6 and 7",
    ):
        assert fault in str(error.value)
    assert "\n" not in str(error.value)


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
        "sep=;\r\npath;age\r\na.jpg;3\r\nb c.jpg;70\r\n",
        "path|age\na.jpg|3\nb c.jpg|70\n",
        "path,age\ra.jpg,3\rb c.jpg,70\r",
        "\n\npath,age\n,\na.jpg,3\nb c.jpg,70,,\n",
    ],
    ids=[
        "semicolons",
        "tabs",
        "blanks",
        "Windows",
        "quoted",
        "names",
        "Excel",
        "bars",
        "Macs",
        "empty_lines",
    ],
)
def test_tables_are_read_as_people_have_them(tmp_path, text):
    table = read_labels(_csv(tmp_path, text))
    assert (table.labels, table.unused) == (TWO, [])


def test_a_table_in_utf_16_is_read(tmp_path):
    (tmp_path / "labels.csv").write_text("path\tage\nü.jpg\t3\n", encoding="utf-16")
    assert list(read_labels(tmp_path / "labels.csv").labels) == ["ü.jpg"]


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
    with pytest.raises(DataError, match=r"line 3 \('later'\): a split is one of train, val, test"):
        read_labels(_csv(tmp_path, "path,age,split\na.jpg,3,test\nb.jpg,4,later\n"))


def test_all_lines_with_impossible_ages_are_named_at_once(tmp_path):
    ages = ["3", "-31", "2014", "4", "(25, 32)", *["x"] * 30]
    text = "path;age\n" + "".join(f"{i}.jpg;{age}\n" for i, age in enumerate(ages))
    with pytest.raises(DataError) as error:
        read_labels(_csv(tmp_path, text))
    assert "lines 3 ('-31'), 4 ('2014'), 7 ('x'), " in str(error.value)
    assert "24 ('x') and 12 more: each line needs one age from 0 to 120" in str(error.value)
    assert "\n" not in str(error.value)


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
    ("name", "rows", "first"),
    [
        ("semicolon.csv", 420, Label(Age(2, 2))),
        ("spaces.csv", 420, Label(Age(2, 2))),
        ("win.csv", 420, Label(Age(2, 2))),
        ("nfd.csv", 60, Label(Age(2, 2))),
        ("split.csv", 420, Label(Age(2, 2), split="train")),
        ("personid.csv", 420, Label(Age(2, 2), person="0")),
        ("gender.csv", 420, Label(Age(2, 2), "male", "Asian")),
        ("adience.csv", 420, Label(Age(25, 32))),
        ("fairface_path.csv", 420, Label(Age(20, 29), "male", "White")),
        ("fold_0_data.txt", 1, Label(Age(25, 32), "female", person="1@N", fold=0)),
    ],
)
def test_the_cases_are_read(name, rows, first):
    if not CASES.exists():
        pytest.skip("no ../shared")
    table = read_labels(CASES / name)
    assert len(table.labels) == rows
    assert table.unused == (["x", "y"] if name == "fold_0_data.txt" else [])
    assert next(iter(table.labels.values())) == first


@pytest.mark.parametrize(
    ("name", "reason"),
    [("dup_conflict.csv", r"lines 2 and 422: p0000\.jpg has two labels, of ages 2 and 80")],
)
def test_the_cases_are_refused_in_one_line(name, reason):
    if not CASES.exists():
        pytest.skip("no ../shared")
    with pytest.raises(DataError, match=reason) as error:
        read_labels(CASES / name)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
