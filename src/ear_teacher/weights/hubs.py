"""Pretrained files of torch hub (torchvision) and of the model hub (timm): found in their caches, or downloaded."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import huggingface_hub
import timm
import torch
import torchvision

from ear_teacher.weights.trunks import NotAvailable

PATIENCE = 5.0
"""Seconds a hub has to answer; a download that has begun may take longer."""

_TORCHVISION = {
    "alexnet": torchvision.models.AlexNet_Weights.IMAGENET1K_V1,
    "vgg16": torchvision.models.VGG16_Weights.IMAGENET1K_V1,
}
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")

T = TypeVar("T")


def _hub_id(name: str) -> str | None:
    config = timm.get_pretrained_cfg(name)
    return getattr(config, "hf_hub_id", None)


def cached_file(trunk: str) -> Path:
    """A file that was downloaded before.

    Raises:
        NotAvailable: there is none.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if trunk in _TORCHVISION:
        url = str(_TORCHVISION[trunk].url)
    else:
        url = str(getattr(timm.get_pretrained_cfg(trunk), "url", None) or "")
        hub_id = _hub_id(trunk)
        if hub_id is not None:
            found = [huggingface_hub.try_to_load_from_cache(hub_id, file) for file in _HUB_FILES]
            for path in found:
                if isinstance(path, str):
                    return Path(path)
    kept = folder / url.rpartition("/")[2]
    if url and kept.is_file():
        return kept
    raise NotAvailable("nothing there")


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """The answer to a question, or NotAvailable: name look-ups, too, can hang, and have no timeout of their own."""
    answers: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            answers.append(ask())
        except BaseException as error:  # handed to the thread that waits
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if answers:
        return answers[0]
    raise NotAvailable(f"no answer ({type(errors[0]).__name__})" if errors else f"no answer within {seconds:g} s")


def download(trunk: str) -> Path:
    """Download a trunk into the hub's own cache.

    Raises:
        NotAvailable: the hub has no such file or does not answer within `PATIENCE` seconds.
    """
    if trunk in _TORCHVISION:
        url = str(_TORCHVISION[trunk].url)
        _within(PATIENCE, lambda: urllib.request.urlopen(url, timeout=PATIENCE).close())
        target = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(target), progress=False)
        except (OSError, RuntimeError) as error:
            raise NotAvailable(f"the download broke off ({type(error).__name__})") from None
        return target
    hub_id = _hub_id(trunk)
    if hub_id is None:
        raise NotAvailable("it has no weights of this model")

    def offered() -> str:
        last: Exception = FileNotFoundError()
        for file in _HUB_FILES:
            try:
                huggingface_hub.get_hf_file_metadata(huggingface_hub.hf_hub_url(hub_id, file), timeout=PATIENCE)
            except huggingface_hub.errors.EntryNotFoundError as error:
                last = error
            else:
                return file
        raise last

    file = _within(PATIENCE, offered)
    try:
        return Path(huggingface_hub.hf_hub_download(hub_id, file))
    except Exception as error:  # the hub's client raises its own, requests', httpx' and the system's errors
        raise NotAvailable(f"the download broke off ({type(error).__name__})") from None
