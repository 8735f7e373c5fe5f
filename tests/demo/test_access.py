"""The page by keyboard and by ear: axe's rules, focus, and what is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.demo.conftest import TIMEOUT, Visit
from tests.demo.pictures import PORTRAIT, crowd

pytestmark = pytest.mark.browser
GRADIOS = "button[aria-label='common.upload']"
"""A button inside a button, in Gradio's list of files: not ours."""
FOCUSED = """(e => e.ariaLabel || e.innerText || e.labels?.[0]?.innerText || '')(
  document.activeElement)"""


def upload(page: Any, path: Path, place: str = "upload") -> None:
    page.set_input_files(f"#{place} input[type=file]", path)


def one_face(page: Any, folder: Path) -> None:
    upload(page, PORTRAIT)
    page.wait_for_selector(".card")
    page.check("#heat input")
    page.wait_for_selector(".heat")
    page.check("#stability input")
    page.wait_for_selector(".strip")


def many_faces(page: Any, folder: Path) -> None:
    upload(page, crowd(folder / "many.jpg", 3, 2))
    page.wait_for_selector(".faces strong >> text=6: ", timeout=TIMEOUT)


def no_face(page: Any, folder: Path) -> None:
    (folder / "bad.jpg").write_bytes(b"none")
    upload(page, folder / "bad.jpg")
    page.wait_for_selector("#results .notice")


def batch(page: Any, folder: Path) -> None:
    page.click("role=tab[name='Batch']")
    upload(page, PORTRAIT, "uploads")
    page.wait_for_selector(".batch .sum")


def side_by_side(page: Any, folder: Path) -> None:
    upload(page, PORTRAIT)
    page.wait_for_selector(".card")
    page.click("[data-again]")
    page.wait_for_selector("#upload input[type=file]", state="attached")
    upload(page, crowd(folder / "two.jpg", 2, 1))
    page.click("[data-beside]")
    page.wait_for_selector(".pair-of")


def live(page: Any, folder: Path) -> None:
    page.click("role=tab[name='Live']")
    page.click("[data-live]")
    page.wait_for_selector("[data-person]")


def models(page: Any, folder: Path) -> None:
    page.click("role=tab[name='Models']")
    for summary in page.query_selector_all("#models summary"):
        summary.click()


@pytest.mark.parametrize(
    "state", [one_face, many_faces, no_face, side_by_side, live, batch, models]
)
def test_axe_finds_nothing(visit: Visit, tmp_path: Path, state: Callable[[Any, Path], None]):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit()
    state(page, tmp_path)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            "dark => document.body.matches('.dark') === dark", arg=scheme == "dark"
        )
        page.evaluate("Promise.all(document.getAnimations().map(one => one.finished))")
        result = axe.run(page, context={"exclude": [[GRADIOS]]}).response
        assert len(result["passes"]) > 15
        assert [
            (scheme, rule["id"], node["html"][:100])
            for rule in result["violations"]
            for node in rule["nodes"]
        ] == []


def test_focus_is_seen_everywhere(visit: Visit, tmp_path: Path):
    page = visit()
    many_faces(page, tmp_path)
    page.focus("role=tab[name='Compare']")
    seen = []
    for _ in range(60):
        if page.evaluate(FOCUSED) == "Use via API":  # the last one of the page
            break
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
        assert page.evaluate(OUTLINED), seen[-1]
    assert {"Models", "Face 1 of 6", "Another picture", "Copy as JSON"} < set(seen)
    assert "Face 2 of 6" not in seen  # arrow keys go there


OUTLINED = """() => {
  const style = getComputedStyle(document.activeElement);
  return style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2;
}"""


def test_all_faces_by_keyboard_alone(visit: Visit, tmp_path: Path):
    page = visit()
    upload(page, crowd(tmp_path / "many.jpg"))
    page.wait_for_selector(".faces strong >> text=28: ", timeout=TIMEOUT)
    count = page.locator(".stage .face").count()
    assert count >= 28
    while page.evaluate(FOCUSED) != f"Face 1 of {count}":
        page.keyboard.press("Tab")
    reached = []
    for _ in range(count):
        reached.append(page.evaluate(FOCUSED))
        page.keyboard.press("ArrowRight")
    assert reached == [f"Face {number} of {count}" for number in range(1, count + 1)]
    assert page.evaluate(FOCUSED) == reached[0]
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_function(f"document.querySelector('#crop img')?.alt.startsWith('Face {count},')")
    assert page.evaluate(FOCUSED) == reached[-1]
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED).startswith(f"Face {count}: ")  # the list has followed


def test_focus_is_kept_after_an_action(visit: Visit):
    page = visit()
    page.focus("[data-example]")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card")
    page.wait_for_function(f"{FOCUSED} === 'Another picture'")  # the example is gone
    page.focus("#heat input")
    page.keyboard.press("Space")
    page.wait_for_selector(".heat")
    assert page.evaluate("document.activeElement.closest('#heat') !== null")
    page.focus("[data-again]")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.closest('#upload') !== null")


def test_busy_and_the_answer_are_said(visit: Visit):
    page = visit(script=LISTEN)
    upload(page, PORTRAIT)
    page.wait_for_selector(".card")
    said = page.inner_text(".joint .group").replace("\n", " ")
    page.wait_for_function(f"document.getElementById('said').innerText.startsWith('{said}')")
    page.check("#heat input")
    page.wait_for_selector(".heat")
    page.wait_for_selector("#results[aria-busy=false]")
    heard = page.evaluate("heard")
    assert "The models are asked …" in heard
    asked = heard.index("The models are asked again …")
    assert "true" in heard[asked - 1 :]
    assert [words for words in heard if words not in ("true", "false")][-1].startswith(said)


LISTEN = """
window.heard = [];
new MutationObserver(changes => {
  for (const {target, attributeName} of changes) {
    if (target.id === 'said') heard.push(target.textContent);
    if (attributeName) heard.push(target.ariaBusy);
  }
}).observe(document, {childList: true, subtree: true, attributeFilter: ['aria-busy']});
"""


def test_bars_are_seen_in_forced_colours(visit: Visit):
    page = visit()
    page.emulate_media(forced_colors="active")
    upload(page, PORTRAIT)
    page.wait_for_selector(".card")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    for part in (".spectrum .bar", ".spectrum .best .bar", ".bars i", ".bars .best i"):
        shown = page.evaluate(f"getComputedStyle(document.querySelector('{part}')).backgroundColor")
        assert shown != ground, part
    assert page.evaluate("getComputedStyle(document.querySelector('#heat input')).appearance") == (
        "auto"  # whose tick is seen; Gradio's is a background
    )
    best, other = (
        page.evaluate(f"getComputedStyle(document.querySelector('{part}')).backgroundColor")
        for part in (".bars .best i", ".bars tr:not(.best) i")
    )
    assert best != other
