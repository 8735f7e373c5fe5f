"""What a visitor does to the page: where it is clicked, in what order, and when it is left."""

from __future__ import annotations

import base64
import gc
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from demo.reading import Picture
from tests.demo.conftest import TIMEOUT, Visit
from tests.demo.pictures import PORTRAIT, crowd
from tests.demo.test_api import serving
from tests.exporting.models import write_model

pytestmark = pytest.mark.browser


def upload(page: Any, path: Path) -> None:
    page.set_input_files("#upload input[type=file]", path)


@pytest.mark.parametrize("width", [390, 820, 1280, 1440])
@pytest.mark.parametrize("shape", [(2, 5), (5, 2)], ids=["tall", "wide"])
def test_boxes_lie_on_the_faces(visit: Visit, tmp_path: Path, width: int, shape: tuple[int, int]):
    page = visit(width)
    upload(page, crowd(tmp_path / "faces.jpg", *shape))
    page.wait_for_selector(".face >> nth=9")
    page.wait_for_selector(".card")
    found = page.evaluate(AT_CENTRES, shape)
    assert sorted(found) == [str(number) for number in range(10)]
    assert page.locator(".stage img").bounding_box() == page.locator(".frame").bounding_box()


AT_CENTRES = """([columns, rows]) => {
  const img = document.querySelector('.stage img'), box = img.getBoundingClientRect();
  img.scrollIntoView({block: 'center'});
  const scale = Math.min(box.width / img.naturalWidth, box.height / img.naturalHeight);
  const [w, h] = [img.naturalWidth * scale, img.naturalHeight * scale];  // letterboxed or not
  const {left, top} = img.getBoundingClientRect();
  const [x, y] = [left + (box.width - w) / 2, top + (box.height - h) / 2], found = [];
  for (let c = 0; c < columns; c++) for (let r = 0; r < rows; r++)
    found.push(document.elementFromPoint(x + (c + .5) / columns * w, y + (r + .5) / rows * h)
      ?.closest('[data-face]')?.dataset.face);
  return found;
}"""


def test_the_newest_upload_wins(visit: Visit, tmp_path: Path):
    """While a file is uploaded, and once it is, Gradio leaves the clipboard within reach."""
    many = crowd(tmp_path / "many.jpg")
    page = visit(script=PASTE)
    pictures = [base64.b64encode(path.read_bytes()).decode() for path in (many, PORTRAIT)]
    page.evaluate("pictures => { window.pictures = pictures }", pictures)
    for milliseconds in (0, 20, 100):
        page.evaluate(PASTE_TWICE, milliseconds)
        page.wait_for_selector("#stage .found:text-is('One face found.')")
        page.wait_for_selector(".card")
        page.click("[data-again]")
        page.wait_for_selector("#upload >> visible=true")


PASTE = """
navigator.clipboard.read = async () => {
  const bytes = Uint8Array.from(atob(window.pictures[window.pasted++]), c => c.charCodeAt(0));
  return [new ClipboardItem({'image/png': new Blob([bytes], {type: 'image/png'})})];
};
"""
PASTE_TWICE = """async pause => {
  window.pasted = 0;
  const paste = document.querySelector("#upload button[aria-label='Paste from clipboard']");
  paste.click();
  await new Promise(done => setTimeout(done, pause));
  paste.click();
}"""


def test_what_is_chosen_after_another_picture_wins(visit: Visit, tmp_path: Path):
    page = visit()
    upload(page, crowd(tmp_path / "many.jpg"))
    page.click("[data-again]")
    page.wait_for_selector("#upload >> visible=true")
    upload(page, PORTRAIT)
    page.wait_for_selector(".card")
    page.wait_for_timeout(1500)
    assert page.inner_text("#stage .found") == "One face found."


def test_what_is_running_is_cancelled(visit: Visit, tmp_path: Path):
    page = visit()
    upload(page, crowd(tmp_path / "many.jpg"))
    page.click("text=Cancel")
    page.wait_for_selector(".empty >> visible=true")
    page.wait_for_timeout(2500)
    assert page.locator("#stage .face").count() == 0
    assert page.locator(".card").count() == 0
    upload(page, PORTRAIT)
    page.wait_for_selector(".card")


@pytest.mark.parametrize(
    ("button", "words"),
    [
        ("Capture from camera", "The camera cannot"),
        ("Paste from clipboard", "The clipboard cannot"),
    ],
)
def test_a_refusal_is_said(visit: Visit, button: str, words: str):
    page = visit(script=REFUSE)
    page.click(f"#upload button[aria-label='{button}']")
    if "camera" in button:
        page.click("text=Click to Access Webcam")
    page.wait_for_selector(f".toast >> text={words}")


REFUSE = """
const refuse = async () => { throw new DOMException('aborted', 'NotAllowedError') };
if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = refuse;
if (navigator.clipboard) navigator.clipboard.read = refuse;
"""


def test_a_server_that_is_gone_is_said(browser: Any, address: str):
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector("[data-example]")
    page.context.set_offline(True)
    page.click("[data-example]")
    page.wait_for_selector(".toast >> text=The server does not answer")
    page.close()


def test_a_margin_beyond_its_bounds_is_no_error(visit: Visit):
    page = visit()
    upload(page, PORTRAIT)
    page.wait_for_selector(".card")
    crop = page.get_attribute("#crop img", "src")
    page.fill("#margin input[type=number]", "9")
    page.press("#margin input[type=number]", "Enter")
    page.wait_for_function("crop => document.querySelector('#crop img')?.src !== crop", arg=crop)
    page.wait_for_selector(".card")
    assert page.locator(".error").count() == 0


def test_a_batch_follows_its_files(visit: Visit, tmp_path: Path):
    page = visit()
    page.click("role=tab[name='Batch']")
    files = [PORTRAIT, crowd(tmp_path / "two.jpg", 2, 1)]
    page.set_input_files("#uploads input[type=file]", files)
    page.wait_for_selector(".sum >> text=2 pictures, 3 faces")
    page.click("#uploads [aria-label='Remove this file'] >> nth=0")
    page.wait_for_selector(".sum >> text=1 picture, 2 faces")
    assert PORTRAIT.name not in page.inner_text(".batch")


def test_every_face_of_a_group_is_in_the_list(visit: Visit, tmp_path: Path):
    page = visit(390)
    upload(page, crowd(tmp_path / "many.jpg"))
    page.wait_for_selector(".faces strong >> text=28: ", timeout=TIMEOUT)
    listed = page.locator(".faces button")
    assert listed.count() == page.locator(".stage .face").count() >= 28
    listed.nth(27).focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#crop img')?.alt.startsWith('Face 28,')")
    for place in (".faces", ".stage"):
        pressed = page.locator(f"{place} [aria-pressed=true]")
        assert pressed.get_attribute("data-face") == "27"
    assert page.evaluate("document.activeElement.dataset.face") == "27"


def test_on_a_phone_the_answer_stands_below_the_picture(visit: Visit):
    page = visit(390)
    page.set_viewport_size({"width": 390, "height": 844})
    upload(page, PORTRAIT)
    page.wait_for_selector(".card")
    tops = [
        page.locator(place).bounding_box()["y"]
        for place in (".stage", ".joint .group", ".joint .agree", "#controls")
    ]
    assert tops == sorted(tops)
    assert tops[2] < 844


def test_settings_stand_below_a_long_list_of_faces(visit: Visit, tmp_path: Path):
    page = visit()
    upload(page, crowd(tmp_path / "many.jpg", 3, 2))
    page.wait_for_selector(".faces strong >> text=6: ", timeout=TIMEOUT)
    side, *parts = [
        page.locator(place).bounding_box() for place in (".side", ".stage", ".faces", "#controls")
    ]
    assert sorted(parts, key=lambda part: part["y"]) == parts
    assert all(part["x"] + part["width"] <= side["x"] + side["width"] for part in parts)


def test_a_slow_browser_shows_all_that_was_said(visit: Visit, tmp_path: Path):
    page = visit()
    slow = {"rate": 6}
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", slow)
    upload(page, crowd(tmp_path / "many.jpg", 3, 2))
    page.wait_for_selector(".faces strong >> text=6: ", timeout=TIMEOUT)


def test_an_answer_is_taken_along(visit: Visit):
    page = visit()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    upload(page, PORTRAIT)
    page.wait_for_selector(".card")
    page.click("text=Copy as JSON")
    page.wait_for_selector("text=Copied")
    record = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert record["picture"] == PORTRAIT.name
    assert record["together"]["group"] == page.get_attribute(".joint", "data-group")
    with page.expect_download() as download:
        page.click("text=Save as picture")
    with Image.open(download.value.path()) as card:
        assert (card.format, card.size) == ("PNG", (1080, 566))
        assert len(card.convert("RGB").crop((60, 60, 310, 310)).getcolors(10**5)) > 1000  # the face


def test_a_phone_shares_the_answer(visit: Visit):
    page = visit(390, script=SHEET, phone=True)
    upload(page, PORTRAIT)
    page.wait_for_selector(".card")
    page.tap("text=Save as picture")
    page.wait_for_function("window.shared")
    assert page.evaluate("shared") == ["ages.png", "image/png", 1080, 566]


SHEET = """
navigator.canShare = ({files}) => files.length === 1;
navigator.share = async ({files: [file]}) => {
  const {width, height} = await createImageBitmap(file);
  window.shared = [file.name, file.type, width, height];
  throw new DOMException('closed by the visitor', 'AbortError');
};
"""


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Any]:
    model = write_model(tmp_path / "cnn.safetensors")
    with serving(tmp_path / "uploads", model, kept=300) as blocks:
        yield blocks


def test_a_picture_goes_with_its_page(browser: Any, own_server: Any, tmp_path: Path):
    page = browser.new_page()
    page.goto(own_server.local_url)
    page.wait_for_selector("#upload input[type=file]", state="attached")
    upload(page, PORTRAIT)
    page.wait_for_selector(".card")
    page.wait_for_timeout(500)
    assert count_pictures() == 1
    assert own_server.state_holder.session_data
    page.close()
    deadline = time.monotonic() + 10
    while count_pictures() or own_server.state_holder.session_data:
        assert time.monotonic() < deadline, "the picture outlives its page"
        time.sleep(0.2)


def count_pictures() -> int:
    gc.collect()
    return sum(type(thing) is Picture for thing in gc.get_objects())
