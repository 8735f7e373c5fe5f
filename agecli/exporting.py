"""From a weights file to another: the backbone put inside, for use without a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from agecli.errors import UsageError
from agecli.weights import Metadata, load_weights, read_metadata, save_weights


def export_with_backbone(source: Path, out: Path) -> Metadata:
    """Write a weights file that needs no other: with the backbone's weights beside the head's.

    Returns the new file's metadata. Raises UsageError where all is inside already, or OUT exists.
    """
    if out.exists():
        raise UsageError(f"OUT: {out} exists: give another name")
    if not read_metadata(source).backbone:
        raise UsageError(f"--with-backbone: {source} has all its weights inside: use it as it is")
    model, metadata = load_weights(source)
    whole = replace(metadata, backbone=None)
    save_weights(out, model.state_dict(), whole)
    return whole
