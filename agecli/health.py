"""Check what agecli needs on this machine, for `agecli doctor`."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agecli import __version__
from agecli.errors import AgecliError, brief
from agecli.memory import gigabytes, memory_available
from agecli.registry import DEFAULT_MODEL, MODELS

if TYPE_CHECKING:
    from packaging.requirements import Requirement

State = Literal["ok", "absent", "broken"]
"""`absent` is something that agecli can do without."""

MODULES = {"opencv-python-headless": "cv2", "pillow": "PIL"}
"""Module names of packages whose names differ."""
DEVELOPMENT = "dev"
"""The extra for developers only."""


@dataclass(frozen=True)
class Finding:
    """The result of a check."""

    what: str
    state: State
    found: str
    advice: str = ""
    """What to do, if anything."""


def doctor() -> list[Finding]:
    """Check versions, device, memory, caches, weights, hub, camera and extras.

    Raises nothing: a failure is a finding with the state `broken`.
    """
    return [finding for check in CHECKS for finding in _guarded(check)]


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:  # from any library: it is the result of the check
        kind = "" if isinstance(error, AgecliError) else f"{type(error).__name__}: "
        yield Finding(check.__name__.strip("_"), "broken", brief(f"{kind}{error}"))


def _system() -> Iterator[Finding]:
    python, system = platform.python_version(), f"{platform.system()} {platform.machine()}"
    yield Finding("agecli", "ok", f"{__version__}, Python {python}, {system}")


def _packages() -> Iterator[Finding]:
    """Check the packages that agecli's own metadata requires, and those of its extras."""
    from packaging.requirements import Requirement

    ours = metadata.distribution("agecli")
    requirements = [Requirement(text) for text in ours.requires or []]
    for extra in ["", *(ours.metadata.get_all("Provides-Extra") or [])]:
        wanted = [one for one in requirements if _belongs(one, extra)]
        if extra != DEVELOPMENT:
            yield _look_at_packages(f"extra {extra}" if extra else "packages", wanted, extra)


def _belongs(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker.evaluate({"extra": extra}) if marker else not extra


def _look_at_packages(what: str, wanted: list[Requirement], extra: str) -> Finding:
    versions, missing = [], []
    for one in wanted:
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            missing.append(one)
            continue
        versions.append(f"{one.name} {version}")
        if not one.specifier.contains(version, prereleases=True):
            return Finding(what, "broken", versions[-1], _install(one))
        try:
            import_module(MODULES.get(one.name, one.name.replace("-", "_")))
        except Exception as error:  # a system library may be missing or incompatible
            found = brief(f"{versions[-1]} cannot be imported: {error}")
            return Finding(what, "broken", found, f"{_install(one)} --force-reinstall")
    if not missing:
        return Finding(what, "ok", ", ".join(versions))
    found = f"no {', '.join(one.name for one in missing)}"
    if extra:
        return Finding(what, "absent", found, f'pip install "agecli[{extra}]"')
    return Finding(what, "broken", found, _install(*missing))


def _install(*requirements: Requirement) -> str:
    return " ".join(["pip install", *(f'"{one.name}{one.specifier}"' for one in requirements)])


def _device() -> Iterator[Finding]:
    """Multiply matrices on each device, and report its features."""
    import torch

    def multiply(device: str) -> None:
        torch.ones(64, 64, device=device).mm(torch.ones(64, 64, device=device)).sum().item()

    multiply("cpu")
    level = torch.backends.cpu.get_cpu_capability()
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # not in older torch
    bf16 = ", bf16 in hardware" if able.get("avx512_bf16") or able.get("amx_bf16") else ""
    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()}"
    yield Finding("cpu", "ok", f"{threads}, {level}{bf16}")
    if torch.backends.mps.is_available():
        multiply("mps")
        yield Finding("mps", "ok", "torch computes on Apple's GPU")
    for number in range(torch.cuda.device_count()):
        multiply(f"cuda:{number}")
        gpu = torch.cuda.get_device_properties(number)
        precision = "bf16" if gpu.major >= 8 else "fp16"
        memory = gigabytes(gpu.total_memory)
        found = f"{gpu.name}, {memory}, CUDA {torch.version.cuda}, --amp in {precision}"
        yield Finding(f"cuda:{number}", "ok", found)
    if not torch.cuda.is_available() and (gpus := _nvidia()):
        advice = "install torch for CUDA, as https://pytorch.org/get-started/locally says"
        yield Finding("cuda", "broken", f"torch {torch.__version__} cannot use {gpus}", advice)


def _nvidia() -> str:
    """Return the GPUs that NVIDIA's driver reports; empty without a driver."""
    if not shutil.which("nvidia-smi"):
        return ""
    with suppress(OSError, subprocess.SubprocessError):
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return ", ".join(result.stdout.split("\n")).strip(", ")
    return ""


def _memory() -> Iterator[Finding]:
    import psutil

    total = psutil.virtual_memory().total
    yield Finding("memory", "ok", f"{gigabytes(memory_available())} free of {gigabytes(total)}")
    yield Finding("disk", "ok", f"{gigabytes(shutil.disk_usage('.').free)} free here")


def _caches() -> Iterator[Finding]:
    """Check the folders of downloaded backbones and ImageNet weights."""
    import torch
    from huggingface_hub import constants

    backbones = Path(constants.HF_HUB_CACHE)
    yield _cache("backbones", backbones, "models--*", "HF_HOME")
    yield _cache("ImageNet", Path(torch.hub.get_dir(), "checkpoints"), "*.pth", "TORCH_HOME")


def _cache(what: str, folder: Path, pattern: str, variable: str) -> Finding:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(there, os.W_OK):
        return Finding(what, "broken", f"{there} cannot be written", f"set {variable} to a folder")
    names = sorted(path.name for path in folder.glob(pattern))
    shown = ", ".join(name.removeprefix("models--").replace("--", "/") for name in names)
    return Finding(what, "ok", f"{shown or 'none yet'}, in {folder}")


def _weights() -> Iterator[Finding]:
    """Check each model's released weights, and run the default one on a grey crop."""
    import numpy as np

    from agecli.inference.predictor import load_model
    from agecli.weights import named_weights, read_metadata, released_folder

    names = []
    for name in MODELS:
        try:
            names += [path.name for path in named_weights(name) if read_metadata(path)]
        except AgecliError as error:
            yield Finding(f"weights {name}", "broken", brief(error), "install agecli again")
    yield Finding("weights", "ok", f"{', '.join(names) or 'none'}, in {released_folder()}")
    side = 64
    model = load_model(named_weights(DEFAULT_MODEL)[0], "cpu")
    chances = model.distributions(np.full((1, side, side, 3), 128, np.uint8))  # (1, outputs)
    if abs(chances.sum() - 1) > 1e-3:
        yield Finding("prediction", "broken", f"probabilities sum to {chances.sum():.3f}")


def _detector() -> Iterator[Finding]:
    """Check that no face is detected in a grey image."""
    from PIL import Image

    from agecli.faces.detector import detect

    faces = detect(Image.new("RGB", (320, 320), "grey"))
    yield Finding("detector", "broken" if faces else "ok", f"{len(faces)} faces in a grey image")


def _hub() -> Iterator[Finding]:
    from agecli.models.hub import why_unreachable

    host, reason = why_unreachable()
    if reason:
        advice = "weights and cached files need no network"
        yield Finding("hub", "absent", f"{host} cannot be reached ({reason})", advice)
    else:
        yield Finding("hub", "ok", f"{host} responds")


def _camera() -> Iterator[Finding]:
    if sys.platform != "linux":
        yield Finding("camera", "absent", "not checked on this system", "agecli predict --webcam")
        return
    cameras = sorted(Path("/dev").glob("video[0-9]*"))
    if closed := [str(path) for path in cameras if not os.access(path, os.R_OK | os.W_OK)]:
        advice = "sudo usermod -aG video $USER, and log in again"
        yield Finding("camera", "broken", f"{', '.join(closed)} cannot be opened", advice)
    else:
        names = ", ".join(map(str, cameras))
        yield Finding("camera", "ok" if names else "absent", names or "none")


CHECKS = (
    _system, _packages, _device, _memory, _weights, _detector, _caches, _hub, _camera
)  # fmt: skip
"""In the order in which they are shown."""
