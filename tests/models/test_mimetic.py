"""The start of a transformer from scratch, against what Trockman & Kolter (2023) ask of it."""

import numpy as np
import pytest
import torch

from agecli.config import SCRATCH
from agecli.models.dinov2 import Dinov2, describe_backbone
from agecli.models.mimetic import initialise_mimetic, sine_positions


@pytest.fixture(scope="module")
def model() -> Dinov2:
    torch.manual_seed(0)
    model = Dinov2(outputs=3, backbone=describe_backbone(SCRATCH, "", 48, 0.0)).eval()
    initialise_mimetic(model.backbone)
    return model


def test_the_value_output_product_is_near_the_negative_identity(model: Dinov2):
    for block in model.backbone.encoder.layer:
        product = block.attention.o_proj.weight @ block.attention.v_proj.weight
        diagonal, rest = product.diagonal(), product - product.diagonal().diag()
        assert diagonal.mean().item() == pytest.approx(-0.4, abs=0.02)
        assert rest.std().item() == pytest.approx(0.4 / 192**0.5, rel=0.05)


def test_a_head_is_the_best_approximation_of_its_product(model: Dinov2):
    """By Eckart & Young it keeps the largest singular values: its factors share them evenly."""
    attention = model.backbone.encoder.layer[0].attention
    for head in range(3):
        rows = slice(64 * head, 64 * (head + 1))
        query, key = attention.q_proj.weight[rows], attention.k_proj.weight[rows]  # (64, D)
        torch.testing.assert_close(query @ query.T, key @ key.T, rtol=1e-3, atol=1e-3)
        assert (query.T @ key).trace().item() > 0.35 * 192
    heads = attention.q_proj.weight.reshape(3, -1)
    assert not torch.equal(heads[0], heads[1])


def test_a_token_looks_at_itself(model: Dinov2):
    model.backbone.set_attn_implementation("eager")
    seen = model.backbone(pixel_values=torch.randn(4, 3, 48, 48), output_attentions=True)
    own = [share.diagonal(dim1=2, dim2=3).mean().item() for share in seen.attentions[:3]]
    assert min(own) > 3 / 17  # of 17 tokens


def test_positions_are_waves_of_rows_and_columns():
    given = sine_positions(3, 16)  # (9, 16): sin, cos of the row, sin, cos of the column
    rates = [10_000 ** -(step / 3) for step in range(4)]
    row, column = 2, 1
    expected = np.concatenate(
        [wave(place * np.array(rates)) for place in (row, column) for wave in (np.sin, np.cos)]
    )
    assert given[row * 3 + column].numpy() == pytest.approx(expected, abs=1e-6)


def test_only_attention_and_positions_are_changed(model: Dinov2):
    torch.manual_seed(0)
    plain = Dinov2(outputs=3, backbone=describe_backbone(SCRATCH, "", 48, 0.0)).state_dict()
    changed = {n for n, t in model.state_dict().items() if not torch.equal(t, plain[n])}
    assert {name.split(".")[-2] for name in changed} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "embeddings",
    }  # fmt: skip
    assert model.backbone.embeddings.position_embeddings[0, 0].count_nonzero() == 0
