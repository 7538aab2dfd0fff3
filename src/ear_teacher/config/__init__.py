"""params.yaml as frozen types, and the one place that reads it.

    config = load_config("params.yaml")            # the current model
    config.variant("v0").loss.kl_weight            # the same file, with the overlay of v0

Every key is declared here once, with its range. An unknown key, a wrong type, a value out of range or an
impossible combination raises `UserError` with one sentence that names the key, the value and what is allowed.
YAML 1.1 reads `1e-5` as a string; the types here turn it back into a number.
"""

from ear_teacher.config.data import DataConfig, LinearConfig, SplitConfig, SyntheticConfig, WeightsConfig
from ear_teacher.config.model import LAYOUT_GRID, NO_BACKBONE, LossConfig, ModelConfig
from ear_teacher.config.project import VARIANTS, Config, Variant
from ear_teacher.config.reading import load_config, parse_config, read_params
from ear_teacher.config.stages import (
    DiagnoseConfig,
    EvaluateConfig,
    ForecastConfig,
    ReconstructConfig,
    ReportConfig,
    WatchConfig,
)
from ear_teacher.config.training import DivergenceConfig, StopConfig, TeachConfig, TrainConfig
from ear_teacher.config.values import LARGEST_SIDE, Section, UserError

__all__ = [
    "LARGEST_SIDE",
    "LAYOUT_GRID",
    "NO_BACKBONE",
    "VARIANTS",
    "Config",
    "DataConfig",
    "DiagnoseConfig",
    "DivergenceConfig",
    "EvaluateConfig",
    "ForecastConfig",
    "LinearConfig",
    "LossConfig",
    "ModelConfig",
    "ReconstructConfig",
    "ReportConfig",
    "Section",
    "SplitConfig",
    "StopConfig",
    "SyntheticConfig",
    "TeachConfig",
    "TrainConfig",
    "UserError",
    "Variant",
    "WatchConfig",
    "WeightsConfig",
    "load_config",
    "parse_config",
    "read_params",
]
