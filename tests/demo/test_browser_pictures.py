"""Several pictures on one page, and models switched on and off, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agecli import Prediction
from agecli.inference.ensemble import together
from tests.conftest import Cli
from tests.demo.conftest import Visit
from tests.demo.pictures import PORTRAIT, crowd

pytestmark = pytest.mark.browser


def open_pictures(page: Any, *paths: Path) -> None:
    """Open one picture after another, each once the last is answered."""
    for number, path in enumerate(paths):
        if number:
            page.click("[data-again]")
        page.wait_for_selector("#upload input[type=file]", state="attached")
        page.set_input_files("#upload input[type=file]", path)
        page.wait_for_selector(".card")


@pytest.mark.parametrize("width", [390, 1280])
def test_an_earlier_picture_stands_beside_the_open_one(visit: Visit, tmp_path: Path, width: int):
    page = visit(width)
    two = crowd(tmp_path / "two.jpg", 2, 1)
    open_pictures(page, PORTRAIT, two)
    page.wait_for_selector("#recent .reopen")
    assert PORTRAIT.name in page.inner_text("#recent")
    assert two.name not in page.inner_text("#recent")  # which is the open one
    group = page.inner_text(".joint .group").split()[0].replace("–", "-")
    page.click("[data-beside]")
    page.wait_for_selector(".pair-of")
    assert page.locator(".pair-of article").count() == 2
    assert page.get_attribute(".pair-of", "data-groups").split()[0] == group
    assert page.get_attribute("[data-beside]", "aria-pressed") == "true"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    before = page.get_attribute(".side-1 img", "src")
    page.click(".faces [data-face='1']")
    page.wait_for_function(
        "before => { const img = document.querySelector('.side-1 img');"
        " return img && img.src !== before }", arg=before,
    )  # fmt: skip
    page.click("[data-alone]")
    page.wait_for_selector(".pair-of", state="detached")
    page.wait_for_selector(".card")
    page.click(f"[aria-label='Open {PORTRAIT.name} again']")
    page.wait_for_selector("#stage .found:text-is('One face found.')")
    page.wait_for_selector(f"[aria-label='Open {two.name} again']")


def test_an_earlier_picture_is_opened_from_the_empty_page(visit: Visit):
    page = visit()
    open_pictures(page, PORTRAIT)
    group = page.inner_text(".joint .group")
    page.click("[data-again]")
    page.click("#recent .reopen")
    page.wait_for_selector(".card")
    assert page.inner_text(".joint .group") == group
    page.reload()  # a page of its own, with nothing of the last one
    page.wait_for_selector("[data-example]")
    assert page.locator("#recent .reopen").count() == 0


def test_models_are_switched_off_and_on(visit: Visit, cli: Cli):
    page = visit()
    open_pictures(page, PORTRAIT)
    told = cli("predict", PORTRAIT, "--model", "all", "--json").stdout.splitlines()
    rows = {row["model"]: row for row in map(json.loads, told)}
    for name in ("resnet", "dinov2"):
        page.uncheck(f"#answering label:has-text('{name}') input")
    page.wait_for_selector(".kicker >> text=/The mean of (cnn and capsnet|capsnet and cnn)/")
    assert page.locator(".card").count() == 2
    mean = together([Prediction(**{k: rows[n][k] for k in KEPT}) for n in ("cnn", "capsnet")])
    assert mean
    assert page.get_attribute(".joint", "data-group") == mean.group
    assert f"{mean.probability:.0%} sure" in page.inner_text(".joint")
    page.uncheck("#answering label:has-text('capsnet') input")
    page.wait_for_selector(".kicker:text-is('cnn')")
    page.uncheck("#answering label:has-text('cnn') input")
    page.wait_for_selector(".notice >> text=No model is switched on")
    page.check("#answering label:has-text('dinov2') input")
    page.wait_for_selector(".kicker:text-is('dinov2')")
    assert page.locator(".card").count() == 1


def test_the_list_of_faces_counts_the_models_that_answer(visit: Visit, tmp_path: Path):
    page = visit()
    open_pictures(page, crowd(tmp_path / "faces.jpg", 3, 2))
    page.wait_for_selector(".faces >> text=of 4 agree")
    page.evaluate(WATCH)
    page.uncheck("#answering label:has-text('dinov2') input")
    page.wait_for_selector(".faces >> text=of 3 agree")
    assert page.locator(".faces >> text=of 3 agree").count() == 6
    assert page.evaluate("seen") == ["… beside 3", "of 3 agree beside 3"]


WATCH = """() => {
  window.seen = [];
  const look = () => {  // at each frame that is painted
    const list = document.querySelector('.faces')?.innerText ?? '';
    const said = list.match(/of \\d agree|…/)?.[0];
    const now = `${said} beside ${document.querySelectorAll('.card').length}`;
    if (now.endsWith('3') && seen.at(-1) !== now) seen.push(now);
    requestAnimationFrame(look);
  };
  look();
}"""

KEPT = ("source", "model", "group", "probability", "probabilities", "age")
