"""A pretrained timm network as a map of features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import timm
import torch.nn.functional as F
from torch import Tensor, nn

from ear_teacher.config import UserError
from ear_teacher.weights.trunks import check_timm_name

MAX_STRIDE = 16


class Backbone(nn.Module):
    """Pictures -> feature maps of stride 16 or less, the deepest last; normalisation and resizing happen inside.

    The statistics the network was trained with stand in its timm config. Inputs are resized to the nearest
    size its patches divide (DINOv2-S/14: 128 -> 126 px, a 9 x 9 map); position embeddings are interpolated by
    timm. Normalisation layers keep their running statistics.

    Args:
        name: timm model with `forward_intermediates`.
        image_size: side of the pictures, in pixels.
        trainable_blocks: how many of the last blocks learn; all before them are frozen.
        layers: how many maps, evenly spread over the depth; one is the deepest.

    Raises:
        UserError: timm does not know the model, or it has no feature maps or blocks.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, image_size: int, trainable_blocks: int, layers: int = 1) -> None:
        super().__init__()
        self.name = name
        # timm's models share an interface that no class of theirs declares.
        network: Any = create_network(name)
        self.network: nn.Module = network.eval()
        levels = network.feature_info
        strides = [level["reduction"] for level in levels]
        usable = sum(stride <= max(MAX_STRIDE, min(strides)) for stride in strides)
        if layers > usable:
            raise UserError(
                f"model.backbone_layers = {layers}: {name} has {usable} maps of stride {MAX_STRIDE} or less."
            )
        self.levels = [usable * (i + 1) // layers - 1 for i in range(layers)]
        network.prune_intermediate_layers(self.levels, prune_norm=False, prune_head=True)
        self.channels: list[int] = [levels[level]["num_chs"] for level in self.levels]
        multiple = strides[self.levels[-1]]
        self.input_size = max(multiple, round(image_size / multiple) * multiple)
        statistics = network.pretrained_cfg
        for key in ("mean", "std"):
            value = Tensor(statistics[key]).view(1, 3, 1, 1)
            self.register_buffer(key, value, persistent=False)
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)
        blocks = list(_blocks(self.network))
        for block in blocks[len(blocks) - min(trainable_blocks, len(blocks)) :]:
            for parameter in block.parameters():
                parameter.requires_grad_(True)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, 3, S, S) in [0, 1] -> a map (N, channels[i], h, w) of each layer."""
        if images.shape[-1] != self.input_size:
            images = F.interpolate(images, self.input_size, mode="bicubic", align_corners=False, antialias=True).clamp(
                0, 1
            )
        images = (images - self.mean) / self.std
        network: Any = self.network
        maps: list[Tensor] = network.forward_intermediates(
            images, indices=self.levels, intermediates_only=True, output_fmt="NCHW"
        )
        return maps

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take pretrained weights; a classifier in `tensors` is left out.

        Raises:
            UserError: the weights are those of another network.
        """
        own = self.network.state_dict()
        if set(own) - set(tensors) or any(own[name].shape != tensors[name].shape for name in own):
            raise UserError(f"The weights are not those of {self.name}; run `dvc repro weights` again.")
        self.network.load_state_dict({name: tensors[name] for name in own})

    def train(self, mode: bool = True) -> Backbone:
        """Keep the network's own normalisation statistics and dropout off, also while the rest trains."""
        super().train(mode)
        self.network.eval()
        return self


def create_network(name: str) -> nn.Module:
    """The whole timm network without weights and without a classifier.

    Raises:
        UserError: timm does not know it, or it cannot give feature maps.
    """
    options: dict[str, Any] = {"dynamic_img_size": True} if name.startswith(("vit_", "deit")) else {}
    check_timm_name(name)
    network = timm.create_model(name, pretrained=False, num_classes=0, **options)
    if not hasattr(network, "forward_intermediates") or not any(True for _ in _blocks(network)):
        raise UserError(f"model.backbone = {name!r} gives no feature maps; use a ViT, EfficientNet or ConvNeXt.")
    return network


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The network's repeated blocks in forward order, stages of blocks flattened."""
    for child in getattr(network, "blocks", getattr(network, "stages", ())):
        inner = getattr(child, "blocks", child)
        if isinstance(inner, nn.Sequential | nn.ModuleList):
            yield from inner
        else:
            yield child
