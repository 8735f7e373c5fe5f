"""The demo in a real browser, as a visitor uses it."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from agecli.weights import find_weights, read_metadata, released_folder
from tests.conftest import Cli
from tests.demo.conftest import TIMEOUT, Visit
from tests.demo.pictures import PORTRAIT, animation, crowd, write_troubles

pytestmark = pytest.mark.browser
SLOW = {"offline": False, "latency": 1000, "downloadThroughput": -1, "uploadThroughput": -1}


def upload(page: Any, path: Path) -> None:
    page.set_input_files("#upload input[type=file]", path)


def read_answers(page: Any) -> dict[str, dict[str, Any]]:
    """Read what a visitor reads in the cards."""
    page.wait_for_selector(".card")
    answers = {}
    for card in page.query_selector_all(".card"):
        rows = card.query_selector_all(".bars tbody tr")
        age = re.search(r"about (\d+) years", card.inner_text())
        answers[card.query_selector("h3").inner_text()] = {
            "group": card.query_selector(".group").inner_text().replace("–", "-"),
            "sure": int(re.search(r"(\d+)% sure", card.inner_text())[1]),  # type: ignore[index]
            "age": age and int(age[1]),
            "shares": {
                row.query_selector("th").inner_text().replace("–", "-"): row.query_selector(
                    ".share"
                ).inner_text()
                for row in rows
            },
        }
    return answers


def close_picture(page: Any) -> None:
    """Ask for another picture, and wait until the page can take one."""
    page.click("[data-again]")
    page.wait_for_selector(".card", state="detached")
    page.wait_for_selector("#upload input[type=file]", state="attached")


def test_the_page_says_what_predict_says(visit: Visit, cli: Cli):
    page = visit()
    upload(page, PORTRAIT)
    answers = read_answers(page)
    told = cli("predict", PORTRAIT, "--model", "all", "--json").stdout.splitlines()
    rows = [row for row in map(json.loads, told) if row["model"] != "ensemble"]
    assert set(answers) == {row["model"] for row in rows}
    assert len(rows) >= 2
    for row in rows:
        answer = answers[row["model"]]
        assert answer["group"] == row["group"]
        assert answer["sure"] == round(100 * row["probability"])
        assert answer["age"] == (None if row["age"] is None else round(row["age"]))
        assert list(answer["shares"]) == list(row["probabilities"])
        for group, chance in row["probabilities"].items():
            if chance >= 0.005:
                assert answer["shares"][group] == f"{chance:.0%}"
    assert re.search("The ensemble says|The mean of", page.inner_text(".joint"))


def test_a_picture_is_pasted(visit: Visit):
    """Over a slow line, on which what the page says may cross with what the server answers."""
    page = visit()
    line = page.context.new_cdp_session(page)
    line.send("Network.emulateNetworkConditions", SLOW)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    upload(page, PORTRAIT)
    wanted = read_answers(page)
    close_picture(page)
    png = io.BytesIO()
    Image.open(PORTRAIT).save(png, "png")  # what a clipboard holds
    page.evaluate(COPY, base64.b64encode(png.getvalue()).decode())
    page.click("#upload button[aria-label='Paste from clipboard']")
    assert read_answers(page) == wanted


TRACKS = """
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
window.tracks = [];
navigator.mediaDevices.getUserMedia = async wanted => {
  const stream = await ask(wanted);
  window.tracks.push(...stream.getTracks());
  return stream;
};
"""
CAMERA_IS_OFF = "tracks.length && tracks.every(track => track.readyState === 'ended')"


def start_camera(page: Any) -> None:
    page.click("#upload button[aria-label='Capture from camera']")
    page.click("text=Click to Access Webcam")
    page.wait_for_function("document.querySelector('#upload video').videoWidth > 0")
    assert not page.evaluate(CAMERA_IS_OFF)


def test_the_camera_takes_a_picture(visit: Visit):
    page = visit(script=TRACKS)
    start_camera(page)
    page.click("#upload button[aria-label='capture photo']")
    answers = read_answers(page)
    assert len(answers) == len(find_weights())
    sure = [answer["group"] for answer in answers.values() if answer["sure"] > 50]
    assert sure and set(sure) == {"25-32"}  # another may change its mind over the camera's scaling
    page.wait_for_function(CAMERA_IS_OFF)


def test_the_camera_is_off_once_a_picture_is_chosen(visit: Visit):
    page = visit(script=TRACKS)
    start_camera(page)
    page.click("[data-example='astronaut.jpg']")
    page.wait_for_selector(".card")
    page.wait_for_function(CAMERA_IS_OFF)


COPY = """async png => {
  const bytes = Uint8Array.from(atob(png), c => c.charCodeAt(0));
  const blob = new Blob([bytes], {type: 'image/png'});
  await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]);
}"""


def test_margin_heat_and_stability(visit: Visit):
    page = visit()
    page.click("[data-example]")
    before = read_answers(page)
    crop = page.get_attribute("#crop img", "src")
    slider = page.query_selector("#margin input[type=range]")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "crop => document.querySelector('#crop img').src !== crop", arg=crop, timeout=TIMEOUT
    )
    assert read_answers(page) != before
    page.check("#heat input")
    page.wait_for_selector(".heat")
    assert page.locator(".heat img").count() == len(before)
    page.check("#stability input")
    page.wait_for_selector(".strip tbody tr")
    assert page.locator(".strip tbody tr").count() == len(before)
    assert page.locator(".strip thead img").count() == 9
    close_picture(page)


def test_one_of_thirty_faces_is_chosen_by_click_and_by_keyboard(visit: Visit, tmp_path: Path):
    page = visit()
    upload(page, crowd(tmp_path / "crowd.jpg"))
    page.wait_for_selector(".card")
    assert page.locator(".face").count() >= 28
    faces = {"0": page.get_attribute("#crop img", "src")}

    def chosen(number: str) -> None:
        page.wait_for_function(
            "n => document.querySelector('#crop img').alt.startsWith(`Face ${n},`)",
            arg=str(int(number) + 1), timeout=TIMEOUT,
        )  # fmt: skip
        faces[number] = page.get_attribute("#crop img", "src")
        pressed = page.locator(".face[aria-pressed=true]")
        assert pressed.count() == 1
        assert pressed.get_attribute("data-face") == number

    page.click('.face[data-face="5"]')
    chosen("5")
    page.focus('.face[data-face="9"]')
    page.keyboard.press("Enter")
    chosen("9")
    assert len(faces) == 3


def test_troubles_get_a_sentence(visit: Visit, tmp_path: Path):
    page = visit()
    for words, path in write_troubles(tmp_path).items():
        if "empty" in words:  # which Gradio's upload does not send
            continue
        upload(page, path)
        page.wait_for_function(
            "w => document.querySelector('#results .notice')?.innerText.includes(w)",
            arg=words.strip(), timeout=TIMEOUT,
        )  # fmt: skip
        assert "/" not in page.inner_text("#results .notice")
        page.reload()
        page.wait_for_selector("#upload input[type=file]", state="attached")
    upload(page, animation(tmp_path / "two.gif"))
    page.wait_for_selector(".card")
    assert "first frame" in page.inner_text("#stage")


def test_a_file_over_the_limit_is_refused(visit: Visit, tmp_path: Path):
    page = visit()
    (tmp_path / "large.jpg").write_bytes(PORTRAIT.read_bytes() + bytes(4_000_000))
    upload(page, tmp_path / "large.jpg")
    page.wait_for_selector("text=/exceeds|too large|maximum/i")
    assert page.locator(".card").count() == 0


def test_a_batch_of_twenty_with_a_bad_one(visit: Visit, tmp_path: Path):
    page = visit()
    files = []
    for number in range(19):
        files.append(tmp_path / f"{number}.jpg")
        files[-1].write_bytes(PORTRAIT.read_bytes())
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"not a picture")
    page.click("role=tab[name='Batch']")
    page.set_input_files("#uploads input[type=file]", [*files[:7], bad, *files[7:]])
    page.wait_for_selector(".batch")
    assert "20 pictures, 19 faces, 1 without an answer" in page.inner_text(".batch .sum")
    assert page.locator(".gallery figure").count() == 20
    assert page.locator(".gallery .bad").count() == 1
    assert page.locator(".batch tbody tr").count() == 20  # a row per face, or per failure
    with page.expect_download() as download:
        page.click("text=CSV with a row per model")
    rows = list(csv.DictReader(Path(download.value.path()).read_text("utf-8-sig").splitlines()))
    assert [row["source"] for row in rows if row["status"] != "ok"] == ["bad.jpg"]
    with page.expect_download() as download:
        page.click("text=/^JSON$/")
    records = json.loads(Path(download.value.path()).read_text())
    assert len(records) == len(rows) > 20
    assert rows[0]["group"] == records[0]["group"]


def test_the_models_tab(visit: Visit):
    page = visit()
    page.click("role=tab[name='Models']")
    page.wait_for_selector("#models table")
    text = page.inner_text("#models")
    exact = read_metadata(released_folder() / "cnn.safetensors").metrics["exact"]
    assert f"{exact:.1%}" in text
    assert "Not for decisions about people" in text
    page.click("summary >> nth=0")
    page.wait_for_selector(".confusion")


def compared(page: Any) -> Any:
    """Ask for the example, and for small changes of it."""
    page.click("[data-example]")
    page.wait_for_selector(".card")
    page.check("#stability input")
    page.wait_for_selector(".strip")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_scrolling_sideways(visit: Visit, scheme: str):
    page = compared(visit(390, scheme))
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
    assert light > 200 if scheme == "light" else light < 60


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(visit: Visit, scheme: str):
    """Every text of the compare tab has a contrast of 4.5 to what is behind it (WCAG AA)."""
    page = compared(visit(1280, scheme))
    found = page.evaluate(CONTRASTS)
    assert len(found) > 60
    assert [entry for entry in found if entry["ratio"] < (3 if entry["large"] else 4.5)] == []


CONTRASTS = """() => {
  const parse = c => { const n = c.match(/[\\d.]+/g).map(Number);
    return [...n.slice(0, 3), n[3] ?? 1] };
  const lum = c => { const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= .04045 ? v / 12.92
    : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b };
  const ground = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > .99) return c }
    return [255, 255, 255] };
  const found = [];
  const all = '#results *, #controls *, .masthead *, .foot *, [role=tab]';
  for (const e of document.querySelectorAll(all)) {
    const text = [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join('');
    const style = getComputedStyle(e);
    if (!text || !e.offsetParent || e.closest('.sr')) continue;
    const [a, b] = [lum(parse(style.color)), lum(ground(e))].sort((x, y) => y - x);
    found.push({text: text.slice(0, 30), ratio: (a + .05) / (b + .05),
      large: parseFloat(style.fontSize) >= 24});
  }
  return found;
}"""
