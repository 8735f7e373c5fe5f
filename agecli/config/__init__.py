"""Every default, once: `base` has the settings that all models share, `models` the others."""

from agecli.config.base import (
    DETECTOR,
    EARLIER_DETECTORS,
    FACE_MARGIN,
    FLIP,
    FPS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    MIN_FACE_SCORE,
    MOST_ACCUMULATED,
    PLACE,
    AgesConfig,
    Align,
    Arch,
    Augment,
    Balance,
    Conflicts,
    Device,
    Fallback,
    Metric,
    Objective,
    Pool,
    PrepareConfig,
    Pruner,
    Schedule,
    Stem,
    Store,
    TrainConfig,
)
from agecli.config.export import FORMS, ExportConfig, Form, Precision
from agecli.config.fields import DLIB, Settings, flag_of, is_dlib
from agecli.config.models import (
    CONFIGS,
    SCRATCH,
    CapsNetConfig,
    CnnConfig,
    Dinov2Config,
    ResNetConfig,
)
from agecli.config.settings import (
    BEST,
    FOUND,
    TRIALS,
    Table,
    check_names,
    command_line,
    configure,
    read_config,
    read_settings,
    read_table,
)
from agecli.config.space import (
    Choice,
    Dimension,
    Float,
    Int,
    Space,
    Value,
    read_space,
    write_toml,
)

__all__ = [
    "BEST", "CONFIGS", "DETECTOR", "DLIB", "EARLIER_DETECTORS", "FACE_MARGIN", "FLIP", "FORMS",
    "FOUND", "FPS", "IMAGENET_MEAN", "IMAGENET_STD", "MIN_FACE_SCORE", "MOST_ACCUMULATED", "PLACE",
    "SCRATCH", "TRIALS", "AgesConfig", "Align", "Arch", "Augment", "Balance", "CapsNetConfig",
    "Choice", "CnnConfig", "Conflicts", "Device", "Dimension", "Dinov2Config", "ExportConfig",
    "Fallback", "Float", "Form", "Int", "Metric", "Objective", "Pool", "Precision", "PrepareConfig",
    "Pruner", "ResNetConfig", "Schedule", "Settings", "Space", "Stem", "Store", "Table",
    "TrainConfig", "Value",
    "check_names", "command_line", "configure", "flag_of", "is_dlib", "read_config",
    "read_settings", "read_space", "read_table", "write_toml",
]  # fmt: skip
