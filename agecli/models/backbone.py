"""The form and the bounds of a DINOv2 backbone's configuration, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from agecli.reading import convert

KINDS = ("dinov2", "dinov2_with_registers")
MOST_PATCHES = 1 << 14
"""Most patches of an image: attention's time grows with their square."""

Share = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True)
class _Backbone:
    """The fields of transformers' configuration that shape the model (at most 40 layers)."""

    model_type: Literal["dinov2", "dinov2_with_registers"]
    hidden_size: Annotated[int, Meta(ge=1, le=8192)] = 768
    num_hidden_layers: Annotated[int, Meta(ge=1, le=128)] = 12
    num_attention_heads: Annotated[int, Meta(ge=1, le=128)] = 12
    mlp_ratio: Annotated[float, Meta(gt=0, le=16)] = 4
    hidden_act: Annotated[str, Meta(max_length=32)] = "gelu"
    hidden_dropout_prob: Share = 0.0
    attention_probs_dropout_prob: Share = 0.0
    initializer_range: Annotated[float, Meta(ge=0, le=10)] = 0.02
    layer_norm_eps: Annotated[float, Meta(gt=0, le=1)] = 1e-6
    image_size: Annotated[int, Meta(ge=1, le=2048)] = 224
    patch_size: Annotated[int, Meta(ge=1, le=256)] = 14
    num_channels: Literal[3] = 3
    qkv_bias: bool = True
    layerscale_value: Annotated[float, Meta(ge=-1e3, le=1e3)] = 1.0
    drop_path_rate: Share = 0.0
    use_swiglu_ffn: bool = False
    use_mask_token: bool = True
    num_register_tokens: Annotated[int, Meta(ge=0, le=256)] = 4
    apply_layernorm: bool = True
    reshape_hidden_states: bool = True


def check_backbone(described: Any, image_size: int = 0) -> dict[str, Any]:
    """Return the fields of a backbone's configuration that shape the model, checked.

    image_size: side of the input images, if known. Raises ValueError for a configuration that is
    not a DINOv2's, or out of bounds.
    """
    backbone = convert(described, _Backbone)
    if backbone.hidden_size % backbone.num_attention_heads:
        raise ValueError(
            f"hidden_size: {backbone.hidden_size} is not a multiple of the "
            f"{backbone.num_attention_heads} heads"
        )
    for side in filter(None, (backbone.image_size, image_size)):
        if not 1 <= (side // backbone.patch_size) ** 2 <= MOST_PATCHES:
            raise ValueError(
                f"patch_size: {backbone.patch_size} px do not fit an image of {side} px"
            )
    return {name: value for name, value in described.items() if hasattr(backbone, name)}
