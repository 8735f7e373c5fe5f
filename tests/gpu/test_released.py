"""Answers of the released weights on the device against the CPU's, where the files are."""

from __future__ import annotations

from pathlib import Path

import pytest

from agecli.registry import MODELS
from tests.gpu.test_answers import assert_alike

pytestmark = pytest.mark.gpu

RELEASED = Path(__file__).parents[2] / "weights"


@pytest.mark.parametrize("name", MODELS)
def test_predict_with_the_released_weights(name: str, device: str):
    path = RELEASED / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"no {path.name} here")
    assert_alike(path, device)
