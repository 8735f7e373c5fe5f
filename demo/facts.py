"""What the weights files say of themselves, in short."""

from __future__ import annotations

from html import escape

from .models import Contender


def facts(contender: Contender) -> str:
    """Return the facts of a model as list items: figures, size, training, hash."""
    meta = contender.metadata
    assert meta
    return "".join(
        f"<li>{escape(fact)}</li>"
        for fact in (figures(contender), size(contender), training(contender), digest(contender))
        if fact
    )


def figures(contender: Contender) -> str:
    """Say how well it did on its test pictures."""
    scores = contender.metadata.metrics if contender.metadata else {}
    if "exact" not in scores:
        return "not tested: its file has no figures"
    return f"{scores['exact']:.1%} exact on {scores['n']:,} test pictures"


def size(contender: Contender) -> str:
    """Say how large it is and what it sees."""
    meta = contender.metadata
    assert meta
    count = contender.parameters
    parameters = f"{short(count)} parameters, " if count else ""
    return f"{parameters}sees {meta.image_size}×{meta.image_size} px"


def training(contender: Contender) -> str:
    """Say what it was trained on."""
    told = contender.metadata.training if contender.metadata else {}
    if not told:
        return ""
    data = ", ".join(told.get("data", [])) or "unknown data"
    images = f", {told['train_images']:,} pictures" if "train_images" in told else ""
    epochs = f", {told['epochs']} epochs" if "epochs" in told else ""
    return f"trained on {data}{images}{epochs}"


def digest(contender: Contender) -> str:
    """Name the file by its hash."""
    return f"file {contender.path.name}, sha256 {contender.digest}"


def short(count: int) -> str:
    """Write a number of parameters."""
    return f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count / 1e3:.0f} k"
