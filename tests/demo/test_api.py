"""The demo's server as programs see it: the API, its limits, and what it keeps to itself."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from agecli.guide import read_page
from tests.conftest import Cli
from tests.demo.pictures import PORTRAIT, animation, crowd, write_troubles
from tests.exporting.models import write_model


@contextmanager
def serving(folder: Path, *names: str | Path, kept: int, **more: Any) -> Iterator[Any]:
    """Serve models; uploads go to a folder and are kept for some seconds."""
    from demo.models import find_contenders
    from demo.serve import serve

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        blocks = serve(
            find_contenders(names, "cpu"), host="127.0.0.1", port=None, max_size=2, waiting=100,
            kept=kept, block=False, **more,
        )  # fmt: skip
        yield blocks
        blocks.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Serve the released models, and a broken file."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "broken.safetensors").write_bytes(b"no weights")
    names = ("cnn", "capsnet", folder / "broken.safetensors")
    with serving(folder / "uploads", *names, kept=300) as blocks:
        yield blocks


@pytest.fixture(scope="module")
def client(server: Any) -> Client:
    return connect(server)


def connect(server: Any) -> Client:
    return Client(server.local_url, verbose=False, httpx_kwargs={"timeout": 120})


def ask(client: Client, path: Path, *more: float) -> dict[str, Any]:
    return client.predict(handle_file(str(path)), *more, api_name="/compare")


def test_answers_are_those_of_predict(client: Client, cli: Cli):
    said = ask(client, PORTRAIT)
    told = cli("predict", PORTRAIT, "--model", "all", "--json").stdout.splitlines()
    rows = [json.loads(line) for line in told]
    wanted = {row["model"]: row for row in rows}
    assert [answer["model"] for answer in said["answers"]] == ["cnn", "capsnet"]
    for answer in said["answers"]:
        row = wanted[answer["model"]]
        for key in ("face", "group", "probability", "probabilities", "age", "status"):
            assert answer[key] == row[key], key
    assert said["picture"] == PORTRAIT.name


def test_the_guides_example_works(server: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    text = read_page("demo")
    example = re.search(r"```python\n(from gradio_client.*?)```", text, re.DOTALL)
    assert example
    monkeypatch.chdir(PORTRAIT.parents[2])
    code = example[1].replace("http://127.0.0.1:7860", server.local_url)
    exec(code, {})
    assert "[('cnn', '25-32'), ('capsnet'" in capsys.readouterr().out


def test_models_together_and_a_broken_file(client: Client):
    said = ask(client, PORTRAIT)
    cnn, capsnet = (answer["probabilities"] for answer in said["answers"])
    for group, chance in said["together"]["probabilities"].items():
        assert chance == pytest.approx((cnn[group] + capsnet[group]) / 2, abs=1e-4)
    (broken,) = said["broken"]
    assert broken["model"] == "broken"
    assert "broken.safetensors is not a complete safetensors file" in broken["error"]
    assert "/" not in broken["error"].replace("copy or make", "")


def test_a_face_of_several_is_chosen_and_the_margin_moves_the_answer(
    client: Client, tmp_path: Path
):
    picture = crowd(tmp_path / "crowd.jpg")
    said = ask(client, picture)
    assert len(said["faces"]) >= 28
    other = ask(client, picture, 3)
    assert other["face"] == 3
    assert other["answers"][0]["face"] == said["faces"][3] != said["faces"][0]
    wide = ask(client, PORTRAIT, 0, 0.3)
    plain = ask(client, PORTRAIT, 0, 0)
    assert wide["answers"][0]["face"] == plain["answers"][0]["face"]
    assert wide["answers"][0]["probabilities"] != plain["answers"][0]["probabilities"]
    for number, margin in [(-1, 0), (99, 0), (0, "wide"), (0.5, 0)]:
        with pytest.raises(AppError, match=r"There is no face|has to be a number"):
            ask(client, picture, number, margin)


def test_troubles_get_a_sentence(client: Client, tmp_path: Path):
    for words, path in write_troubles(tmp_path).items():
        with pytest.raises(AppError, match=words.strip()) as caught:
            ask(client, path)
        text = str(caught.value)
        assert "Traceback" not in text
        assert "/" not in text, text


def test_an_animation_is_answered_by_its_first_frame(client: Client, tmp_path: Path):
    assert ask(client, animation(tmp_path / "two.gif"))["answers"][0]["group"]


def test_files_over_the_limit_are_refused_while_they_come(client: Client, tmp_path: Path):
    (tmp_path / "large.jpg").write_bytes(PORTRAIT.read_bytes() + bytes(3_000_000))
    with pytest.raises(Exception, match="exceeds the maximum file size"):
        ask(client, tmp_path / "large.jpg")


def test_batch(client: Client, tmp_path: Path):
    text = write_troubles(tmp_path)["not a picture"]
    files = [handle_file(str(path)) for path in (PORTRAIT, text, crowd(tmp_path / "c.jpg", 2, 1))]
    rows = client.predict(files, api_name="/batch")
    assert [row["source"] for row in rows] == [PORTRAIT.name] * 2 + ["text.jpg"] + ["c.jpg"] * 4
    assert [row["status"] for row in rows] == ["ok"] * 2 + ["unreadable"] + ["ok"] * 4
    assert rows[0]["group"] == ask(client, PORTRAIT)["answers"][0]["group"]
    with pytest.raises(AppError, match="at least one"):
        client.predict([], api_name="/batch")


def test_many_clients_get_their_own_answers(server: Any, tmp_path: Path):
    """Each client has a picture with another number of faces."""
    pictures = [crowd(tmp_path / f"{n}.jpg", n % 4 + 1, n // 4 + 1) for n in range(8)]
    alone = connect(server)
    wanted = [ask(alone, picture) for picture in pictures]

    def visit(number: int) -> dict[str, Any]:
        return ask(connect(server), pictures[number % len(pictures)])

    with ThreadPoolExecutor(20) as pool:
        for number, said in enumerate(pool.map(visit, range(20))):
            right = wanted[number % len(pictures)]
            assert said["faces"] == right["faces"]
            for mine, theirs in zip(said["answers"], right["answers"], strict=True):
                assert mine["probabilities"] == theirs["probabilities"]
    assert len({len(said["faces"]) for said in wanted}) > 4


def test_uploads_are_deleted(tmp_path: Path):
    model = write_model(tmp_path / "cnn.safetensors")
    with serving(tmp_path / "uploads", model, kept=2) as server:
        assert ask(connect(server), PORTRAIT)["answers"]
        deadline = time.monotonic() + 60
        while left := [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]:
            assert time.monotonic() < deadline, left
            time.sleep(0.2)


def test_nothing_but_its_own_files_is_served(server: Any, client: Client, tmp_path: Path):
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(PORTRAIT.read_bytes())
    base = server.local_url.rstrip("/")
    with httpx.Client() as http:
        for wanted in (secret, Path(__file__), PORTRAIT, "/etc/passwd", "demo/app.py"):
            for form in ("/gradio_api/file={}", "/file={}", "/gradio_api/file/{}"):
                reply = http.get(base + form.format(wanted))
                assert reply.status_code in (403, 404), (wanted, form)
        assert http.get(f"{base}/static/../../etc/passwd").status_code in (403, 404)
        # A path in place of an upload
        for data in (
            {"path": str(secret), "meta": {"_type": "gradio.FileData"}},
            {"path": str(secret)},
            {"path": str(secret), "orig_name": "x.jpg", "url": None},
        ):
            reply = http.post(f"{base}/gradio_api/call/compare", json={"data": [data, 0, 0]})
            event = reply.json().get("event_id")
            text = http.get(f"{base}/gradio_api/call/compare/{event}", timeout=60).text
            assert "event: error" in text, text
            assert "answers" not in text
            assert str(tmp_path) not in text.replace(json.dumps(str(secret))[1:-1], "")
            assert "Traceback" not in text
        # What the page is told about itself names no place on the server
        config = http.get(f"{base}/config").text
        info = http.get(f"{base}/gradio_api/info").text
        home = str(Path(__file__).parents[2])
        assert home not in config + info
        assert set(json.loads(info)["named_endpoints"]) == {"/compare", "/batch"}


def test_a_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from agecli.inference import predictor
    from demo.models import Contender

    loads: list[Path] = []
    load = predictor.load_model

    def counted(path: Path, device: Any) -> Any:
        loads.append(path)
        time.sleep(0.2)
        return load(path, device)

    monkeypatch.setattr(predictor, "load_model", counted)
    contender = Contender(write_model(tmp_path / "cnn.safetensors"), "cpu")
    assert not loads
    threads = [threading.Thread(target=lambda: contender.model) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
