"""A change of params as a command that can be pasted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def experiment(name: str, changes: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """The command that runs a variant with other params.

    DVC sets a key that stands in the file; one that does not (an overlay holds only what differs) needs a plus.

    Args:
        name: v0, v1 or current.
        changes: `loss.kl_weight` and the like -> value; None becomes null.
        params: the content of params.yaml.
    """
    prefix = "" if name == "current" else f"baselines.{name}."
    return " ".join(["dvc exp run", *(_set(prefix + key, value, params) for key, value in changes.items())])


def _set(key: str, value: Any, params: Any) -> str:
    text = "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    for part in key.split("."):
        params = params.get(part) if isinstance(params, Mapping) and part in params else ...
    return f"-S {'+' if params is ... else ''}{key}={text}"
