"""The example pictures: small, with a known origin, and answered."""

import pytest

from agecli.data.images import read_image
from agecli.faces import detect
from demo.samples import EXAMPLES, FOLDER, list_examples, read_example

FACES = {"both.jpg": 2}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_small_has_faces_and_an_origin(name: str):
    file, data = read_example(name)
    assert file == name
    assert len(data) <= 100_000
    assert f"| `{name}` |" in (FOLDER / "README.md").read_text("utf-8")
    assert len(detect(read_image(data))) == FACES.get(name, 1)


def test_all_examples_are_offered():
    page = list_examples()
    assert [page.count(f'data-example="{name}"') for name in EXAMPLES] == [1] * len(EXAMPLES)
    assert {path.name for path in FOLDER.glob("*.jpg")} == set(EXAMPLES)
