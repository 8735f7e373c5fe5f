"""What the server refuses, and how it says so."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from demo.app import allowed_hosts, parse
from tests.demo.test_api import serving
from tests.exporting.models import write_model


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("guarded")
    model = write_model(folder / "cnn.safetensors")
    with serving(
        folder / "uploads", model, kept=300, auth=("me", "secret"), hosts=["127.0.0.1"],
        frames="https://example.org",
    ) as blocks:  # fmt: skip
        yield blocks


@pytest.fixture
def http(server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.local_url, timeout=60) as client:
        yield client


def log_in(http: httpx.Client, password: str = "secret") -> int:
    return http.post("/login", data={"username": "me", "password": password}).status_code


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("compare", []), ("compare", [123, 0, 0]), ("compare", ["x", 0, 0]),
        ("compare", [{"path": 5}, 0, 0]), ("compare", [[], 0, 0]), ("batch", [5]),
        ("batch", [[5]]), ("batch", ["x"]), ("batch", []),
    ],
)  # fmt: skip
def test_malformed_calls_get_a_sentence(
    http: httpx.Client, name: str, data: list[Any], capfd: pytest.CaptureFixture[str]
):
    log_in(http)
    event = http.post(f"/gradio_api/call/{name}", json={"data": data}).json()["event_id"]
    reply = http.get(f"/gradio_api/call/{name}/{event}").text
    assert "event: error" in reply
    assert f"The call does not fit. {name} takes: Picture" in reply
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("path", ["upload", "component_server/"])
def test_who_leaves_in_the_midst_of_sending_leaves_no_trace(
    http: httpx.Client, path: str, caplog: pytest.LogCaptureFixture
):
    log_in(http)
    cookies = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
    head = (
        f"POST /gradio_api/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookies}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9999\r\n\r\n"
    )
    part = '--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\nabc'
    log = logging.getLogger("uvicorn.error")
    log.addHandler(caplog.handler)
    with socket.create_connection((http.base_url.host, http.base_url.port)) as connection:
        connection.sendall((head + part).encode())
        time.sleep(0.5)  # until it waits for the rest
    time.sleep(0.5)
    assert http.get("/config").status_code == 200
    log.removeHandler(caplog.handler)
    assert caplog.text == ""


def test_an_endpoint_that_is_not_there(http: httpx.Client):
    log_in(http)
    reply = http.post("/gradio_api/call/nothing", json={"data": []})
    assert reply.status_code == 404
    assert "no such endpoint" in reply.json()["error"]


@pytest.mark.parametrize("header", ["host", "x-forwarded-host"])
def test_other_names_are_refused(http: httpx.Client, header: str):
    reply = http.get("/", headers={header: "elsewhere.example"})
    assert reply.status_code == 400
    assert "elsewhere" not in reply.text


def test_headers(http: httpx.Client):
    for path in ("/", "/theme.css", "/nothing"):
        headers = http.get(path).headers
        assert "frame-ancestors https://example.org" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_without_the_password_nothing_is_told(http: httpx.Client):
    for path in ("/openapi.json", "/gradio_api/openapi.json", "/gradio_api/info", "/docs"):
        reply = http.get(path)
        assert reply.status_code in (401, 404), path
        assert "compare" not in reply.text


def test_failed_logins_are_slowed_though_they_come_at_once(http: httpx.Client):
    assert log_in(http) == 200
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda n: log_in(http, f"guess {n}"), range(4))) == [400] * 4
    assert time.monotonic() - began >= 0.5 + 1 + 2
    assert log_in(http) == 200
    began = time.monotonic()
    assert log_in(http) == 200
    assert time.monotonic() - began < 2


def test_hosts_are_known_where_this_machine_alone_is_served(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    assert "127.0.0.1" in allowed_hosts(parse([]))
    assert allowed_hosts(parse(["--host", "0.0.0.0"])) == []
    assert allowed_hosts(parse(["--share"])) == []
    named = allowed_hosts(parse(["--host", "0.0.0.0", "--allowed-host", "Ages.example"]))
    assert {"ages.example", "127.0.0.1"} <= set(named)
