"""Further columns of tables: kept by name through to the data set, or refused in one line."""

import csv

import pytest

from agecli.config import PrepareConfig
from agecli.data.labels import MOST_SLICES, MOST_VALUES
from agecli.data.prepare import prepare
from agecli.data.store import MANIFEST, open_dataset
from agecli.errors import DataError, UsageError
from tests.data.layouts.made_up import fairface, labels, listing_of
from tests.data.pictures import textured, write_set

TABLE = "path,age,Hair,glasses,note\na.jpg,7,light,yes,x\nb.jpg,30,?,no,y\nc.jpg,40,dark,,z\n"


def _source(folder, table=TABLE):
    return write_set(folder, ["a.jpg", "b.jpg", "c.jpg"], {"labels.csv": table})


def test_columns_are_kept_by_name_in_the_order_asked_for(tmp_path):
    source = _source(tmp_path / "in")
    found = labels(source, slices=("glasses", "hair"))
    assert {id: label.slices for id, label in found.items()} == {
        "a.jpg": ("yes", "light"), "b.jpg": ("no", ""), "c.jpg": ("", "dark"),
    }  # fmt: skip
    assert listing_of(source, slices=("glasses", "hair")).unused == ["note"]
    assert {label.slices for label in labels(source).values()} == {()}


def test_columns_of_a_named_table_and_of_a_known_set_are_kept(tmp_path):
    source = write_set(tmp_path / "in", ["a.jpg"])
    (tmp_path / "mine.csv").write_text("file;age;hair\na.jpg;7;light\n")
    found = labels(source, labels=tmp_path / "mine.csv", slices=("hair",))
    assert found["a.jpg"].slices == ("light",)
    found = labels(fairface(tmp_path / "fairface"), slices=("service_test",))
    assert {label.slices for label in found.values()} == {("True",), ("False",)}


def test_a_data_set_has_them_empty_where_unknown(tmp_path):
    source, other = _source(tmp_path / "in"), tmp_path / "other"
    other.mkdir()
    for number, name in enumerate(["a.jpg", "b.jpg", "c.jpg"]):
        textured(number).save(source / name)
    textured(3).save(other / "26_1_3_20170104000000000.jpg")
    config = PrepareConfig(size=32)
    prepare([source, other], tmp_path / "out", config, slices=["hair", "glasses"], workers=1)
    data = open_dataset(tmp_path / "out")
    assert data.ids.tolist() == ["26_1_3_20170104000000000.jpg", "a.jpg", "b.jpg", "c.jpg"]
    assert {name: values.tolist() for name, values in data.slices.items()} == {
        "hair": ["", "light", "", "dark"], "glasses": ["", "yes", "no", ""],
    }  # fmt: skip
    prepare([source, other], tmp_path / "plain", config, workers=1)
    plain = open_dataset(tmp_path / "plain")
    assert plain.slices == {} and plain.split_hash == data.split_hash
    with (tmp_path / "out" / MANIFEST).open(newline="") as kept:
        rows = [row[:-2] for row in csv.reader(kept)]
    with (tmp_path / "plain" / MANIFEST).open(newline="") as file:
        assert rows == [*csv.reader(file)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("sex",), "sex is always read"),
        (("Excluded",), "Excluded is always read"),
        (("age_group",), "age_group is always read"),
        (("",), "pass the names of 1 to 20 columns"),
        (("hair", "Hair"), "each once"),
        (tuple(map(str, range(MOST_SLICES + 1))), "pass the names of 1 to 20 columns"),
    ],
)
def test_names_that_cannot_be_kept_are_refused(tmp_path, names, message):
    with pytest.raises(UsageError, match=f"--slices: .*{message}"):
        labels(_source(tmp_path / "in"), slices=names)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE, "column beard: the unused columns are Hair, glasses, note"),
        ("", "column beard"),
    ],
)
def test_a_column_that_no_table_has_is_refused(tmp_path, table, message):
    source = _source(tmp_path / "in", table) if table else write_set(tmp_path / "in", ["7/a.jpg"])
    with pytest.raises(DataError, match=f"--slices: no table has a {message}"):
        labels(source, slices=("beard",))


@pytest.mark.parametrize("more", [0, 1])
def test_a_column_has_a_bounded_number_of_values(tmp_path, more):
    names = [f"{number}.jpg" for number in range(MOST_VALUES + more)]
    rows = "".join(f"{name},30,value {name}\n" for name in names)
    source = write_set(tmp_path / "in", names, {"labels.csv": f"path,age,note\n{rows}"})
    if not more:
        assert len(labels(source, slices=("note",))) == MOST_VALUES
        return
    with pytest.raises(DataError, match=r"--slices: note has 51 values \(value 0\.jpg, "):
        labels(source, slices=("note",))


def test_a_long_value_is_refused_by_its_line(tmp_path):
    source = _source(tmp_path / "in", f"path,age,hair\na.jpg,7,{'x' * 101}\n")
    with pytest.raises(DataError, match=r"labels\.csv line 2 .* slice has at most 100 characters"):
        labels(source, slices=("hair",))


@pytest.mark.parametrize(
    ("header", "cell", "message"),
    [
        ("hair,hair", "x,y", "its columns are not"),
        (
            ",".join(f"c{i}" for i in range(MOST_SLICES + 1)),
            "x," * MOST_SLICES + "x",
            "more than 20",
        ),
        ("hair", "{row}", "hair has more than 50 values"),
        ("hair", "x,y", "is longer than"),
    ],
)
def test_a_manifest_of_another_form_is_damaged(tmp_path, header, cell, message):
    count = MOST_VALUES + 1
    names = [f"{i}.jpg" for i in range(count)]
    rows = "".join(f"{name},30\n" for name in names)
    source = write_set(tmp_path / "in", names, {"labels.csv": f"path,age\n{rows}"})
    prepare([source], tmp_path / "out", PrepareConfig(size=16), workers=1)
    path = tmp_path / "out" / MANIFEST
    first, *lines = path.read_text().splitlines()
    lines = [f"{line},{cell.format(row=row)}" for row, line in enumerate(lines)]
    path.write_text("\n".join([f"{first},{header}", *lines]) + "\n")
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "out")
