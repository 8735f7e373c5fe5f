"""Whatever a picture, a table or a weights file holds, its reader returns, or raises its error."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from agecli.ages import OLDEST, Age
from agecli.data.doubtful import read_doubtful
from agecli.data.images import read_image
from agecli.data.labels import Label, read_age
from agecli.data.layouts.csv import FORMS
from agecli.data.layouts.names import compile_pattern
from agecli.data.softlabels import SoftLabels, read_soft_labels
from agecli.data.store import Dataset, open_dataset
from agecli.data.tables import read_tables
from agecli.errors import DataError, ImageError, UsageError, WeightsError
from agecli.weights import load_weights
from tests.fuzz.toys import Toys

reading = settings(
    derandomize=True, deadline=None, database=None, max_examples=300,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
edits = some.lists(
    some.tuples(some.floats(0, 1), some.integers(0, 40), some.binary(max_size=16)), min_size=1,
    max_size=4,
)  # fmt: skip
"""Where bytes are replaced (0 the beginning, 1 the end), how many, and by what."""
leaves = some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8)
keys = some.text(max_size=6)
values = some.recursive(
    leaves,
    lambda inside: some.lists(inside, max_size=4) | some.dictionaries(keys, inside, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Toys:
    return Toys(tmp_path_factory.mktemp("toys"))


@pytest.fixture(scope="module")
def toy_dataset(dataset_folder: Path) -> Dataset:
    return open_dataset(dataset_folder)


def edited(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    changed = bytearray(data)
    for place, dropped, put in changes:
        start = int(place * len(changed))
        changed[start : start + dropped] = put
    return bytes(changed)


@pytest.mark.slow
@reading
@given(data=some.data())
def test_a_picture(toys: Toys, data: some.DataObject):
    whole = toys.pictures[data.draw(some.sampled_from(sorted(toys.pictures)))]
    try:
        image = read_image(edited(whole, data.draw(edits)))
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        assert image.mode == "RGB"


@pytest.mark.slow
@reading
@given(data=some.data())
def test_weights(toys: Toys, tmp_path_factory: pytest.TempPathFactory, data: some.DataObject):
    names = sorted(name for name in toys.weights if name != "resnet.safetensors")  # 24 MB
    source = toys.weights[data.draw(some.sampled_from(names))]
    broken = tmp_path_factory.getbasetemp() / f"broken{source.suffix}"
    content = source.read_bytes()
    if source.suffix == ".onnx":
        broken.write_bytes(edited(content, data.draw(edits)))
    else:
        broken.write_bytes(with_metadata(content, lambda own: changed(own, data)))
    try:
        load_weights(broken)
    except WeightsError as error:
        assert str(broken) in str(error)
        assert "\n" not in str(error)


TABLES = {
    "labels.csv": b'path,age,age_group,sex,split,fold,person\n"a, b.jpg",3,0-5,f,train,0,x\n'
    b"sub\\b.jpg,,60+,m,val,fold_1,\nc.jpg,34.6,(25; 40),0,test,2,y\n",
    "excel.csv": "sep=;\r\nPath;Age\r\nü.jpg;25-32\r\n".encode("utf-16"),
    "fold_3_data.txt": b"user_id\toriginal_image\tface_id\tage\tgender\n"
    b"1@N\ta.jpg\t1\t(25, 32)\tf\n1@N\tb.jpg\t2\tNone\tu\n",
    "fairface_label_val.csv": b"file,age,gender,race\nval/1.jpg,more than 70,Male,East Asian\n",
    "gt_avg_valid.csv": b"file_name,apparent_age_avg,real_age\n000000.jpg,30.5,31\n",
}


@pytest.mark.slow
@reading
@given(data=some.data())
def test_a_table(data: some.DataObject):
    name = data.draw(some.sampled_from(sorted(TABLES)))
    try:
        table = read_tables({name: edited(TABLES[name], data.draw(edits))}, FORMS)
    except DataError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1000
    else:
        for label in table.labels.values():
            if isinstance(label, Label):
                assert Age.parse(str(label.age)) == label.age
                assert label.split in ("", "train", "val", "test")


SOFT = b"id,source,split_hash,0-2,4-6,8-13,15-20,25-32,38-43,48-53,60+\n" + b"".join(
    b"%d.jpg,A,,0.5,0.25,0,0,0,0,0.125,0.125\n" % number for number in range(4)
)


@pytest.mark.slow
@reading
@given(data=some.data())
def test_files_that_name_images(toy_dataset: Dataset, tmp_path_factory, data: some.DataObject):
    path = tmp_path_factory.getbasetemp() / "soft.csv"
    path.write_bytes(edited(SOFT, data.draw(edits)))
    for read in (
        lambda: read_soft_labels(path, toy_dataset),
        lambda: read_doubtful(path, [("A", "1.jpg"), ("B", "1.jpg")]),
    ):
        try:
            found = read()
        except DataError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 2000
        else:
            if isinstance(found, SoftLabels):
                np.testing.assert_allclose(found.table[:-1].sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
@reading
@given(text=some.text() | some.from_regex(r"[(\[]?[0-9]{1,4}([-,–+. ]|to|over)+[0-9]{0,3}[)\]]?"))
def test_an_age(text: str):
    age = read_age(text)
    assert age is None or 0 <= age.low <= age.high <= OLDEST


@pytest.mark.slow
@reading
@given(
    pieces=some.lists(some.sampled_from(["{age}", "{sex}", "{x}", "*", "_", "(", "\\", "/"])),
    name=some.text(alphabet="_(0123f.", max_size=200),
)
def test_a_pattern_of_names(pieces: list[str], name: str):
    try:
        pattern = compile_pattern("".join(pieces))
    except UsageError as error:
        assert "\n" not in str(error)
    else:
        pattern.fullmatch(name)


def with_metadata(content: bytes, change: Any) -> bytes:
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    own = json.loads(header["__metadata__"]["agecli"])
    header["__metadata__"]["agecli"] = json.dumps(change(own))
    packed = json.dumps(header).encode()
    return len(packed).to_bytes(8, "little") + packed + content[8 + length :]


def changed(own: dict[str, Any], data: some.DataObject) -> dict[str, Any]:
    """Replace one or two values of the metadata, at any depth."""
    for _ in range(data.draw(some.integers(1, 2))):
        *path, last = data.draw(some.sampled_from(list(paths(own))))
        place: Any = own
        for key in path:
            place = place.get(key) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[last] = data.draw(values)
    return own


def paths(content: Any, above: tuple[str, ...] = ()) -> Any:
    for key, value in content.items() if isinstance(content, dict) else ():
        yield (*above, key)
        yield from paths(value, (*above, key))
