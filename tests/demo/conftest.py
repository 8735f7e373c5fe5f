"""The demo in a real browser, for the tests that use it as a visitor does."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import urlopen

import pytest

from tests.demo.pictures import PORTRAIT, ROOT

CHROMIUM = os.environ.get("AGECLI_CHROMIUM") or shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
TIMEOUT = 120_000
"""Milliseconds: other work may share the machine."""
Visit = Callable[..., Any]
RELOADED = ("aborted", "Connection errored out")
"""What the console says where a reload cuts the stream of Gradio's events."""


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the released models as a user does."""
    log = tmp_path_factory.mktemp("demo") / "log.txt"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, ROOT / "demo" / "app.py", "--port", str(port), "--max-size", "3"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 600
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the server did not start"
            try:
                urlopen(url).close()
                break
            except OSError:
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start Chromium; its camera shows the portrait."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("no Chromium: AGECLI_CHROMIUM names none")
    camera = tmp_path_factory.mktemp("camera") / "portrait.mjpeg"
    camera.write_bytes(PORTRAIT.read_bytes())
    flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    """Open the page; at the end, its console has to be free of errors, and nobody else asked."""
    wrong: list[str] = []
    pages = []

    def hear(message: str) -> None:
        if not any(words in message for words in RELOADED):
            wrong.append(message)

    def go(width: int = 1280, scheme: str = "light", script: str = "", phone: bool = False) -> Any:
        page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme,
            reduced_motion="reduce", is_mobile=phone, has_touch=phone,
        )  # fmt: skip
        page.set_default_timeout(TIMEOUT)
        page.add_init_script(script)
        page.on("console", lambda m: hear(f"{m.text} {m.location.get('url', '')}")
                if m.type == "error" else None)  # fmt: skip
        page.on("pageerror", lambda error: hear(str(error)))
        page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:"))
                else wrong.append(f"asked {r.url}"))  # fmt: skip
        page.goto(address)
        page.wait_for_selector("#upload input[type=file]", state="attached")
        pages.append(page)
        return page

    yield go
    for page in pages:
        page.close()
    assert not wrong
