"""The model card: what a model is, was trained on, can and cannot do, as model hubs show it."""

from __future__ import annotations

import json
from typing import Any

from agecli.config import Precision
from agecli.exporting.parity import Parity
from agecli.weights import Metadata

UTKFACE = "UTKFace"

_STORED = {
    "fp32": "32-bit floats",
    "fp16": "matrices as 16-bit floats",
    "int8": "convolutions and matrix products in 8-bit integers",
}

_LIMITS = """\
- What it gives is an estimate of **apparent age**. It is not for decisions about people.
- The labels are themselves estimates, and the pictures come from the web: mostly frontal and well
  lit. Expect more errors on tilted or covered faces, in poor light, and on people of whom the data
  hold few.
- A face of an age between two groups has no right answer, and gets a neighbouring group."""


def model_card(metadata: Metadata, file: str, precision: Precision, parity: Parity) -> str:
    """Write the model card (Markdown with YAML front matter) of an exported file.

    All figures are the metadata's; where it has none, the card says how to get them.
    """
    title = metadata.described
    groups = ", ".join(metadata.scheme)
    what = "an age group and an age in years" if metadata.objective != "groups" else "an age group"
    if metadata.objective == "margin":
        what = "an age group"
    size = metadata.image_size
    parts = [
        _front_matter(metadata, title),
        f"# {title}: age groups from faces",
        f"Tells {what} from a face picture. Groups: {groups}.",
        f"`{file}` holds {_STORED[precision]}. Compared with the weights it was made of: {parity}.",
        _backbone(metadata),
        "## Use",
        "```bash\npip install agecli" + ("[onnx]" if file.endswith(".onnx") else "")
        + f"\nagecli predict face.jpg --weights {file}\n```" if not file.endswith(".pt2")
        else "```python\nprogram = torch.export.load(" + json.dumps(file) + ").module()\n```",
        f"Its input is {size}×{size} pixels of a face found by `{metadata.crop.get('detector')}`, "
        f"with a margin of {metadata.crop.get('margin')} of the box on each side.",
        "## Training data",
        _training(metadata),
        "## Figures",
        _figures(metadata.metrics),
        *_robustness(metadata.metrics),
        "## Limits",
        _LIMITS,
        "## Licence",
        f"The code (agecli) is under the MIT licence. These weights: {metadata.licence}. "
        f"{UTKFACE} is for non-commercial research only; the copyright of its pictures stays with "
        "their owners.",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(metadata: Metadata, title: str) -> str:
    """Return the YAML block; its values are JSON, which is YAML."""
    fields: dict[str, Any] = {
        "license": "other",
        "license_name": "non-commercial-research",
        "library_name": "agecli",
        "pipeline_tag": "image-classification",
        "tags": ["age-estimation", "face", metadata.model],
    }
    if metadata.metrics:
        names = {"exact": "accuracy", "one_off": "1-off accuracy", "macro_f1": "f1", "mae": "mae"}
        figures = [
            {"type": kind, "value": round(metadata.metrics[key], 4), "name": f"{kind} ({key})"}
            for key, kind in names.items()
            if key in metadata.metrics
        ]
        result = {
            "task": {"type": "image-classification", "name": "age group"},
            "dataset": {"type": "face", "name": ", ".join(_sources(metadata)), "split": "test"},
            "metrics": figures,
        }
        fields["model-index"] = [{"name": title, "results": [result]}]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _backbone(metadata: Metadata) -> str:
    if not metadata.backbone:
        return ""
    return (
        f"The backbone `{metadata.backbone['id']}` (revision `{metadata.backbone['revision']}`) is "
        "not inside: it is fetched on first use."
    )


def _sources(metadata: Metadata) -> list[str]:
    return metadata.training.get("data") or [UTKFACE]


def _training(metadata: Metadata) -> str:
    training = metadata.training
    count = training.get("train_images")
    images = f"{count:,} images of " if count else ""
    text = f"{images}{', '.join(_sources(metadata))}, prepared by `agecli prepare`: pictures that "
    text += "are the same, or nearly, never straddle training, validation and test"
    text += f" (split hash `{metadata.split_hash[:16]}`)." if metadata.split_hash else "."
    facts = {
        "started from": training.get("init"),
        "epochs": training.get("epochs"),
        "objective": metadata.objective,
        "device": training.get("device"),
        "agecli": metadata.agecli_version,
    }
    return text + "\n\n" + "\n".join(f"- {k}: {v}" for k, v in facts.items() if v)


def _figures(metrics: dict[str, Any]) -> str:
    if not metrics:
        return "None are recorded for this file: `agecli evaluate` gives them."
    low, high = metrics["exact_interval"]
    rows = [
        ("exact group", metrics["n"], f"{metrics['exact']:.1%} ({low:.1%} – {high:.1%})"),
        (
            f"always {metrics['majority_group']} (majority baseline)",
            "",
            f"{metrics['majority']:.1%}",
        ),
        ("exact or neighbouring group (1-off)", "", f"{metrics['one_off']:.1%}"),
        ("macro-F1", "", f"{metrics['macro_f1']:.1%}"),
    ]
    if "mae" in metrics:
        rows.append(("mean error of age", metrics["n_ages"], f"{metrics['mae']:.2f} years"))
        rows.append(("age within 5 years", "", f"{metrics['cs5']:.1%}"))
    if "ece" in metrics:
        rows.append(("calibration error (ECE)", "", f"{metrics['ece']:.1%}"))
    overall = table(("on the test split", "images", "(95 % interval)"), rows)
    per_group = table(
        ("group", "images", "precision", "recall", "F1"),
        [
            (label, g["n"], f"{g['precision']:.1%}", f"{g['recall']:.1%}", f"{g['f1']:.1%}")
            for label, g in metrics.get("per_group", {}).items()
        ],
    )
    return "\n\n".join([overall, per_group, *_slices(metrics.get("slices", []))])


def _slices(slices: list[dict[str, Any]]) -> list[str]:
    """Lay out who it is more and less right about; age groups have a table of their own."""
    rows = [
        (f"{s['by']}: {s['value']}", s["n"], f"{s['exact']:.1%}", f"{s['one_off']:.1%}",
         f"{s['bias']:+.2f}")
        for s in slices if s["by"] != "age group" and s["exact"] is not None
    ]  # fmt: skip
    head = ("slice", "images", "exact", "1-off", "bias in groups (+: too old)")
    return [table(head, rows)] if rows else []


def _robustness(metrics: dict[str, Any]) -> list[str]:
    """Lay out the exact accuracies on disturbed images, where they were measured."""
    if "robustness" not in metrics:
        return []
    measured = metrics["robustness"]
    ways = measured["exact"]
    rows = [
        (condition, *(f"{way[condition]:.1%}" for way in ways.values()))
        for condition in next(iter(ways.values()))
    ]
    return ["## Robustness", f"Exact group on {measured['n']:,} test images, disturbed:",
            table(("", *ways), rows)]  # fmt: skip


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Lay out a Markdown table."""
    cells = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in cells)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
