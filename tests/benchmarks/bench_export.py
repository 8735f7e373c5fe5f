"""Time exported models beside the torch models that they were made of, as ratios of one run.

    python tests/benchmarks/bench_export.py WEIGHTS... --data data/utkface

Each of the weights is exported to ONNX, in fp32 and in 8 bits, and run one image at a time and
64 at a time, beside the predictor's torch model (batch norms folded, channels last) and the plain
one. Rates are the best of several rounds, taken in turns, so that other work on the machine
affects all sides alike. Then a cold `agecli predict` with the first ONNX file against
`import torch`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agecli.errors import WeightsError
from agecli.exporting.export import export
from agecli.exporting.parity import held_images
from agecli.inference.model import Model
from agecli.inference.predictor import load_model
from agecli.inference.pytorch import LoadedModel
from agecli.weights import load_weights

ROOT = Path(__file__).parents[2]
PORTRAIT = ROOT / "demo/examples/astronaut.jpg"


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def best_rates(models: dict[str, Model], images, batch: int, rounds: int) -> dict[str, float]:
    """Return each model's images per second."""
    best = dict.fromkeys(models, 0.0)
    for _ in range(rounds):
        for name, model in models.items():
            start = time.perf_counter()
            for first in range(0, len(images), batch):
                model.distributions(images[first : first + batch], flip=False)
            best[name] = max(best[name], len(images) / (time.perf_counter() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=15)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "0-fp32.onnx"
        for number, source in enumerate(wanted.weights):
            models: dict[str, Model] = {
                "plain torch": LoadedModel(*load_weights(source)),
                "torch": load_model(source, "cpu"),
            }
            for precision in ("fp32", "int8"):
                out = Path(folder) / f"{number}-{precision}.onnx"
                try:
                    parity = export(source, out, precision=precision, data=wanted.data).parity
                except WeightsError as error:
                    print(error)
                    continue
                print(f"{source}: {precision}, {out.stat().st_size / 1e6:.1f} MB, {parity}")
                models[precision] = load_model(out, "cpu")
            images = held_images(models["torch"].metadata.image_size, wanted.data).images[:64]
            for batch in (1, 64):
                rates = best_rates(models, images, batch, wanted.rounds)
                for name, rate in rates.items():
                    ratio = rate / rates["torch"]
                    print(
                        f"  {batch} at a time, {name}: {rate:.0f} images/s, {ratio:.2f} × torch's"
                    )
        cold = [sys.executable, "-m", "agecli", "predict", str(PORTRAIT), "--weights", str(first)]
        torch = [sys.executable, "-c", "import torch"]
        times = [(seconds(cold), seconds(torch)) for _ in range(wanted.rounds // 3)]
        mine, other = (min(column) for column in zip(*times, strict=True))
        print(f"cold predict of ONNX / import torch: {mine:.2f} s / {other:.2f} s", end=", ")
        print(f"ratio {mine / other:.2f} (at most 0.5)")


if __name__ == "__main__":
    main()
