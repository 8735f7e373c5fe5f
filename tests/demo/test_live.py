"""The live tab: what is said of a stream, how frames are taken in, and what is left of them."""

from __future__ import annotations

import base64
import gc
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from agecli.inference.predictor import Predictor
from demo.live import Live
from demo.models import Contender
from demo.reading import MB, Refused
from tests.demo.conftest import Visit
from tests.demo.pictures import FACE, PORTRAIT
from tests.demo.test_api import serving
from tests.exporting.models import write_model

REFUSE = """navigator.mediaDevices.getUserMedia = async () => {
  throw new DOMException('aborted', 'NotAllowedError') };"""


def frame(*places: int) -> bytes:
    """Return a JPEG picture of 640 × 480 pixels, with the portrait's face at these x."""
    face = Image.open(PORTRAIT).convert("RGB").crop(FACE)
    image = Image.new("RGB", (640, 480), (90, 120, 90))
    for x in places:
        image.paste(face, (x, 100))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("live") / "cnn.safetensors")


def test_people_keep_their_numbers_and_answers_are_those_of_predict(model: Path):
    live = Live(Contender(model, "cpu"), MB)
    size, ((_, first),) = live.see(frame(300))
    (row,) = Predictor([model], device="cpu").predict([frame(300)])
    assert size == (640, 480)
    assert (first.group, first.probabilities) == (row.group, row.probabilities)
    for shift in (20, 40):
        _, people = live.see(frame(0, 300 + shift))
    places = {row.track.number: face.box[0] for face, row in people if face and row.track}
    assert sorted(places) == [1, 2]
    assert places[2] < 200 < 340 < places[1]
    with pytest.raises(Refused, match="not a picture"):
        live.see(b"none")
    assert live.see(frame())[1] == []


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    uploads = tmp_path_factory.mktemp("uploads")
    with serving(uploads, model, kept=300) as blocks:
        blocks.uploads = uploads
        yield blocks


def ask(server: Any, name: str, data: Any, session: str = "one") -> Any:
    """Call one of the tab's functions, as its script does."""
    (tab,) = (block._id for block in server.blocks.values() if block.elem_id == "live")
    body = {"data": data, "component_id": tab, "fn_name": name, "session_hash": session}
    url = f"{server.local_url}gradio_api/component_server/"
    reply = httpx.post(url, json=body, timeout=120)
    assert reply.status_code == 200
    return reply.json()


@pytest.mark.parametrize("name", ["start", "see", "stop"])
def test_a_form_is_refused(server: Any, name: str):
    (tab,) = (block._id for block in server.blocks.values() if block.elem_id == "live")
    form = {"data": "cnn", "component_id": str(tab), "fn_name": name, "session_hash": "one"}
    url = f"{server.local_url}gradio_api/component_server/"
    reply = httpx.post(url, files={key: (None, value) for key, value in form.items()}, timeout=120)
    assert reply.status_code == 400 or reply.json()["error"]


def uri(data: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def test_a_stream_is_started_seen_and_stopped(server: Any):
    assert "has ended" in ask(server, "see", uri(frame(300)))["error"]  # before it was started
    for wrong in ("no such model", ["cnn"], None):
        assert ask(server, "start", wrong)["error"] == "This model is not here."
    assert ask(server, "start", "cnn") == {}
    answer = ask(server, "see", uri(frame(300)))
    assert answer["count"] == 1
    assert "Person 1" in answer["people"]
    for wrong in ("", "data:image/jpeg;base64,????", uri(b"none"), 7, None):
        assert ask(server, "see", wrong)["error"]
    ask(server, "stop", None)
    assert "has ended" in ask(server, "see", uri(frame(300)))["error"]


def test_of_frames_at_once_one_is_taken(server: Any):
    """A page that does not wait for its answers gets no more of the server than others."""
    ask(server, "start", "cnn", "greedy")
    ask(server, "start", "cnn", "modest")
    ask(server, "see", uri(frame(300)), "modest")
    with ThreadPoolExecutor(9) as pool:
        greedy = [pool.submit(ask, server, "see", uri(frame(300)), "greedy") for _ in range(8)]
        modest = pool.submit(ask, server, "see", uri(frame(300)), "modest")
        taken = [one.result() for one in greedy]
        assert modest.result()["count"] == 1
    assert 1 <= sum("count" in one for one in taken) < 8
    assert all("count" in one or "has ended" in one["error"] for one in taken)


def test_nothing_is_left_of_a_frame(server: Any):
    ask(server, "start", "cnn", "two")
    ask(server, "see", uri(frame(300)), "two")
    gc.collect()
    images = [thing for thing in gc.get_objects() if issubclass(type(thing), Image.Image)]
    assert [image for image in images if image.size == (640, 480)] == []
    assert [path for path in server.uploads.rglob("*") if path.is_file()] == []


@pytest.mark.browser
def test_the_camera_is_answered_for_one_frame_at_a_time(visit: Visit):
    page = visit()
    page.click("role=tab[name='Live']")
    asked = {"now": 0, "most": 0, "answers": 0}

    def count(request: Any, change: int) -> None:
        if "component_server" in request.url:
            asked["now"] += change
            asked["most"] = max(asked["most"], asked["now"])
            asked["answers"] += change < 0

    page.on("request", lambda request: count(request, 1))
    page.on("requestfinished", lambda request: count(request, -1))
    page.click("text=Start the camera")
    page.wait_for_selector("[data-person='1'] >> text=25–32")
    before = asked["answers"]
    while asked["answers"] < before + 10:
        page.wait_for_timeout(50)
    assert asked["most"] == 1
    assert page.locator("[data-person]").count() == 1  # the same person all the while
    assert page.inner_text(".live [role=status]") == "One person is in view."
    centre = page.evaluate(CENTRE)  # in one go: each answer draws the boxes again
    assert centre == pytest.approx(1 - 225 / 512, abs=0.06)  # the portrait's face, in a mirror
    page.click("text=Stop the camera")
    page.wait_for_selector(".live [role=status] >> text=The camera is off.")
    assert page.locator(".live .face, [data-person]").count() == 0
    assert page.evaluate("document.querySelector('.live video').srcObject === null")


CENTRE = """() => {
  const [face, video] = ['.live .face', '.live video'].map(
    place => document.querySelector(place).getBoundingClientRect());
  return (face.x + face.width / 2 - video.x) / video.width;
}"""


@pytest.mark.browser
def test_the_camera_stops_when_the_tab_is_left_and_answers_by_another_model(visit: Visit):
    page = visit(390)
    page.click("role=tab[name='Live']")
    page.select_option(".live select", "capsnet")
    page.click("text=Start the camera")
    page.wait_for_selector("[data-person='1']")
    page.select_option(".live select", "cnn")
    page.wait_for_selector("[data-person='1'] .span")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click("role=tab[name='Compare']")
    page.wait_for_function("!document.querySelector('.live video').srcObject")


@pytest.mark.browser
def test_a_refused_camera_is_said(visit: Visit):
    page = visit(script=REFUSE)
    page.click("role=tab[name='Live']")
    page.click("text=Start the camera")
    page.wait_for_selector(".toast >> text=The camera cannot be used")
    assert page.inner_text(".live [role=status]") == "There is no picture from the camera."
    assert page.inner_text("[data-live]") == "Start the camera"


@pytest.mark.browser
def test_a_stream_goes_with_its_page(browser: Any, server: Any):
    page = browser.new_page()
    page.goto(server.local_url)
    page.click("role=tab[name='Live']")
    page.click("text=Start the camera")
    page.wait_for_selector("[data-live] >> text=Stop the camera")
    page.wait_for_selector(".live [role=status] >> text=/in view/")
    before = streams()
    page.close()
    deadline = time.monotonic() + 20
    while streams() != before - 1:
        assert time.monotonic() < deadline, "the stream outlives its page"
        time.sleep(0.2)


def streams() -> int:
    gc.collect()
    return sum(type(thing) is Live for thing in gc.get_objects())
