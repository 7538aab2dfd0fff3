"""Heads on the maps of an encoder: where the landmarks are, and where the ear is in a larger picture.

head = LandmarkHead(channels_of(model), points=55)
points = head(maps_of(model, images))                    # (N, 55, 2), x and y in [0, 1]
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ear_teacher.models.blocks import ResBlock, norm_act, resized

LEVELS = (16, 8, 4)
"""Strides of the levels of a head, coarse to fine; its heatmaps have the last."""


class TopDown(nn.Module):
    """All maps on one grid of stride 4, coarse to fine as in a feature pyramid (Lin et al. 2017, arXiv 1612.03144).

    Every map goes through a 1 x 1 conv and joins the level nearest to its stride, resized where it has another size;
    each level is a residual block on the sum of its maps and the level above.

    Args:
        channels: channels of each map by name, `stride<n>`, `backbone<i>_stride<n>`, or `mean` (the code, which joins
            the coarsest level).
        width: channels inside.
    """

    def __init__(self, channels: Mapping[str, int], width: int) -> None:
        super().__init__()
        self.channels = dict(channels)
        self.lateral = nn.ModuleDict(
            # Maps differ in scale by orders of magnitude between encoders and depths: each is normalised first.
            {
                name: nn.Sequential(nn.GroupNorm(1, count), nn.Conv2d(count, width, 1))
                for name, count in channels.items()
            }
        )
        # The coarsest level is cheap, and there a block sees the whole ear: two of them.
        self.blocks = nn.ModuleList(
            [nn.Sequential(*[ResBlock(width) for _ in range(2 if level == LEVELS[0] else 1)]) for level in LEVELS]
        )

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """(N, channels[name], h, w) by name -> (N, width, S/4, S/4)."""
        name, finest = next((n, maps[n]) for n in self.channels if n.startswith("stride"))
        side = _stride(name) * finest.shape[-1]
        total: Tensor | None = None
        for level, block in zip(LEVELS, self.blocks, strict=True):
            size = side // level
            joined = [lateral(maps[n]) for n, lateral in self.lateral.items() if _level(n) == level]
            parts = [resized(part, size) for part in ([] if total is None else [total]) + joined]
            total = block(torch.stack(parts).sum(0)) if len(parts) > 1 else block(parts[0])
        assert total is not None
        return total


class LandmarkHead(nn.Module):
    """Landmarks as the expected place under a heatmap each: integral regression (Sun et al. 2018, arXiv 1711.08229).

    Args:
        channels: as in `TopDown`.
        points: how many landmarks.
        width: channels inside.
        seed: of the random weights.
    """

    def __init__(self, channels: Mapping[str, int], points: int, width: int = 48, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.trunk = TopDown(channels, width)
            self.out = nn.Sequential(norm_act(width), nn.Conv2d(width, points, 1))
        self.points, self.width = points, width

    def heatmaps(self, maps: Mapping[str, Tensor]) -> Tensor:
        """(N, points, S/4, S/4), each summing to one."""
        logits: Tensor = self.out(self.trunk(maps))
        return logits.flatten(2).softmax(2).view_as(logits)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """(N, points, 2): x right and y down, 0 and 1 at the picture's borders."""
        return expected_place(self.heatmaps(maps))


class BoxHead(nn.Module):
    """The ear in a larger picture as a peak of a map, with its size there (CenterNet: Zhou et al. 2019, 1904.07850).

    Args: as in `LandmarkHead`.
    """

    def __init__(self, channels: Mapping[str, int], width: int = 32, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.trunk = TopDown(channels, width)
            self.out = nn.Sequential(norm_act(width), nn.Conv2d(width, 5, 1))
        last = self.out[1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        # Peaks are rare: starting from their frequency keeps the first steps calm (Lin et al. 2017, focal loss).
        nn.init.constant_(last.bias[:1], -4.6)
        self.width = width

    def forward(self, maps: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Score logits (N, S/4, S/4) and, at each place, (N, 4, S/4, S/4): the centre's offset in cells, x and y, and
        the logarithm of width and height as shares of the picture."""
        out = self.out(self.trunk(maps))
        return out[:, 0], out[:, 1:]

    def boxes(self, maps: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The best box of each picture: (N, 4) centre x, centre y, width, height in [0, 1], and its score (N,)."""
        logits, shape = self.forward(maps)
        score, place = logits.sigmoid().flatten(1).max(1)
        return box_at(shape, place), score


def box_at(shape: Tensor, place: Tensor) -> Tensor:
    """(N, 4) centre, width and height in [0, 1]: what (N, 4, g, g) `shape` says at the cells (N,) `place`."""
    side = shape.shape[-1]
    there = shape.flatten(2).gather(2, place.view(-1, 1, 1).expand(-1, 4, 1))[:, :, 0]
    cell = torch.stack([place % side, place.div(side, rounding_mode="floor")], 1)
    return torch.cat([(cell + 0.5 + there[:, :2]) / side, there[:, 2:].exp()], 1)


def expected_place(heatmaps: Tensor) -> Tensor:
    """(N, K, h, w) summing to one -> (N, K, 2) expected x, y in [0, 1]; a cell's place is its centre."""
    height, width = heatmaps.shape[-2:]
    x = (torch.arange(width, device=heatmaps.device, dtype=heatmaps.dtype) + 0.5) / width
    y = (torch.arange(height, device=heatmaps.device, dtype=heatmaps.dtype) + 0.5) / height
    return torch.stack([heatmaps.sum(2) @ x, heatmaps.sum(3) @ y], -1)


def spread_loss(heatmaps: Tensor, places: Tensor, cells: float = 1.0) -> Tensor:
    """Jensen-Shannon divergence of heatmaps from Gaussians at the true places (DSNT: Nibali et al. 2018, 1801.07372).

    Args:
        heatmaps: (N, K, h, w) summing to one.
        places: (N, K, 2) true x, y in [0, 1].
        cells: standard deviation of the Gaussians.

    Returns:
        (N, K) nats.
    """
    height, width = heatmaps.shape[-2:]
    lines = []
    for axis, count in ((0, width), (1, height)):
        centres = torch.arange(count, device=heatmaps.device, dtype=heatmaps.dtype) + 0.5
        lines.append((-0.5 * ((centres - places[..., axis, None] * count) / cells) ** 2).exp())
    wanted = lines[1][..., :, None] * lines[0][..., None, :]
    # A point far outside leaves nothing on the grid; then the Gaussian is no distribution and counts as none.
    wanted = wanted / wanted.sum((2, 3), keepdim=True).clamp(min=1e-12)
    middle = (heatmaps + wanted) / 2
    return (_kl(heatmaps, middle) + _kl(wanted, middle)) / 2


def _kl(p: Tensor, q: Tensor) -> Tensor:
    tiny = 1e-12
    return (p * ((p + tiny).log() - (q + tiny).log())).sum((2, 3))


def _stride(name: str) -> int:
    return int(name.rpartition("stride")[2])


def _level(name: str) -> int:
    if name == "mean":
        return LEVELS[0]
    return min(LEVELS, key=lambda level: abs(level - _stride(name)))
