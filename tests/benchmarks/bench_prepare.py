"""Cost of `agecli prepare`: its rate beside a bare loop, and its memory at 1× and 10×.

    python tests/benchmarks/bench_prepare.py [ARCHIVE] [--limit N] [--size 200] [--no-memory]

ARCHIVE is UTKFace, by default what AGECLI_UTKFACE names. Everything is measured in one run, on
the same files: the bare loop decodes and resizes what is in memory already, in two processes, with
PIL and nothing else. CPU seconds are those of all processes: they count where others work, too.
"""

import argparse
import io
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent.parent
COPIES = 10
LIMIT_BYTES = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", nargs="?", default=os.environ.get("AGECLI_UTKFACE"), type=Path)
    parser.add_argument("--limit", type=int, default=0, help="use only so many images; 0 = all")
    parser.add_argument("--size", type=int, default=200, help="side of the stored images")
    parser.add_argument("--memory-size", type=int, default=64, help="the same, at 10x the images")
    parser.add_argument("--rounds", type=int, default=2, help="of which the best counts")
    parser.add_argument("--no-memory", action="store_true")
    options = parser.parse_args()
    if not options.archive:
        parser.error("name the UTKFace archive, or set AGECLI_UTKFACE")
    with tempfile.TemporaryDirectory(prefix="bench_prepare") as temporary:
        work = Path(temporary)
        archive = unpack(options.archive, work / "faces", options.limit)
        files = sorted((work / "faces").iterdir())
        print(f"{len(files)} images, {os.cpu_count()} CPUs")
        rates(archive, files, work, options.size, options.rounds)
        if not options.no_memory:
            memory(files, work, options.memory_size)


def unpack(archive: Path, folder: Path, limit: int) -> Path:
    """Unpack the first pictures, and give the archive of just these."""
    folder.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile():
                name = Path(member.name).name
                (folder / name).write_bytes(tar.extractfile(member).read())
                limit -= 1
                if not limit:
                    break
    if limit < 0:  # all of them
        return archive
    small = folder.with_suffix(".tar.gz")
    with tarfile.open(small, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return small


def rates(archive: Path, files: list[Path], work: Path, size: int, rounds: int) -> None:
    """Print images per second of the bare loop and of prepare, taken in turns."""
    contents = [path.read_bytes() for path in files]
    bare, ours = [], []
    for _ in range(rounds):
        bare.append(timed(lambda: bare_loop(contents, size)))
        ours.append(timed(lambda: prepare(archive, work / "data", size)))
    bare_wall, bare_cpu = map(min, zip(*bare, strict=True))
    wall, cpu = map(min, zip(*ours, strict=True))
    print(f"bare two-process loop  {len(files) / bare_wall:7.0f} images/s, {bare_cpu:5.1f} CPU s")
    print(f"agecli prepare         {len(files) / wall:7.0f} images/s, {cpu:5.1f} CPU s")
    print(f"ratio                  {bare_wall / wall:7.2f}  (at least 0.80)")


def bare_loop(contents: list[bytes], size: int) -> None:
    decode_half = partial(decode_some, contents, size)
    with multiprocessing.get_context("fork").Pool(2, _keep, (decode_half,)) as pool:
        pool.map(_run, range(2))
        pool.close()
        pool.join()


def _keep(function) -> None:
    """Keep objects for a forked process that are not to be pickled."""
    global _kept
    _kept = function


def _run(number: int) -> None:
    _kept(number)


def decode_some(contents: list[bytes], size: int, first: int) -> None:
    for data in contents[first::2]:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        image.resize((size, size), Image.Resampling.BILINEAR).tobytes()


def memory(files: list[Path], work: Path, size: int) -> None:
    """Print the peak memory of prepare at 1× and 10× the images, and what an image adds to it.

    The copies are re-encoded, since equal files would spare the audit its work; 10 × 200 px
    would fill 28 GB of disk, and the stored size is no part of what is held per image.
    """
    peaks = []
    for copies in (1, COPIES):
        folder = work / f"copies{copies}"
        with multiprocessing.Pool(2) as pool:
            pool.starmap(copy_varied, ((path, folder, n) for path in files for n in range(copies)))
        parent, together, seconds = peak_memory(folder, work / "many", size)
        peaks.append(parent)
        print(
            f"peak memory at {copies:2}×     {parent:7.0f} MB in the parent, {together:.0f} MB in "
            f"all, for {copies * len(files)} images, {seconds:.0f} s"
        )
        shutil.rmtree(folder)
    added = (peaks[1] - peaks[0]) * 2**20 / ((COPIES - 1) * len(files))
    print(f"an image adds          {added:7.0f} bytes in the parent  (at most {LIMIT_BYTES})")


def copy_varied(path: Path, folder: Path, number: int) -> None:
    """Write a turned, cropped copy under a valid name of its own, small to be decoded fast."""
    folder.mkdir(exist_ok=True)
    image = Image.open(path).convert("RGB")
    side = image.width
    image = image.rotate(36 * number, resample=Image.Resampling.BILINEAR)
    image = image.crop((number, number, side - number, side - number)).resize((64, 64))
    labels, _, rest = path.name.rpartition("_")
    image.save(folder / f"{labels}_{number}{rest}", "JPEG")


def peak_memory(source: Path, out: Path, size: int) -> tuple[float, float, float]:
    """Run prepare; return the peak MB of its parent, and of all its processes, and the seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command(source, out, size), env=environment(), stdout=subprocess.DEVNULL
    )
    peak = together = 0.0
    while process.poll() is None:
        peak = max(peak, megabytes(process.pid, "VmHWM"))
        together = max(together, resident(process.pid))
        time.sleep(0.1)
    if process.returncode:
        sys.exit(f"prepare failed with {process.returncode}")
    return peak, together, time.perf_counter() - start


def resident(pid: int) -> float:
    """Sum up the resident memory of a process and its children in MB; shared pages count twice."""
    children = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):  # a thread's each
        with suppress(OSError):  # it has just ended
            children += path.read_text().split()
    return megabytes(pid, "VmRSS") + sum(resident(int(child)) for child in children)


def megabytes(pid: int, field: str) -> float:
    """Read a field of a process's status; 0 where it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def command(source: Path, out: Path, size: int) -> list[str]:
    arguments = ["prepare", source, out, "--force", "--workers", 2, "--size", size]
    return [sys.executable, "-m", "agecli", *map(str, arguments)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def prepare(source: Path, out: Path, size: int) -> None:
    subprocess.run(command(source, out, size), env=environment(), check=True, capture_output=True)


def timed(function) -> tuple[float, float]:
    """Return the wall seconds of a function, and the CPU seconds of the processes it starts."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    function()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu


if __name__ == "__main__":
    main()
