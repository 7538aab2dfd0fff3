"""What the encoder is asked beyond the loss, so that its features teach: section `teach` of the params.

    teaching = Teaching(config.teach, model, backbone)
    given = teaching.blank(given, draws)                              # masked input, the target stays whole
    posterior, deepest = teaching.encode(model, given, None)
    extra, raw = teaching(model, deepest, target, draws)              # extra == sum(teaching.weights[k] * raw[k])

With every weight 0 nothing is computed, drawn or learned.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ear_teacher.augmentation import Draws, degrade, motion, moved
from ear_teacher.config import TeachConfig, UserError
from ear_teacher.losses import Whole
from ear_teacher.models import EarVAE
from ear_teacher.models.backbone import Backbone
from ear_teacher.models.posterior import DiagonalGaussian

PATCH = 16  # pixels, side of what the mask blanks
MOVED = 0.25  # largest shift (share of the side), scale and turn of the second view; see `augmentation.move`
TEMPERATURE = 0.07  # of the likeness of two descriptors, a cosine
NEAR = 0.7  # cells: deviation of the places that count as the right one
EVERY = 2  # picture of a batch is seen in a second view, which costs two runs of the backbone
PHOTOMETRIC = 0.2  # largest change of brightness and contrast, and of a channel's gain by half of it


class Teaching(nn.Module):
    """The terms whose weight is above 0, and the networks they need.

    Args:
        config: the teach section.
        model: whose encoder is taught.
        backbone: pretrained tensors of `config.align_backbone`; not needed where `align_weight` is 0.

    Raises:
        UserError: the backbone's weights are missing or those of another network.
    """

    def __init__(
        self, config: TeachConfig, model: EarVAE | None = None, backbone: dict[str, Tensor] | None = None
    ) -> None:
        super().__init__()
        self.config = config
        describes = model is not None and model.describer is not None
        pairs = {"align": config.align_weight, "agree": config.agree_weight if describes else 0.0}
        self.weights = {name: weight for name, weight in pairs.items() if weight > 0}
        """Weight of every term that is computed."""
        if config.align_weight > 0:
            if backbone is None or model is None:
                raise UserError(
                    "teach.align_weight needs the pretrained weights of teach.align_backbone: run `dvc repro weights`, "
                    "or set it to 0."
                )
            self.backbone = Backbone(config.align_backbone, model.image_size, trainable_blocks=0)
            self.backbone.load(backbone)
            self.shared = config.align_backbone == model.config.backbone
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                self.project = nn.Conv2d(model.encoder.depth, self.backbone.channels[-1], 1, bias=False)

    def learned(self) -> list[nn.Parameter]:
        """What learns beside the model: the projection of its map onto the backbone's."""
        return [p for p in self.parameters() if p.requires_grad]

    def blank(self, images: Tensor, draws: Draws) -> Tensor:
        """Fill patches of 16 x 16 pixels with the picture's mean colour, each with the chance `mask_share`.

        After masked image modelling (He et al. 2022, arXiv 2111.06377; Xie et al. 2022, arXiv 2111.09886); the target
        is the whole picture, visible patches included.

        Args:
            images: (N, 3, S, S) in [0, 1]; not changed.
            draws: the batch's.
        """
        if not self.config.mask_share:
            return images
        cells = images.shape[-1] // PATCH
        hidden = draws.uniform(len(images), 1, cells, cells) < self.config.mask_share
        hidden = hidden.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3).to(images.device)
        return torch.where(hidden, images.mean((2, 3), keepdim=True), images)

    def encode(self, model: EarVAE, images: Tensor, known: Tensor | None) -> tuple[DiagonalGaussian, Tensor | None]:
        """`EarVAE.encode_and_map`; no map where no term needs it."""
        return model.encode_and_map(images, known) if self.weights else (model.encode(images, known), None)

    def forward(
        self,
        model: EarVAE,
        deepest: Tensor | None,
        target: Tensor,
        draws: Draws,
        known: Tensor | None = None,
        whole: Whole = lambda part: part,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The terms of a batch.

        Args:
            model: whose encoder saw the input.
            deepest: (N, c, h, w) its deepest map, from `encode`.
            target: (N, 3, S, S) in [0, 1], the clean pictures.
            draws: the batch's.
            known: what the model's own backbone says of `target`, where that was computed before
                (`encoder.backbone_maps`); where it is the one to align to, it need not run again.
            whole: gathers a batch that several processes share (`training.distributed`): views agree over the batch.

        Returns:
            The weighted sum (scalar, 0 where there are none) and the raw value of each term.
        """
        raw: dict[str, Tensor] = {}
        if deepest is None:
            return torch.zeros(()), raw
        if "align" in self.weights:
            with torch.no_grad():
                if known is not None and self.shared:
                    wanted = known[:, -self.backbone.channels[-1] :]
                else:
                    wanted = self.backbone(target)[-1]
                wanted = F.adaptive_avg_pool2d(wanted, deepest.shape[-1])
            raw["align"] = align_term(self.project(deepest).float(), wanted.float(), self.config.align_margin)
        if "agree" in self.weights:
            assert model.encoder.backbone is not None
            seen = target[::EVERY]
            motions = motion(len(seen), MOVED, draws).to(seen)
            views = [degrade(recoloured(view, draws), draws) for view in (seen, moved(seen, motions))]
            described = model.describe(model.encoder.backbone(torch.cat(views))).float()
            places = F.affine_grid(motions, [len(seen), 1, *described.shape[2:]], align_corners=False)
            one, two = (whole(part) for part in described.chunk(2))
            raw["agree"] = exchange_term(one, two, whole(places))
        return torch.stack([self.weights[name] * value for name, value in raw.items()]).sum(), raw


def align_term(made: Tensor, wanted: Tensor, margin: float = 0.5) -> Tensor:
    """VF-loss: marginal cosine similarity plus marginal distance matrix similarity (Yao et al. 2025, arXiv 2501.01423,
    equations 4 and 5; their published margins are 0.5 and 0.25).

    Each place should look like the wanted one, up to an angle, and places should be as like each other as the wanted
    ones are, up to a difference. Maps (N, c, h, w), the second without gradient; scalar in [0, 3].

    Args:
        made: projected maps.
        wanted: of the backbone.
        margin: of the cosine; half of it is that of the differences.
    """
    made, wanted = (F.normalize(maps.flatten(2), dim=1) for maps in (made, wanted))
    cosine = F.relu(1 - margin - (made * wanted).sum(1)).mean()
    own, aim = (maps.transpose(1, 2) @ maps for maps in (made, wanted))
    return cosine + F.relu((own - aim).abs() - margin / 2).mean()


def exchange_term(one: Tensor, two: Tensor, places: Tensor) -> Tensor:
    """Descriptor vector exchange (Thewlis et al. 2019, arXiv 1908.06427, equations 4 and 5), as a cross-entropy over
    places instead of an expected distance.

    A place of the second view should be found again in the first, not by the first's own descriptors but by what they
    pick out of another picture: so a descriptor says which part it is, not whose. Scalar, at least 0.

    Args:
        one: (N, k, h, h) descriptors of N pictures.
        two: (N, k, h, h) of other views of them.
        places: (N, h, h, 2) where each place of the second view lies in the first, x and y in [-1, 1]; those beyond
            do not count.
    """
    side = one.shape[-1]
    first, second = (F.normalize(maps.flatten(2), dim=1) for maps in (one, two))
    other = first.roll(1, 0)
    picked = (first.transpose(1, 2) @ other / TEMPERATURE).softmax(2)
    exchanged = F.normalize(other @ picked.transpose(1, 2), dim=1)
    found = (second.transpose(1, 2) @ exchanged / TEMPERATURE).log_softmax(2)

    unmoved = torch.eye(2, 3, device=places.device, dtype=places.dtype)[None]
    cells = F.affine_grid(unmoved, [1, 1, side, side], align_corners=False).flatten(1, 2)
    places = places.flatten(1, 2)
    wanted = (-(torch.cdist(places, cells.expand(len(places), -1, -1)) * side / 2 / NEAR).square() / 2).softmax(2)
    inside = (places.abs() < 1).all(2)
    return -((wanted * found).sum(2) * inside).sum() / inside.sum().clamp(min=1)


def recoloured(images: Tensor, draws: Draws) -> Tensor:
    """Other brightness, contrast and colour, uniform within `PHOTOMETRIC`; (N, 3, S, S) in [0, 1]."""

    def around_1(channels: int, extent: float) -> Tensor:
        drawn = draws.uniform(len(images), channels, 1, 1) * 2 - 1
        return (1 + extent * drawn).to(images.device)

    mean = images.mean((1, 2, 3), keepdim=True)
    brightness, contrast = (around_1(1, PHOTOMETRIC) for _ in range(2))
    return (((images - mean) * contrast + mean * brightness) * around_1(3, PHOTOMETRIC / 2)).clamp(0, 1)
