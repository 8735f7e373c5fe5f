"""Cost of the demo beside its models: start-up, responses, many clients at once.

    python tests/benchmarks/bench_demo.py [--parts PART...] [--weights FILE|DIR...] [--rounds N]

Start: until the page is served, against importing torch and gradio. One face: all answers through
the server, against `Predictor` in this process; in a browser, too, where Chromium is (from the
click on an example to the last card). Many: clients at once, each with pictures of its own, and
their times against a single one; the same beside one that uploads pictures of extreme shapes all
the time. Memory: the server's after 50 pictures, and after 500. Seconds of the server's CPU are
said, too, for a machine that has other work.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from PIL import Image

ROOT = Path(__file__).parents[2]
PORTRAIT = ROOT / "demo/examples/astronaut.jpg"


@contextmanager
def serving(weights: list[str]) -> Iterator[tuple[str, int, float]]:
    """Start the demo; give its address, its process and the seconds until it served."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, ROOT / "demo/app.py", "--port", str(port)]
    command += ["--weights", *weights] if weights else []
    began = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urlopen(url).close()
                break
            except OSError:
                time.sleep(0.02)
        yield url, process.pid, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def megabytes(pid: int) -> float:
    import psutil

    return psutil.Process(pid).memory_info().rss / 1e6


def cpu(pid: int) -> float:
    import psutil

    return sum(psutil.Process(pid).cpu_times()[:2])


def start(weights: list[str], rounds: int) -> None:
    command = [sys.executable, "-c", "import torch, gradio"]
    ours, theirs = [], []
    for _ in range(rounds):
        with serving(weights) as (_, _, taken):
            ours.append(taken)
        theirs.append(seconds(lambda: subprocess.run(command, check=True)))
    print(
        f"served after {min(ours):.2f} s, import torch, gradio {min(theirs):.2f} s, "
        f"ratio {min(ours) / min(theirs):.2f} (at most 1.3)"
    )


def one_face(url: str, weights: list[str], rounds: int) -> None:
    """Time a client's request in turns with the predictor."""
    from gradio_client import Client, handle_file

    from agecli.inference.predictor import Predictor
    from agecli.weights import find_weights, named_weights

    paths = [path for name in weights for path in named_weights(name)] or find_weights()
    predictor = Predictor(paths)
    client = Client(url, verbose=False, httpx_kwargs={"timeout": 300})
    picture = handle_file(str(PORTRAIT))

    def plain() -> Any:
        return list(predictor.predict([PORTRAIT]))

    def served() -> Any:
        return client.predict(picture, 0, 0, api_name="/compare")

    plain(), served()  # load the models
    times = [(seconds(served), seconds(plain)) for _ in range(rounds)]
    ours, theirs = (min(column) for column in zip(*times, strict=True))
    print(
        f"one face, {len(paths)} models: {ours:.3f} s by a client, {theirs:.3f} s by Predictor, "
        f"ratio {ours / theirs:.2f} (at most 1.25); medians "
        f"{' and '.join(f'{statistics.median(c):.3f}' for c in zip(*times, strict=True))} s"
    )


def in_browser(url: str, pid: int, rounds: int) -> None:
    chromium = shutil.which("chromium")
    if not chromium:
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(reduced_motion="reduce")
        page.set_default_timeout(300_000)
        page.goto(url)
        times = []
        for number in range(rounds):
            if number == 1:  # the models are loaded
                spent = cpu(pid)
            page.wait_for_selector("[data-example]")
            times.append(page.evaluate(CLICK))
            page.click("[data-again]")
        browser.close()
    print(
        f"click to last card in Chromium, warm: {min(times[1:]) / 1000:.2f} s (at most 0.35), "
        f"{(cpu(pid) - spent) / (rounds - 1):.2f} s of the server's CPU"
    )


CLICK = """() => new Promise(done => {
  const began = performance.now();
  new MutationObserver((_, watch) => { if (document.querySelector('.card')) {
    watch.disconnect(); requestAnimationFrame(() => done(performance.now() - began)) } })
    .observe(document.body, { childList: true, subtree: true });
  document.querySelector('[data-example]').click();
})"""


def many(url: str, pid: int, clients: int, pictures: int) -> None:
    from gradio_client import Client, handle_file

    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.jpg" for number in range(clients)]
        for number, file in enumerate(files):  # the portrait, turned a little: other answers each
            with Image.open(PORTRAIT) as image:
                image.rotate(number - clients / 2, Image.Resampling.BICUBIC).save(file, quality=95)
        connected = [Client(url, verbose=False, httpx_kwargs={"timeout": 600}) for _ in files]
        wanted = {}

        def visit(number: int, count: int = pictures) -> list[tuple[float, Any]]:
            picture = handle_file(str(files[number]))
            found = []
            for _ in range(count):
                began = time.perf_counter()
                said = connected[number].predict(picture, 0, 0, api_name="/compare")
                found.append((time.perf_counter() - began, said))
            return found

        alone = []
        for number in range(clients):
            ((first, said),) = visit(number, 1)
            alone.append(first)
            wanted[number] = [row["probabilities"] for row in said["answers"]]
        single = statistics.median(alone)
        assert len({str(rows) for rows in wanted.values()}) > clients / 2, "pictures differ"
        for label in ("alone", "besieged"):
            spent = cpu(pid)
            siege = besieging(url, Path(folder)) if label == "besieged" else nullcontext()
            with siege, ThreadPoolExecutor(clients) as pool:
                answers = list(pool.map(visit, range(clients)))
            times = sorted(taken for found in answers for taken, _ in found)
            wrong = sum(
                [row["probabilities"] for row in said["answers"]] != wanted[number]
                for number, found in enumerate(answers) for _, said in found
            )  # fmt: skip
            p95 = times[int(0.95 * len(times))]
            print(
                f"{label}, {clients} clients with {pictures} pictures each: {wrong} wrong, "
                f"p95 {p95:.2f} s, {p95 / single:.1f} times a single one "
                f"(at most {12 if label == 'alone' else 24}); "
                f"{(cpu(pid) - spent) / len(times):.2f} s of the server's CPU per answer"
            )


def memory(url: str, pid: int, few: int, many: int) -> None:
    from gradio_client import Client, handle_file

    client = Client(url, verbose=False, httpx_kwargs={"timeout": 600})
    used = {}
    for number in range(1, many + 1):
        client.predict(handle_file(str(PORTRAIT)), 0, 0, api_name="/compare")
        if number in (few, many):
            used[number] = megabytes(pid)
    print(
        f"memory after {few} and {many} pictures: {used[few]:.0f} and {used[many]:.0f} MB, "
        f"{used[many] / used[few] - 1:+.1%} (at most +10%)"
    )


SHAPES = ((10_000, 1), (1, 10_000), (20_000, 50), (50, 20_000), (100_000, 100), (8000, 8000))
"""Pictures that take little to send; the last one has as many pixels as are allowed."""


@contextmanager
def besieging(url: str, folder: Path) -> Iterator[None]:
    """Upload pictures of extreme shapes in turn, by one client, until the block ends."""
    from gradio_client import Client, handle_file

    files = [folder / f"{width}x{height}.png" for width, height in SHAPES]
    for file, size in zip(files, SHAPES, strict=True):
        Image.new("L", size, 128).save(file)
    over = threading.Event()
    answered = 0

    def besiege() -> None:
        nonlocal answered
        client = Client(url, verbose=False, httpx_kwargs={"timeout": 600})
        for file in itertools.cycle(files):
            if over.is_set():
                return
            with suppress(Exception):  # a refusal is an answer, too
                client.predict(handle_file(str(file)), 0, 0, api_name="/compare")
            answered += 1

    thread = threading.Thread(target=besiege)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        print(f"{answered} pictures of extreme shapes were uploaded meanwhile")


PARTS = ("start", "one", "browser", "many", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--weights", nargs="+", default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=10)
    wanted = parser.parse_args()
    parts = wanted.parts
    if "start" in parts:
        start(wanted.weights, min(3, wanted.rounds))
    with serving(wanted.weights) as (url, pid, _):
        if "one" in parts:
            one_face(url, wanted.weights, 4 * wanted.rounds)
        if "browser" in parts:
            in_browser(url, pid, wanted.rounds)
        if "many" in parts:
            many(url, pid, wanted.clients, wanted.pictures)
        if "memory" in parts:
            memory(url, pid, 50, 500)


if __name__ == "__main__":
    main()
