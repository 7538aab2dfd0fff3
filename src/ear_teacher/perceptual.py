"""LPIPS and the user's VGG-L1 on one pass through a pretrained trunk.

net = load_lpips("vgg", Path("data/weights/perceptual/vgg16.safetensors"))
a, b = trunk_features(net, recon), trunk_features(net, target)      # pictures in [-1, 1]
lpips_from_features(net, a, b), vgg_l1_from_features(a, b)          # (N,), (N,)
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import lpips
import torch
from torch import Tensor, nn

from ear_teacher.config import UserError
from ear_teacher.weights import load_trunk

Trunk = Literal["alex", "vgg"]
TRUNK_FILE = {"alex": "alexnet.safetensors", "vgg": "vgg16.safetensors"}
"""Name of each trunk's file in the folder of the stage `weights`."""

_SMALLEST_SQUARED_NORM = 1e-20
"""Below this a feature vector counts as zero. The square root's slope there is infinite: 0 x inf = NaN."""


def load_lpips(net: Trunk, trunk_path: Path) -> lpips.LPIPS:
    """LPIPS v0.1 with a pretrained trunk from a file and the linear heads of the `lpips` wheel.

    Args:
        net: `alex` or `vgg`.
        trunk_path: alexnet.safetensors or vgg16.safetensors, as `weights.obtain` writes them.

    Returns:
        Frozen, in evaluation mode, on the CPU. No download is attempted and no random number is drawn.

    Raises:
        UserError: the file is missing, damaged or holds another network.
    """
    trunk = load_trunk(trunk_path)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision deprecates the arguments that lpips passes
        model = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    heads_path = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    heads = torch.load(heads_path, map_location="cpu", weights_only=True)
    state: dict[str, Tensor] = {}
    for name, wanted in model.state_dict().items():
        part, _, rest = name.partition(".")
        if part == "net":  # net.slice2.5.weight is layer 5 of the trunk: features.5.weight
            found = trunk.get(f"features.{rest.partition('.')[2]}")
        elif part == "lins":  # the same modules a second time, in a list
            found = heads.get(name.replace("lins.", "lin"))
        else:
            found = heads.get(name, wanted)
        if found is None or found.shape != wanted.shape:
            raise UserError(f"{trunk_path}: is not the {net} trunk; run `dvc repro weights` again.")
        state[name] = found
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(False).eval()


def trunk_features(net: lpips.LPIPS, images: Tensor) -> tuple[Tensor, ...]:
    """The five activations LPIPS compares (VGG16: relu1_2, 2_2, 3_3, 4_3, 5_3).

    Args:
        net: from `load_lpips`.
        images: (N, 3, S, S) on [-1, 1]; the scaling layer turns them into ImageNet-normalised pictures.

    Returns:
        Five tensors (N, C, h, w).
    """
    return tuple(net.net(net.scaling_layer(images)))


def _unit(features: Tensor) -> Tensor:
    """Each position's channels scaled to length 1, as LPIPS does, but with a finite gradient at zero."""
    squared = features.square().sum(dim=1, keepdim=True)
    return features / (squared.clamp_min(_SMALLEST_SQUARED_NORM).sqrt() + 1e-10)


def lpips_from_features(net: lpips.LPIPS, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """LPIPS of each pair: what `net(images_a, images_b)` gives, without running the trunk again.

    Args:
        net: the network that made the features.
        a: from `trunk_features`.
        b: from `trunk_features`, of as many images.

    Returns:
        (N,), 0 = alike.
    """
    layers = [
        cast(nn.Module, head)((_unit(x) - _unit(y)).square()).mean(dim=(1, 2, 3))
        for head, x, y in zip(net.lins, a, b, strict=True)
    ]
    return torch.stack(layers).sum(dim=0)


def vgg_l1_from_features(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """`perceptual_vgg_l1`: mean over relu1_2, 2_2, 3_3, 4_3 of the mean absolute difference.

    Args:
        a: from `trunk_features` of the `vgg` network.
        b: the same of as many images.

    Returns:
        (N,), 0 = alike.
    """
    layers = [(x - y).abs().mean(dim=(1, 2, 3)) for x, y in zip(a[:4], b[:4], strict=True)]
    return torch.stack(layers).mean(dim=0)
