"""The model card: what a model is, what it was trained on, what it can and cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agecli.config import Precision
from agecli.errors import pasteable
from agecli.evaluation.metrics import Scores
from agecli.evaluation.report.render import fill_markdown
from agecli.evaluation.report.tables import (
    groups_grid,
    kept_robustness_grid,
    scores_grid,
    slice_grid,
)
from agecli.evaluation.significance import Slice
from agecli.exporting.parity import Parity
from agecli.reading import convert
from agecli.weights import Metadata

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

_CARD = "---\n{{ card_data }}\n---\n\n{{ body }}"
_STORED = {
    "fp32": "32-bit floats",
    "fp16": "matrices as 16-bit floats",
    "int8": "convolutions and matrix products in 8-bit integers",
}


def model_card(metadata: Metadata, file: str, precision: Precision, parity: Parity) -> str:
    """Return the model card (Markdown with YAML front matter) of an exported file.

    All figures come from the metadata; without any, the card says how to get them.
    """
    from huggingface_hub import ModelCard

    scores, metrics = scores_of(metadata), metadata.metrics
    slices = [
        convert(part, Slice) for part in metrics.get("slices", []) if part["exact"] is not None
    ]
    body = fill_markdown(
        Path(__file__).with_name("card.md.j2"), meta=metadata, training=metadata.training,
        file=file, stored=_STORED[precision], parity=parity, sources=sources_of(metadata),
        predict=pasteable("agecli", "predict", "face.jpg", "--weights", file), mark=card_mark(file),
        scores=scores and scores_grid(scores), groups=scores and groups_grid(scores),
        slices=slice_grid([part for part in slices if part.by != "age group"]),
        robustness="robustness" in metrics and kept_robustness_grid(metrics["robustness"]),
    )  # fmt: skip
    return ModelCard.from_template(_front(metadata, scores), template_str=_CARD, body=body).content


def card_mark(file: str) -> str:
    """Return a text that only the card of this exported file contains."""
    return f"`{file}` holds "


def scores_of(metadata: Metadata) -> Scores | None:
    """Return a weights file's scores on the test split, or None if it has none."""
    return Scores.read(metadata.metrics) if "exact" in metadata.metrics else None


def _front(metadata: Metadata, scores: Scores | None) -> ModelCardData:
    """Return the card's YAML front matter for model hubs."""
    from huggingface_hub import EvalResult, ModelCardData

    names = {"exact": "accuracy", "one_off": "1-off accuracy", "macro_f1": "f1", "mae": "mae"}
    results = [
        EvalResult(
            task_type="image-classification", task_name="age group", dataset_type="face",
            dataset_name=", ".join(sources_of(metadata)), dataset_split="test", metric_type=kind,
            metric_name=f"{kind} ({key})", metric_value=round(value, 4),
        )
        for key, kind in names.items() if scores and (value := getattr(scores, key)) is not None
    ]  # fmt: skip
    return ModelCardData(
        license="other",
        license_name="non-commercial-research",
        library_name="agecli",
        pipeline_tag="image-classification",
        tags=["age-estimation", "face", metadata.model],
        model_name=metadata.described,
        eval_results=results or None,
    )


def sources_of(metadata: Metadata) -> list[str]:
    """Return the names of the data sets that a model was trained on."""
    return metadata.training.get("data") or ["UTKFace"]
