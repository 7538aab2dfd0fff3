"""The one place that reads params.yaml."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ear_teacher.config.project import Config, Variant
from ear_teacher.config.values import UserError

MOST_BYTES = 1_000_000
"""A larger params.yaml is none; reading it would take minutes and gigabytes."""


def _sentence(error: ValidationError, where: str) -> str:
    """The first complaint of pydantic as one sentence that names key, value and what is allowed."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function-"))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key {key}; check its spelling against params.yaml in the README."
    if first["type"] == "value_error":
        return f"{where}: {f'{key}: ' if key and key not in message else ''}{message}."
    shown = repr(first["input"])
    if len(shown) > 60:
        shown = shown[:57] + "..."
    return f"{where}: {key} = {shown} is not allowed: {message[0].lower()}{message[1:]}."


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases (no exponential expansion) and without silent duplicate keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, str):
                raise yaml.YAMLError(f"the key {key!r} is not text")
        twice = [key for key, count in Counter(keys).items() if count > 1]
        if twice:
            raise yaml.YAMLError(f"the key {twice[0]!r} stands twice in one section")
        return super().construct_mapping(node, deep)


def _overlay(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`change` laid over `base`, section by section."""
    return {
        key: _overlay(base.get(key, {}), change[key])
        if isinstance(change.get(key), dict) and isinstance(base.get(key, {}), dict)
        else change.get(key, base.get(key))
        for key in {**base, **change}
    }


def parse_config(params: dict[str, Any], where: str = "params.yaml") -> Config:
    """Check a params mapping and return the typed config.

    Args:
        params: the content of params.yaml.
        where: name of the file, for the error message.

    Raises:
        UserError: one sentence naming the key, the value and what is allowed.
    """
    params = dict(params)
    baselines = params.pop("baselines", {})
    if not isinstance(baselines, dict) or set(baselines) - {"v0", "v1"}:
        raise UserError(f"{where}: baselines must hold the overlays v0 and v1 and nothing else.")
    for key in ("v0", "v1"):
        if key in params:
            raise UserError(f"{where}: unknown key {key}; overlays stand under baselines.{key}.")
    variants: dict[str, Variant] = {}
    merged: dict[str, Any] = {"model": {}, "loss": {}, "train": {}}
    for name in ("v0", "v1"):
        change = baselines.get(name) or {}
        if not isinstance(change, dict) or set(change) - {"model", "loss", "train"}:
            raise UserError(f"{where}: baselines.{name} may hold the sections model, loss and train only.")
        merged = _overlay(merged, change)
        try:
            variants[name] = Variant.model_validate({"name": name, **merged})
        except ValidationError as error:
            raise UserError(_sentence(error, f"{where}, baselines.{name}")) from None
    try:
        return Config.model_validate({**params, **variants})
    except ValidationError as error:
        raise UserError(_sentence(error, where)) from None


def read_params(path: str | Path = "params.yaml") -> dict[str, Any]:
    """The content of params.yaml as it stands there, not checked.

    Raises:
        UserError: the file is missing, not YAML or no mapping.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path}: is larger than {MOST_BYTES:,} bytes; restore it with `git checkout {path}`.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"{path}: cannot be read ({reason}); run the command in the project's folder.") from None
    try:
        params = yaml.load(text, Loader=_Loader)  # _Loader is a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0] or "nested too deeply"
        raise UserError(f"{path}:{line} not valid YAML: {reason}.") from None
    if not isinstance(params, dict):
        raise UserError(f"{path}: holds no params; restore it with `git checkout {path}`.")
    return params


def load_config(path: str | Path = "params.yaml") -> Config:
    """Read params.yaml.

    Raises:
        UserError: the file is missing, not YAML, or holds something that is not allowed.
    """
    return parse_config(read_params(path), str(path))
