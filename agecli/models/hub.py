"""Pre-trained weights: backbones of the Hugging Face hub, torchvision's ImageNet weights, files.

Cached files need no network; an unreachable host is reported within five seconds.
"""

from __future__ import annotations

import hashlib
import io
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from agecli.errors import UsageError, WeightsError, brief
from agecli.formats import PICKLE, SAFETENSORS, SCRIPT, Format, format_of

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
"""The files of a backbone's repository; their pickled twins are never downloaded."""
GIVE = "pass their folder as --backbone FOLDER"
DEADLINE = 4.0
"""Seconds to wait for a host's response; the libraries' own retries take half a minute."""
STALL = 30.0
"""Seconds without a byte after which a torchvision download counts as broken off."""


def find_backbone(
    name: str,
    revision: str = "",
    announce: Callable[[str], None] = lambda text: None,
    *,
    instead: str = GIVE,
) -> tuple[Path, str]:
    """Find the folder and the revision of a backbone, downloading it if it is not cached.

    name: a local folder, whose revision is the hash of its weights, or a hub id, whose revision
    is a commit. revision: the one required; any by default. announce: called before a download.
    instead: what an error message advises to do with files downloaded elsewhere.
    Raises UsageError for any other name, WeightsError if the files are unavailable.
    """
    if Path(name).is_dir() and (not revision or revision.startswith("sha256:")):
        return _check_folder(Path(name), revision)
    if revision.startswith("sha256:"):
        raise WeightsError(
            f"There is no folder {name} with the backbone {revision}: restore it, or use a file of "
            "`agecli export --with-backbone`"
        )
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name if "/" in name else "")
    except HFValidationError as error:
        raise UsageError(
            f"--backbone: {name!r} is neither a folder nor a hub id such as facebook/dinov2-small"
        ) from error
    folder = _cached_backbone(name, revision) or _fetch_backbone(name, revision, announce, instead)
    return folder, folder.name


def imagenet_state(
    arch: str, announce: Callable[[str], None] = lambda text: None
) -> dict[str, Tensor]:
    """Load the ImageNet weights of torchvision's resnet18, 34 or 50, downloading them once.

    announce: called before a download. Raises WeightsError if they are unavailable.
    """
    import torch
    from torchvision.models import get_model_weights  # type: ignore[import-untyped]

    weights = get_model_weights(arch).DEFAULT
    host, path = urlsplit(weights.url)[1:3]
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(path).name)
    ways = f"download {weights.url} elsewhere and pass it as --init PATH, or use --init none"
    if not cached.exists():
        head = Request(weights.url, method="HEAD")
        try:
            _ask(lambda: urlopen(head, timeout=DEADLINE).close())
        except Exception as error:  # of the network, or of a proxy's settings
            raise WeightsError(
                f"{cached.name} is not in {cached.parent} and {host} cannot be reached "
                f"({_reason(error)}): {ways}"
            ) from error
        announce(f"downloading {cached.name} from {host}")
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL)  # torch sets none, and would wait forever
    try:
        with redirect_stdout(io.StringIO()):  # torch prints what it downloads
            return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # of the network, the disk, the hash or the unpickler
        if cached.exists():
            raise WeightsError(f"{cached} is damaged: delete it and try again") from error
        raise WeightsError(
            f"{cached.name} could not be downloaded from {host} into {cached.parent} "
            f"({_reason(error)}): try again, or {ways}"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors, .pth, .pt or dlib's .dat file; run no code in it.

    A dict under the key `state_dict` or `model` is unwrapped, and the `module.` of data-parallel
    training is stripped. Raises UsageError for another suffix, WeightsError for any other content.
    """
    import torch
    from safetensors.torch import load_file

    from agecli.models.dlib import read_body

    if path.suffix not in (".safetensors", ".pth", ".pt", ".dat"):
        raise UsageError(f"--init: {path} is not a .safetensors, .pth, .pt or .dat file: pass one")
    if not path.is_file():
        raise WeightsError(f"--init: there is no file {path}: pass the path of a state dict")
    if (found := format_of(path)) and found not in (PICKLE, SCRIPT, Format(SAFETENSORS)):
        raise WeightsError(f"--init: {path} is {found.what}: {found.hint}")
    if path.suffix == ".dat":
        return read_body(path)
    try:
        state: dict[str, Any]
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        inner = (state.get(key) for key in ("state_dict", "model"))
        state = next((value for value in inner if isinstance(value, dict)), state)
        if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise TypeError("not a dict of tensors")
        if not all(isinstance(name, str) for name in state):
            raise TypeError("tensors without names")
    except Exception as error:  # a damaged file can raise anything
        raise WeightsError(
            f"--init: {path} is damaged or contains more than tensors: save only its state dict"
        ) from error
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state


def why_unreachable() -> tuple[str, str]:
    """Return the hub's host and the reason why it cannot be reached, empty if it can."""
    from huggingface_hub import constants

    host = urlsplit(constants.ENDPOINT).netloc or constants.ENDPOINT
    if constants.HF_HUB_OFFLINE:
        return host, "HF_HUB_OFFLINE is set"
    try:
        _ask(lambda: urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=DEADLINE).close())
    except Exception as error:  # of the network, or of a proxy's settings
        return host, _reason(error)
    return host, ""


def _check_folder(folder: Path, revision: str) -> tuple[Path, str]:
    if missing := _lacks(folder):
        raise WeightsError(
            f"--backbone: {folder} has no {missing}: choose a folder with config.json and "
            "model.safetensors"
        )
    with (folder / "model.safetensors").open("rb") as file:
        found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
    if revision and revision != found:
        raise WeightsError(
            f"{folder} holds other weights ({found}) than those it was trained on "
            f"({revision}): restore those"
        )
    return folder, found


def _lacks(folder: Path) -> str:
    """Return a file that a backbone needs and the folder lacks; empty if none is missing."""
    needed = ("config.json", "model.safetensors")
    return next((name for name in needed if not (folder / name).is_file()), "")


def _snapshot(name: str, revision: str, *, local_files_only: bool) -> Path:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        name,
        revision=revision or None,
        allow_patterns=list(FILES),
        local_files_only=local_files_only,
    )
    return Path(folder)


def _cached_backbone(name: str, revision: str) -> Path | None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = _snapshot(name, revision, local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    return None if _lacks(folder) else folder


def _fetch_backbone(
    name: str, revision: str, announce: Callable[[str], None], instead: str
) -> Path:
    """Download a backbone into the hub's cache, or raise the reason and what else to do."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    cache = constants.HF_HUB_CACHE
    host = urlsplit(constants.ENDPOINT).netloc or constants.ENDPOINT
    wanted = f"{name} (revision {revision or 'main'})"
    ways = (
        f"download its {', '.join(FILES[:-1])} and {FILES[-1]} elsewhere and {instead}, "
        f"or copy another cache's models--{name.replace('/', '--')} into {cache}"
    )
    if constants.HF_HUB_OFFLINE:
        switches = [v for v in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(v)]
        raise WeightsError(
            f"The backbone {wanted} is not in {cache} and {' and '.join(switches)} "
            f"forbids downloading it: unset that, or {ways}"
        )
    url = hf_hub_url(name, "model.safetensors", revision=revision or None)
    with _quiet_hub():
        try:
            _ask(lambda: get_hf_file_metadata(url, timeout=DEADLINE))
        except Exception as error:  # from whichever HTTP library this huggingface_hub uses
            if _status(error) in (401, 403, 404):
                raise WeightsError(
                    f"{host} has no model.safetensors of {wanted} (HTTP {_status(error)}): "
                    "check the id of --backbone, or run `hf auth login` if it is gated"
                ) from error
            raise WeightsError(
                f"The backbone {wanted} is not in {cache} and {host} cannot be reached "
                f"({_reason(error)}): {ways}"
            ) from error
        announce(f"downloading {name} from {host}")
        try:
            folder = _snapshot(name, revision, local_files_only=False)
        except Exception as error:  # as above, or from the disk
            raise WeightsError(
                f"The backbone {wanted} could not be downloaded from {host} into {cache} "
                f"({_reason(error)}): try again, or {ways}"
            ) from error
    if missing := _lacks(folder):
        raise WeightsError(f"{host} has no {missing} of {wanted}: choose another --backbone")
    return folder


def _ask(request: Callable[[], T]) -> T:
    """Wait for a response until the deadline, even in a name look-up, which has no timeout."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(request())
        except Exception as error:
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()
    return answer.result(DEADLINE)


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an exception of huggingface_hub or urllib."""
    return getattr(getattr(error, "response", None), "status_code", getattr(error, "code", None))


def _reason(error: Exception) -> str:
    """Return in a few words why a request or a download failed."""
    if status := _status(error):
        return f"HTTP {status}"
    if isinstance(error, TimeoutError):
        return "no response in time"
    return brief(getattr(error, "reason", error), 100) or type(error).__name__


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Silence huggingface_hub's progress bars, warnings and logged retries."""
    from huggingface_hub import utils

    bars, verbosity = not utils.are_progress_bars_disabled(), utils.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        utils.disable_progress_bars()
        utils.logging.set_verbosity(utils.logging.CRITICAL)
        try:
            yield
        finally:
            utils.logging.set_verbosity(verbosity)
            if bars:
                utils.enable_progress_bars()
