"""The DINOv2 vision transformer (Oquab et al. 2024, from transformers) with a head on top."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agecli.config import IMAGENET_MEAN, IMAGENET_STD, SCRATCH
from agecli.errors import UsageError, WeightsError, brief
from agecli.models.backbone import KINDS, check_backbone
from agecli.models.hub import GIVE, find_backbone
from agecli.reading import read_json

TINY: dict[str, Any] = {
    "model_type": "dinov2", "hidden_size": 192, "num_hidden_layers": 8, "num_attention_heads": 3,
    "image_size": 96, "patch_size": 12, "use_mask_token": False,
}  # fmt: skip
"""scratch:tiny: 64 patches, 3.6 M parameters."""

ACTIVATION = "activation_checkpointing_enable"
"""The name of gradient checkpointing in transformers from some version 5 on."""

RENAMED = {
    "attention.attention.query.": "attention.q_proj.",
    "attention.attention.key.": "attention.k_proj.",
    "attention.attention.value.": "attention.v_proj.",
    "attention.output.dense.": "attention.o_proj.",
}
"""Weights that transformers 5 has renamed by 5.24: either version reads files of the other."""


class Head(nn.Module):
    """Standardisation by fixed statistics, an optional hidden layer, dropout, a linear layer."""

    mean: Tensor
    """(features,) mean over the training images; 0 until measured."""
    scale: Tensor
    """(features,) 1 / standard deviation; 1 until measured."""

    def __init__(self, features: int, outputs: int, dropout: float, hidden: int = 0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.hidden = nn.Linear(features, hidden) if hidden else None
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden or features, outputs)

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Set the statistics (F,) by which features are standardised."""
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, F) to logits (B, outputs)."""
        x = (features - self.mean) * self.scale
        if self.hidden:
            x = F.gelu(self.hidden(x))  # (B, hidden)
        return self.linear(self.dropout(x))


class Dinov2(nn.Module):
    """A DINOv2 backbone, its tokens pooled, and a head.

    backbone: its configuration, as `describe_backbone` returns it.
    """

    explained_by = "attention"

    def __init__(
        self, *, outputs: int, backbone: dict[str, Any], pool: str = "cls+mean",
        dropout: float = 0, hidden: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        from transformers import AutoConfig, AutoModel

        config = AutoConfig.for_model(**backbone)
        self.backbone = AutoModel.from_config(config)
        self.pool = pool
        self._recomputes = False
        self.first_patch = 1 + getattr(config, "num_register_tokens", 0)
        self.head = Head(config.hidden_size * len(pool.split("+")), outputs, dropout, hidden)
        self.register_load_state_dict_pre_hook(_rename)

    @property
    def grad_checkpoint(self) -> bool:
        """Recompute the blocks in the backward pass."""
        return self._recomputes

    @grad_checkpoint.setter
    def grad_checkpoint(self, wanted: bool) -> None:
        if wanted == self._recomputes:
            return
        self._recomputes = wanted
        kind = "activation" if hasattr(self.backbone, ACTIVATION) else "gradient"
        if wanted:
            getattr(self.backbone, f"{kind}_checkpointing_enable")({"use_reentrant": False})
        else:
            getattr(self.backbone, f"{kind}_checkpointing_disable")()

    def train(self, mode: bool = True) -> Dinov2:
        """Switch to training or evaluation, with the attention that suits the device."""
        self.attend(next(self.parameters()).device.type if mode else "")
        return super().train(mode)

    def attend(self, device: str) -> None:
        """Choose the attention that trains fastest on a device; torch's fused one otherwise.

        On a CPU the fused backward pass is slow: plain attention halves the time of a step of
        scratch:tiny in bf16, with the same result.
        """
        self.backbone.set_attn_implementation("eager" if device == "cpu" else "sdpa")

    def train_last(self, blocks: int) -> None:
        """Freeze the backbone except its last blocks and the final norm."""
        self.backbone.requires_grad_(False)
        for block in self.backbone.encoder.layer[: len(self.backbone.encoder.layer) - blocks]:
            block.gradient_checkpointing = False  # nothing to recompute in a frozen block
        if blocks:
            for part in (*self.backbone.encoder.layer[-blocks:], self.backbone.layernorm):
                part.requires_grad_(True)

    def layers_from_the_top(self) -> Iterator[list[nn.Parameter]]:
        """Yield the weights from the output back: head, last block to first, embeddings."""
        yield list(self.head.parameters())
        last = list(self.backbone.layernorm.parameters())
        for block in reversed(self.backbone.encoder.layer):
            yield [*last, *block.parameters()]
            last = []
        yield list(self.backbone.embeddings.parameters())

    def features(self, x: Tensor) -> Tensor:
        """Map normalised images (B, 3, S, S) to the head's input (B, F)."""
        tokens = self.backbone(pixel_values=x).last_hidden_state  # (B, 1 + registers + patches, D)
        parts = {"cls": lambda: tokens[:, 0], "mean": lambda: tokens[:, self.first_patch :].mean(1)}
        return torch.cat([parts[name]() for name in self.pool.split("+")], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (B, 3, S, S) to logits (B, outputs)."""
        return self.head(self.features(x))

    def attention(self, x: Tensor) -> Tensor:
        """Return the [CLS] token's attention to the patches in the last block, mean over heads.

        x: a normalised image (1, 3, S, S). Returns (h, w), the grid of patches.
        """
        block = self.backbone.encoder.layer[-1]
        hidden = self.backbone(pixel_values=x, output_hidden_states=True).hidden_states[-2]
        hidden = block.norm1(hidden)  # (1, tokens, D)
        query, key = (layer(hidden) for layer in projections(block.attention)[:2])
        heads = self.backbone.config.num_attention_heads
        query, key = (t[0].view(len(t[0]), heads, -1).transpose(0, 1) for t in (query, key))
        scores = query[:, :1] @ key.mT / key.shape[-1] ** 0.5  # (heads, 1, tokens)
        patches = torch.softmax(scores, dim=-1).mean(dim=0)[0, self.first_patch :]
        side = round(len(patches) ** 0.5)
        return patches.view(side, side)


def _rename(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Rename, in place, weights written by another version of transformers to this one's names."""
    own = {prefix + name for name, _ in module.named_parameters()}
    both = [*RENAMED.items(), *((new, old) for old, new in RENAMED.items())]
    for name in [name for name in state if name not in own]:
        for theirs, ours in both:
            if (renamed := name.replace(theirs, ours)) in own:
                state[renamed] = state.pop(name)
                break


def projections(attention: nn.Module) -> list[nn.Linear]:
    """Return a block's query, key, value and output layers, which transformers 5 renamed."""
    layers = {n.rpartition(".")[2]: m for n, m in attention.named_modules() if n}
    names = (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("o_proj", "dense"))
    return [layers[new] if new in layers else layers[old] for new, old in names]


@lru_cache(maxsize=8)
def describe_backbone(
    name: str, revision: str, image_size: int, drop_path: float
) -> dict[str, Any]:
    """Return a backbone's configuration: scratch:tiny's for an image size, or the stored one.

    Raises UsageError for a backbone that is not a DINOv2, and as `find_backbone` does.
    """
    if name == SCRATCH:
        patch = TINY["patch_size"]
        if image_size % patch:
            raise UsageError(f"--image-size: {image_size} is not a multiple of the patch, {patch}")
        return TINY | {"image_size": image_size, "drop_path_rate": drop_path}
    folder, _ = find_backbone(name, revision)
    with _one_line(name):
        described = read_json(folder / "config.json", dict[str, Any])
    if (kind := described.get("model_type")) not in KINDS:
        raise UsageError(f"--backbone: {name} is a {kind}, not a DINOv2: choose another")
    with _one_line(name):
        return check_backbone(described)


def read_preprocessing(
    name: str, revision: str, announce: Callable[[str], None] = lambda text: None
) -> tuple[str, int, tuple[float, ...], tuple[float, ...]]:
    """Return a backbone's revision and its preprocessing: side in pixels, mean and deviation.

    From its image processor; without one, from its configuration and ImageNet's statistics.
    """
    from transformers import AutoImageProcessor

    folder, revision = find_backbone(name, revision, announce)
    if not (folder / "preprocessor_config.json").is_file():
        side = describe_backbone(name, revision, 0, 0.0).get("image_size", 224)
        return revision, side, IMAGENET_MEAN, IMAGENET_STD
    with _one_line(name):
        processor = AutoImageProcessor.from_pretrained(folder)
        size = (processor.crop_size if processor.do_center_crop else None) or processor.size
        side = size.get("height") or size["shortest_edge"]
        return revision, side, tuple(processor.image_mean), tuple(processor.image_std)


def backbone_state(id: str, revision: str, instead: str = GIVE) -> dict[str, Tensor]:
    """Load a backbone's weights in fp32, with the names and shapes of `Dinov2`.

    instead: as in `find_backbone`. Raises WeightsError for incomplete files.
    """
    from transformers import AutoModel

    folder, _ = find_backbone(id, revision, instead=instead)
    with _one_line(id):
        check_backbone(read_json(folder / "config.json", dict[str, Any]))
        model, loading = AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    # transformers initialises missing weights at random; the mask token is not used here.
    if missing := sorted(key for key in loading["missing_keys"] if "mask_token" not in key):
        raise WeightsError(
            f"The backbone {id} lacks {len(missing)} of its weights, such as {missing[0]}: "
            "choose a complete one"
        )
    return {f"backbone.{key}": tensor for key, tensor in model.state_dict().items()}


@contextlib.contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Turn transformers' errors about unusable files into one line; print nothing."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        from transformers.utils import logging as messages

        messages.disable_progress_bar()
        yield
    except Exception as error:  # a damaged file can raise anything
        reason = brief(error)
        raise WeightsError(
            f"The backbone {name} cannot be used ({reason}): choose another --backbone"
        ) from error
    finally:
        logger.setLevel(level)
