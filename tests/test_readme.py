"""README: short, with links that lead somewhere, an example that runs, and the right figures."""

import re
from pathlib import Path

import pytest

from agecli.evaluation.report.tables import megabytes
from agecli.exporting.card import scores_of
from agecli.weights import read_metadata, released_folder

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "weights/METHODS.md", ROOT / "agecli/README.md"]


def test_it_is_short():
    assert len(TEXT.encode()) <= 10_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_and_pictures_exist(page: Path):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)]+)\)|(?:src|srcset)=\"([^\"]+)\"", text)
    for target in map("".join, targets):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize(
    "file", sorted(released_folder().glob("*.safetensors")), ids=lambda f: f.stem
)
def test_the_results_are_near_those_in_the_weights_files(file: Path):
    """A new release fails here until its figures, on nearly the same images, stand in the table."""
    metadata = read_metadata(file)
    scores = scores_of(metadata)
    assert scores
    exact, one_off = scores.exact, scores.one_off
    for part in metadata.metrics["slices"]:
        if (part["by"], part["value"]) == ("source", "UTKFace"):  # of a training on several sets
            exact, one_off = part["exact"], part["one_off"]
    (row,) = re.findall(rf"^\| `{file.stem}`, (.*) \|$", TEXT, re.MULTILINE)
    model, *cells = row.split(" | ")
    assert float(cells[0].strip("%")) / 100 == pytest.approx(exact, abs=0.004)
    assert float(cells[2].strip("%")) / 100 == pytest.approx(one_off, abs=0.004)
    if scores.mae is not None:
        assert float(cells[3].split()[0]) == pytest.approx(scores.mae, abs=0.05)
    assert model.endswith(megabytes(file.stat().st_size))


def test_the_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert example.count("\n") <= 6
    monkeypatch.chdir(ROOT)
    exec(example, {})
    assert capsys.readouterr().out.startswith("25-32 0.72")
