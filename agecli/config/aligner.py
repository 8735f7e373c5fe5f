"""How the aligner is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agecli.config.base import Device, Schedule, TrainConfig, check_choice, check_range, check_types


@dataclass(frozen=True)
class AlignerConfig:
    """How the aligner is trained; it has no ages, so little is as for the models of ages."""

    schedule: ClassVar[Schedule] = "onecycle"

    model: str = "aligner"
    data: str = TrainConfig.data
    """Prepared data set, of aligned chips."""
    epochs: int = 24
    batch_size: int = 128
    """Chips per step; a quarter as many pictures of no face come on top."""
    lr: float = 3e-3
    """Highest learning rate."""
    weight_decay: float = 0.02
    ema: float = 0.998
    """Decay of the moving average of weights per step."""
    seed: int = 0
    device: Device = "auto"
    limit: int = 0
    """Use only so many chips of each split, for a trial; 0 means all."""

    def __post_init__(self) -> None:
        check_types(self)
        check_range(
            self, epochs=(1, 10_000), batch_size=(4, 65_536), lr=(1e-8, 10), weight_decay=(0, 10),
            ema=(0, 0.99999), seed=(0, 2**31), limit=(0, 10**9),
        )  # fmt: skip
        check_choice(self, device=Device)
