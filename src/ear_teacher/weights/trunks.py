"""What a pretrained trunk looks like: the names of its tensors, whatever source they come from."""

from __future__ import annotations

import logging
from typing import Any

import timm
from torch import Tensor, nn

from ear_teacher.config import UserError

IMAGENET_TRUNKS = ("alexnet", "vgg16")

CONVOLUTIONS = {"alexnet": (0, 3, 6, 8, 10), "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}
"""Places of the convolutions in torchvision's `features`."""


class NotAvailable(Exception):
    """A source does not have the weights; the message says why."""


def imagenet_names(trunk: str) -> list[str]:
    """torchvision's names of the convolutions of `alexnet` or `vgg16`."""
    return [f"features.{place}.{kind}" for place in CONVOLUTIONS[trunk] for kind in ("weight", "bias")]


def check_timm_name(name: str) -> None:
    """Refuse names timm does not know, before any source is asked.

    Raises:
        UserError: with the nearest names timm has.
    """
    if not timm.is_model(name.partition(".")[0]):
        near = timm.list_models(f"*{name.partition('.')[0][:12]}*")[:3]
        hint = f", such as {', '.join(near)}" if near else ""
        raise UserError(f"model.backbone = {name!r}: timm has no such model; use one of timm.list_models(){hint}.")


def timm_model(name: str, *, classifier: bool = False) -> nn.Module:
    """The timm network of that name with random weights."""
    if classifier:
        return timm.create_model(name, pretrained=False)
    return timm.create_model(name, pretrained=False, num_classes=0)


def timm_tensors(name: str, tensors: dict[str, Any]) -> dict[str, Tensor]:
    """A checkpoint as the state of the timm model without classifier, by timm's own conversion.

    Raises:
        NotAvailable: the checkpoint is of another network.
    """
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    names = getattr(timm.get_pretrained_cfg(name), "classifier", None) or ()
    parts = tuple(f"{part}." for part in ((names,) if isinstance(names, str) else names))
    trunk = {key: value for key, value in tensors.items() if not parts or not key.startswith(parts)}
    try:
        # Told of the classifier, timm would leave it out itself, and then forgive whatever else is missing.
        overlay = {"state_dict": trunk, "custom_load": False, "classifier": None}
        model = timm.create_model(name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay)
    except Exception:  # missing, unexpected or misshapen tensors: timm's conversions raise many things
        raise NotAvailable("the file is of another network") from None
    finally:
        logger.setLevel(level)
    return {key: value.contiguous().clone() for key, value in model.state_dict().items()}
