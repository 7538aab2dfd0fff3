"""EarVAE: one encoder, one decoder, pictures in and out in [0, 1].

model = EarVAE.load(Path("models/current"))
posterior = model.encode(images)               # images: (N, 3, S, S) in [0, 1]
pictures = model.decode(posterior.mode)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ear_teacher.config import LARGEST_SIDE, NO_BACKBONE, ModelConfig, UserError
from ear_teacher.files import read_json, write_atomically
from ear_teacher.forecast import posterior_variance
from ear_teacher.linear import REACH, WhitenedCode
from ear_teacher.models.backbone import Backbone
from ear_teacher.models.decoders import ResidualDecoder, TransposedDecoder
from ear_teacher.models.descriptors import STRIDE, Descriptors
from ear_teacher.models.encoders import BackboneEncoder, ResidualEncoder
from ear_teacher.models.posterior import DiagonalGaussian


class EarVAE(nn.Module):
    """A variational autoencoder of pictures.

    Args:
        config: the model section of the params.
        image_size: side of the pictures in pixels, a multiple of 32.

    Raises:
        UserError: the size is no multiple of 32.
    """

    def __init__(self, config: ModelConfig, image_size: int) -> None:
        super().__init__()
        if image_size % 32:
            raise UserError(f"data.image_size = {image_size} does not fit the model: use a multiple of 32.")
        self.config = config
        self.image_size = image_size
        shape = (config.channels, config.grid)
        overlap = REACH * (image_size // config.grid) if config.warm_start == "lapped" else 0
        self.encoder: BackboneEncoder | ResidualEncoder
        self.decoder: nn.Module
        backbone = None
        if config.backbone != NO_BACKBONE:
            backbone = Backbone(config.backbone, image_size, config.trainable_blocks, config.backbone_layers)
        if config.encoder == "backbone":
            assert backbone is not None
            self.encoder = BackboneEncoder(backbone, *shape)
        else:
            self.encoder = ResidualEncoder(image_size, *shape, config.width, backbone, overlap)
        if config.decoder == "transposed":
            self.decoder = TransposedDecoder(image_size, *shape, config.width)
        else:
            self.decoder = ResidualDecoder(image_size, *shape, config.width, overlap)
        self.describer: Descriptors | None = None
        if config.describes:
            assert backbone is not None
            self.describer = Descriptors(backbone.channels, config.descriptors)

    def encode(self, images: Tensor, known: Tensor | None = None) -> DiagonalGaussian:
        """(N, 3, S, S) in [0, 1] -> the posterior over (N, k, g, g) codes. For `known` see `encode_and_map`."""
        return DiagonalGaussian(*(self.encoder(images) if known is None else self.encoder(images, known)))

    def encode_and_map(self, images: Tensor, known: Tensor | None = None) -> tuple[DiagonalGaussian, Tensor]:
        """The posterior, and the encoder's deepest map (N, c, h, w) before the code.

        Args:
            images: (N, 3, S, S) in [0, 1].
            known: what `encoder.backbone_maps` gives for them, where it was computed before.
        """
        deepest = self.encoder.deepest(images, known)
        return DiagonalGaussian(*self.encoder.code(images, deepest)), deepest

    def describe(self, maps: Sequence[Tensor]) -> Tensor:
        """The backbone's maps of N pictures -> (N, descriptors, S/8, S/8), a descriptor of each place."""
        assert self.describer is not None
        found: Tensor = self.describer(maps, self.image_size // STRIDE)
        return found

    def decode(self, codes: Tensor) -> Tensor:
        """(N, k, g, g) -> (N, 3, S, S), meant for [0, 1] but not clamped: losses need the overshoot."""
        return (self.decoder(codes) + 1) / 2

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, DiagonalGaussian]:
        """Reconstruct through a sample of the posterior.

        Returns:
            pictures (N, 3, S, S), not clamped, and the posterior.
        """
        posterior = self.encode(images)
        return self.decode(posterior.sample(generator)), posterior

    def reconstruct(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) in [0, 1] -> the same through the posterior's mean, clamped to [0, 1]."""
        return self.decode(self.encode(images).mode).clamp(0, 1)

    def linear_parameters(self) -> list[nn.Parameter]:
        """The maps a warm start sets: the linear code and its inverse (none in v0 and v1)."""
        found: list[nn.Parameter] = []
        if isinstance(self.encoder, ResidualEncoder):
            found += [*self.encoder.linear.parameters(), self.encoder.mean_patch]
        if isinstance(self.decoder, ResidualDecoder):
            found += [*self.decoder.linear.parameters(), self.decoder.mean_patch]
        return found

    def hidden_kernels(self) -> list[nn.Parameter]:
        """Kernels (out, in, h, w) inside the network: neither the linear maps nor the layers that end a branch."""
        residual = (ResidualEncoder, ResidualDecoder)
        ends = [part.out.weight for part in (self.encoder, self.decoder) if isinstance(part, residual)]
        left_out = {id(p) for p in [*self.linear_parameters(), *ends]}
        return [p for p in self.parameters() if p.ndim == 4 and id(p) not in left_out]

    def backbone_parameters(self) -> list[nn.Parameter]:
        """The backbone's parameters that learn (none where there is no backbone)."""
        backbone = self.encoder.backbone
        return [] if backbone is None else [p for p in backbone.parameters() if p.requires_grad]

    def descriptor_parameters(self) -> list[nn.Parameter]:
        """Of the descriptors of places (none where there are none)."""
        return [] if self.describer is None else list(self.describer.parameters())

    @torch.no_grad()
    def warm_start(self, code: WhitenedCode, kl_weight: float, shrink: bool = False) -> None:
        """Set step 0 to a linear code; the posterior variance is the forecast's for the weight.

        Codes are whitened, so the prior fits from the first step. Mean decoding equals the linear code exactly,
        unless `shrink`: then mean and decoder shrink with the noise, and step 0 is the forecast's optimum, whose
        KL counts the coordinates above the noise only. Rate-limited runs start there.

        Raises:
            UserError: the code's shape is not the model's.
        """
        encoder, decoder = self.encoder, self.decoder
        assert isinstance(encoder, ResidualEncoder)
        assert isinstance(decoder, ResidualDecoder)
        if code.grid != self.config.grid or len(code.analysis) < self.config.channels:
            raise UserError(
                f"The linear code holds {len(code.analysis) * code.grid**2} floats, model.latent_dim = "
                f"{self.config.latent_dim} wants more: raise linear.max_floats or lower model.latent_dim."
            )
        if code.analysis.shape[-1] != encoder.linear.kernel_size[0]:
            raise UserError(
                f"model.warm_start = {self.config.warm_start} does not fit this code: `lapped` takes one whose patches "
                "overlap (`fit_lapped`), `klt` one whose patches do not."
            )
        first = slice(self.config.channels)
        variance = posterior_variance(code.energies[first].numpy(), max(kl_weight, 1e-9), 3 * self.image_size**2)
        gain = torch.from_numpy(np.sqrt(1 - variance)).float().view(-1, 1, 1, 1) if shrink else torch.tensor(1.0)
        encoder.linear.weight.copy_(gain * code.analysis[first])
        decoder.linear.weight.copy_(gain * code.synthesis[first])
        encoder.mean_patch.copy_(code.mean)
        decoder.mean_patch.copy_(code.mean)
        assert encoder.out.bias is not None
        encoder.out.bias[self.config.channels :] = torch.from_numpy(np.log(variance)).float()

    def load_backbone(self, tensors: dict[str, Tensor]) -> None:
        """Put pretrained weights into the backbone; a classifier in `tensors` is left out.

        Raises:
            UserError: the weights are those of another network.
        """
        assert self.encoder.backbone is not None
        self.encoder.backbone.load(tensors)

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `config.json`, from which `load` rebuilds the model."""
        folder.mkdir(parents=True, exist_ok=True)
        description = {"image_size": self.image_size, "model": self.config.model_dump()}
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        write_atomically(folder / "model.safetensors", save(tensors))
        write_atomically(folder / "config.json", json.dumps(description, indent=2) + "\n")

    @staticmethod
    def load(folder: str | Path) -> EarVAE:
        """Rebuild a saved model, in evaluation mode, on the CPU.

        Raises:
            UserError: a file is missing, damaged or does not fit the other.
        """
        folder = Path(folder)
        try:
            description = read_json(folder / "config.json")
            config = ModelConfig.model_validate(description["model"])
            size = description["image_size"]
            if type(size) is not int or not 32 <= size <= LARGEST_SIDE:
                raise ValueError(size)
            with torch.device("meta"):  # shapes alone: whatever the file claims, no memory is taken
                wanted = EarVAE(config, size).state_dict()
        except (OSError, ValueError, KeyError, TypeError, ValidationError, UserError):
            raise UserError(f"{folder}/config.json is missing or not one of ours; train the model again.") from None
        try:
            tensors = load_file(folder / "model.safetensors")
        except (OSError, SafetensorError):
            tensors = {}
        fits = tensors.keys() == wanted.keys() and all(
            tensors[name].shape == like.shape and tensors[name].dtype == like.dtype for name, like in wanted.items()
        )
        if not fits or not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise UserError(
                f"{folder}/model.safetensors is missing, damaged or does not fit config.json; train the model again."
            )
        model = EarVAE(config, size)
        model.load_state_dict(tensors)
        return model.eval()
