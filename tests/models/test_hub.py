"""Pre-trained weights against hubs, caches and files made here; no test leaves this machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from agecli.errors import UsageError, WeightsError
from agecli.models import hub
from agecli.models.hub import find_backbone, imagenet_state, read_state

NAME, COMMIT = "owner/tiny", "0123456789abcdef0123456789abcdef01234567"
REFUSED = "http://127.0.0.1:9"
SOON = 30
"""Seconds: without the deadline it takes minutes; a loaded machine may exceed the deadline."""
STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a small Dinov2, as `save_pretrained` lays it out."""
    from transformers import Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("backbone")
    config = Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=7
    )
    Dinov2Model(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    return folder


class Server(ThreadingHTTPServer):
    """A web server on this machine: answers by path, and the paths it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.otherwise = 404
        self.sent: float = 1
        """The part of a weights file that is sent, before the connection is closed."""
        self.stalls = threading.Event()
        """Set: the connection is kept open in place of being closed."""
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append((self.command, path))
        status, headers, body = self.server.answers.get(path, (self.server.otherwise, {}, b""))
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            whole = not path.endswith((".safetensors", ".pth"))
            self.wfile.write(body if whole else body[: int(len(body) * self.server.sent)])
            if self.server.stalls.is_set():
                self.wfile.flush()
                self.server.over.wait(60)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def black_hole() -> Iterator[str]:
    """Accept connections and never respond."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def serve_repository(server: Server, folder: Path) -> None:
    """Respond like the hub for a repository that also has a pickle of its weights."""
    sizes = []
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name, content in (files | {"pytorch_model.bin": b"a pickle"}).items():
        etag = hashlib.sha256(content).hexdigest()
        sizes.append({"type": "file", "path": name, "size": len(content), "oid": etag})
        headers = {
            "X-Repo-Commit": COMMIT,
            "ETag": f'"{etag}"',
            "X-HF-Warning": "login; please log in",  # logged, if it is not silenced
        }
        for revision in ("main", COMMIT):
            server.answers[f"/{NAME}/resolve/{revision}/{name}"] = (200, headers, content)
    info = json.dumps({"id": NAME, "sha": COMMIT}).encode()
    as_json = {"Content-Type": "application/json"}
    server.answers[f"/api/models/{NAME}"] = (200, as_json, info)
    server.answers[f"/api/models/{NAME}/revision/main"] = (200, as_json, info)
    server.answers[f"/api/models/{NAME}/tree/{COMMIT}"] = (200, as_json, json.dumps(sizes).encode())


SCRIPT = """
import json, sys, time
from agecli.errors import AgecliError
from agecli.models.hub import find_backbone

said, start = [], time.monotonic()
try:
    folder, revision = find_backbone(*sys.argv[1:], announce=said.append)
    answer = {"folder": str(folder), "revision": revision}
except AgecliError as error:
    answer = {"error": str(error), "kind": type(error).__name__}
heavy = sorted({"torch", "transformers", "torchvision"} & set(sys.modules))
answer |= {"said": said, "seconds": time.monotonic() - start, "heavy": heavy}
print(json.dumps(answer))
"""
Find = Callable[..., dict[str, Any]]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """Run find_backbone in a process of its own, as the hub's library reads its settings once.

    Whatever it prints fails the test; so does an error of another kind, or of several lines.
    """

    def run(*arguments: str, endpoint: str = REFUSED, **extra: str) -> dict[str, Any]:
        ours = {
            "HF_HOME": str(tmp_path / "hf"),
            "HF_ENDPOINT": endpoint,
            "PYTHONPATH": str(Path.cwd()),
        }
        proxies = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("HF_", "HUGGINGFACE_", "TRANSFORMERS_"))
            and key.upper() not in proxies
        }
        result = subprocess.run(
            [sys.executable, "-c", SCRIPT, *arguments],
            capture_output=True,
            text=True,
            env=inherited | ours | extra,
            timeout=300,
        )
        assert result.stderr == ""
        assert len(result.stdout.splitlines()) == 1, result.stdout
        answer = json.loads(result.stdout)
        assert "\n" not in answer.get("error", "")
        assert answer["heavy"] == []
        return answer

    return run


def fill_cache(tmp_path: Path, backbone: Path, *names: str) -> Path:
    """Create the hub's cache by hand, as after a download; return the snapshot."""
    repository = tmp_path / "hf/hub/models--owner--tiny"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    for name in names:
        shutil.copy(backbone / name, snapshot)
    return snapshot


def test_a_folder_is_found_with_the_hash_of_its_weights(backbone: Path):
    from transformers import AutoModel

    digest = hashlib.sha256((backbone / "model.safetensors").read_bytes()).hexdigest()
    folder, revision = find_backbone(str(backbone))
    assert (folder, revision) == (backbone, f"sha256:{digest[:16]}")
    assert find_backbone(str(backbone), revision) == (backbone, revision)
    assert AutoModel.from_pretrained(folder).config.hidden_size == 24


def test_a_folder_with_other_weights_is_refused(backbone: Path, tmp_path: Path):
    _, revision = find_backbone(str(backbone))
    copy = shutil.copytree(backbone, tmp_path / "copy")
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    with pytest.raises(WeightsError, match=r"other weights .* than those it was trained on"):
        find_backbone(str(copy), revision)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_a_needed_file_is_refused(backbone: Path, tmp_path: Path, missing: str):
    copy = shutil.copytree(backbone, tmp_path / "copy")
    (copy / "preprocessor_config.json").unlink()
    assert find_backbone(str(copy))[0] == copy
    (copy / missing).unlink()
    with pytest.raises(WeightsError, match=f"has no {missing}"):
        find_backbone(str(copy))


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "/no/such/folder", "../tiny", "a b/c"])
def test_what_is_neither_folder_nor_hub_id_is_a_wrong_option(name: str):
    with pytest.raises(UsageError, match=r"--backbone.* is neither a folder nor a hub id"):
        find_backbone(name)


def test_a_folder_that_is_gone_is_not_sought_on_the_hub():
    with pytest.raises(
        WeightsError, match=r"There is no folder models/tiny .*sha256:0123.*export --with-backbone"
    ):
        find_backbone("models/tiny", "sha256:0123456789abcdef")


@pytest.mark.parametrize("arguments", [(NAME,), (NAME, "main"), (NAME, COMMIT)])
@pytest.mark.parametrize("extra", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_a_warm_cache_needs_no_network(tmp_path, backbone, find: Find, arguments, extra):
    snapshot = fill_cache(tmp_path, backbone, "config.json", "model.safetensors")
    answer = find(*arguments, **extra)
    assert (answer["folder"], answer["revision"]) == (str(snapshot), COMMIT)
    assert answer["said"] == []


def test_a_half_filled_cache_or_another_revision_is_not_enough(tmp_path, backbone, find: Find):
    snapshot = fill_cache(tmp_path, backbone, "config.json")
    assert "cannot be reached" in find(NAME)["error"]
    shutil.copy(backbone / "model.safetensors", snapshot)
    assert find(NAME)["revision"] == COMMIT
    assert f"(revision {'f' * 40})" in find(NAME, "f" * 40)["error"]


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_asks_nobody(find: Find, server: Server, variable: str):
    answer = find(NAME, endpoint=server.url, **{variable: "1"})
    assert answer["kind"] == "WeightsError"
    assert f"{variable} forbids" in answer["error"]
    assert "--backbone FOLDER" in answer["error"]
    assert server.asked == []


def test_a_refused_connection_is_reported_with_the_ways_on(find: Find):
    answer = find(NAME, "v1")
    assert answer["kind"] == "WeightsError"
    assert f"{NAME} (revision v1)" in answer["error"]
    assert "127.0.0.1:9 cannot be reached ([Errno 111] Connection refused)" in answer["error"]
    assert "config.json, preprocessor_config.json and model.safetensors" in answer["error"]
    assert "--backbone FOLDER" in answer["error"]
    assert answer["seconds"] < SOON
    assert answer["said"] == []


def test_a_hub_that_never_answers_is_abandoned(find: Find, black_hole: str):
    answer = find(NAME, endpoint=black_hole)
    assert "cannot be reached" in answer["error"]
    assert hub.DEADLINE - 0.5 < answer["seconds"] < SOON


def test_a_proxy_is_asked_and_may_refuse(find: Find, server: Server):
    answer = find(NAME, endpoint=server.url, HTTP_PROXY=REFUSED, NO_PROXY="")
    assert "cannot be reached" in answer["error"]
    assert server.asked == []


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "has no model.safetensors of owner/tiny (revision main) (HTTP 401)"),
        (403, "has no model.safetensors of owner/tiny (revision main) (HTTP 403)"),
        (404, "has no model.safetensors of owner/tiny (revision main) (HTTP 404)"),
        (503, "cannot be reached (HTTP 503)"),
    ],
)
def test_a_hub_that_declines_is_named_with_its_answer(find: Find, server: Server, status, says):
    server.otherwise = status
    answer = find(NAME, endpoint=server.url)
    assert says in answer["error"]
    assert "--backbone" in answer["error"]
    assert answer["seconds"] < SOON


def test_a_backbone_is_downloaded_once_and_without_its_pickle(find: Find, server: Server, backbone):
    serve_repository(server, backbone)
    answer = find(NAME, endpoint=server.url)
    assert answer["revision"] == COMMIT
    assert answer["said"] == [f"downloading {NAME} from {server.url.removeprefix('http://')}"]
    fetched = {path.name: path.read_bytes() for path in Path(answer["folder"]).iterdir()}
    assert fetched == {name: (backbone / name).read_bytes() for name in hub.FILES}
    again = find(NAME)
    assert (again["folder"], again["said"]) == (answer["folder"], [])


def test_a_repository_without_config_is_refused(find: Find, server: Server, backbone, tmp_path):
    copy = shutil.copytree(backbone, tmp_path / "copy")
    (copy / "config.json").unlink()
    serve_repository(server, copy)
    assert "no config.json of owner/tiny" in find(NAME, endpoint=server.url)["error"]


def test_a_download_that_breaks_off_is_one_line(backbone, monkeypatch, server: Server, tmp_path):
    import huggingface_hub

    def full(*_: Any, local_files_only: bool, **__: Any) -> str:
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not cached")
        warnings.warn("Not enough free disk space", stacklevel=2)  # an error, if not silenced
        raise OSError(28, "No space left\non device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    serve_repository(server, backbone)
    warnings.simplefilter("error")  # pytest puts it back
    with pytest.raises(
        WeightsError, match=r"could not be downloaded .* \(\[Errno 28\] No space left "
    ):
        find_backbone(NAME)


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set an empty cache for torch hub."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub/checkpoints"


@pytest.fixture
def publish(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """Serve a file as torchvision's resnet18, under a name with its hash, which is returned."""
    from torchvision.models import ResNet18_Weights

    monkeypatch.setenv("NO_PROXY", "*")

    def run(content: Any, host: str = server.url, digest: str | None = None) -> str:
        torch.save(content, tmp_path / "published.pth")
        body = (tmp_path / "published.pth").read_bytes()
        name = f"tiny-{digest or hashlib.sha256(body).hexdigest()[:8]}.pth"
        server.answers[f"/{name}"] = (200, {}, body)
        monkeypatch.setattr(ResNet18_Weights.DEFAULT.value, "url", f"{host}/{name}")
        return name

    return run


def assert_same(actual: dict[str, torch.Tensor]) -> None:
    assert actual.keys() == STATE.keys()
    for name, tensor in STATE.items():
        torch.testing.assert_close(actual[name], tensor, rtol=0, atol=0)


class Code:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50"])
def test_cached_imagenet_weights_need_no_network(checkpoints, monkeypatch, arch: str):
    from torchvision.models import get_model_weights

    def connect(*_: Any) -> None:
        raise AssertionError("the network was touched")

    checkpoints.mkdir(parents=True)
    torch.save(STATE, checkpoints / Path(get_model_weights(arch).DEFAULT.url).name)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    assert_same(imagenet_state(arch))


def test_imagenet_weights_are_downloaded_once_in_silence(checkpoints, publish, server, capfd):
    name = publish(STATE)
    said: list[str] = []
    assert_same(imagenet_state("resnet18", said.append))
    assert said == [f"downloading {name} from 127.0.0.1:{server.server_port}"]
    assert server.asked == [("HEAD", f"/{name}"), ("GET", f"/{name}")]
    assert_same(imagenet_state("resnet18", said.append))
    assert (len(said), len(server.asked)) == (1, 2)
    assert capfd.readouterr() == ("", "")
    assert socket.getdefaulttimeout() is None


def test_imagenet_weights_of_another_hash_are_not_kept(checkpoints, publish):
    publish(STATE, digest="00000000")
    with pytest.raises(WeightsError, match=r"could not be downloaded .*invalid hash value"):
        imagenet_state("resnet18")
    assert list(checkpoints.iterdir()) == []


@pytest.mark.parametrize("stalls", [False, True])
def test_a_broken_off_download_is_not_kept(checkpoints, publish, server, monkeypatch, stalls):
    publish(STATE)
    start = time.monotonic()
    server.sent = 0.5
    if stalls:
        server.stalls.set()
        monkeypatch.setattr(hub, "STALL", 0.2)
    with pytest.raises(WeightsError, match=r"could not be downloaded .*--init PATH.*--init none"):
        imagenet_state("resnet18")
    assert time.monotonic() - start < SOON
    assert list(checkpoints.iterdir()) == []


def test_imagenet_weights_run_no_code(checkpoints, publish, tmp_path):
    name = publish({"weight": Code(tmp_path / "ran")})
    with pytest.raises(WeightsError, match=f"{name} is damaged: delete it"):
        imagenet_state("resnet18")
    assert not (tmp_path / "ran").exists()


def assert_unreachable(name: str, host: str) -> None:
    said: list[str] = []
    start = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        imagenet_state("resnet18", said.append)
    assert time.monotonic() - start < SOON
    assert f"{host.removeprefix('http://')} cannot be reached (" in str(caught.value)
    assert f"download {host}/{name} elsewhere and pass it as --init PATH" in str(caught.value)
    assert "--init none" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert said == []


def test_an_unreachable_host_of_imagenet_weights(checkpoints, publish, black_hole, monkeypatch):
    monkeypatch.setattr(hub, "DEADLINE", 0.3)
    assert_unreachable(publish(STATE, REFUSED), REFUSED)
    assert_unreachable(publish(STATE, black_hole), black_hole)


def test_a_name_look_up_that_hangs_is_abandoned(checkpoints, publish, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(hub, "DEADLINE", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(60))
    assert_unreachable(publish(STATE, "http://slow.invalid"), "http://slow.invalid")
    over.set()


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_reads_a_state_dict(tmp_path: Path, suffix: str):
    path = tmp_path / f"state{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(STATE, path)
    assert_same(read_state(path))


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_unwraps_a_checkpoint_of_data_parallel_training(tmp_path: Path, key: str):
    inner = {f"module.{name}": tensor for name, tensor in STATE.items()}
    torch.save({"epoch": 3, key: inner, "optimizer": {"lr": 0.1}}, tmp_path / "last.pth")
    assert_same(read_state(tmp_path / "last.pth"))


def test_strips_only_a_prefix_that_all_have(tmp_path: Path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "state.pth")
    assert list(read_state(tmp_path / "state.pth")) == ["module.a", "b"]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_or_missing_file_is_named(tmp_path: Path, suffix: str):
    path = tmp_path / f"state{suffix}"
    with pytest.raises(WeightsError, match=f"--init: there is no file {path}"):
        read_state(path)
    (save_file if suffix == ".safetensors" else torch.save)(STATE, path)
    whole = path.read_bytes()
    for content in (b"", b"\0garbage" * 9, whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(
            WeightsError, match=f"--init: {path} is (damaged or contains more than|an empty)"
        ):
            read_state(path)


@pytest.mark.parametrize(
    "content", [{}, [1], {"epoch": 3}, {"model": {"lr": 0.1}}, STATE["bias"], {3: STATE["bias"]}]
)
def test_other_content_than_tensors_is_refused(tmp_path: Path, content: Any):
    torch.save(content, tmp_path / "state.pth")
    with pytest.raises(WeightsError, match=r"--init: .*state\.pth .*contains more than tensors"):
        read_state(tmp_path / "state.pth")


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer: run `git lfs pull`"),
     (b"<!DOCTYPE html>", "is a web page, .*: download the file itself again"),
     (b"\x89HDF\r\n\x1a\n", "is a Keras or another HDF5 file")],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["pth", "safetensors", "dat"])
def test_files_of_other_kinds_are_named(tmp_path: Path, content: bytes, what: str, suffix: str):
    (tmp_path / f"state.{suffix}").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"--init: .*state\.{suffix} {what}"):
        read_state(tmp_path / f"state.{suffix}")


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path):
    torch.save({"weight": Code(tmp_path / "ran")}, tmp_path / "state.pth")
    with pytest.raises(WeightsError, match=r"--init: .*state\.pth"):
        read_state(tmp_path / "state.pth")
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "state.pth", weights_only=False)  # it would have been run
    assert (tmp_path / "ran").exists()


def test_another_suffix_is_a_wrong_option(tmp_path: Path):
    with pytest.raises(
        UsageError, match=r"--init: .*weights\.bin is not a .safetensors, .pth, .pt or"
    ):
        read_state(tmp_path / "weights.bin")


def test_whether_the_hub_can_be_reached_is_reported_with_the_reason(
    server, black_hole, monkeypatch
):
    from huggingface_hub import constants

    from agecli.models.hub import why_unreachable

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    server.otherwise = 200
    for url, reason in (
        (server.url, ""),
        (REFUSED, "refused"),
        (black_hole, "no response in time"),
    ):
        monkeypatch.setattr(constants, "ENDPOINT", url)
        host, said = why_unreachable()
        assert host == url.removeprefix("http://")
        assert reason in said and bool(said) == bool(reason)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert why_unreachable()[1] == "HF_HUB_OFFLINE is set"
