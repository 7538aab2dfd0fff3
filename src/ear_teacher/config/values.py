"""What every section is made of: the base class, the kinds of numbers, and the error a user sees."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

LARGEST_SIDE = 1024
"""Pixels, of the square a model takes."""


class UserError(Exception):
    """A mistake the user can mend. The message is one sentence: what is wrong, where, and what to do."""


def _number_from_text(value: Any) -> Any:
    """Numbers that YAML 1.1 left as text, and nothing else: `1e-5` yes, `abc`, `true` and `nan` no."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value.strip()):
        return float(value)
    return value


numeric = BeforeValidator(_number_from_text)
Number = Annotated[float, numeric, Field(allow_inf_nan=False)]
Weight = Annotated[float, numeric, Field(ge=0, le=1e6, allow_inf_nan=False)]
Share = Annotated[float, numeric, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Natural = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys are errors, no silent conversion between kinds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
