"""Whatever a picture or a weights file holds, its reader returns, or raises its own error."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from agecli.data.images import read_image
from agecli.errors import ImageError, WeightsError
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
