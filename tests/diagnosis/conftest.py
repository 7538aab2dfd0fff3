"""Random pictures and a model that is a linear code: everything about both is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ear_teacher.config import LossConfig, ModelConfig
from ear_teacher.diagnosis import Subject
from ear_teacher.linear import LinearCode, fit_codes
from ear_teacher.models import EarVAE, new_model

WEIGHT = 1e-6


def draw(count: int, seed: int) -> np.ndarray:
    """Random colour pictures with the spectrum of sharp photos, uint8 (count, 32, 32, 3), every fourth one grey."""
    rng = np.random.default_rng(seed)
    f = np.fft.fftfreq(32)
    slope = np.maximum(np.hypot(f[:, None], f[None, :]), 1 / 32) ** -1.6  # power with 1 / f^3.2
    noise = rng.standard_normal((count, 32, 32, 3))
    noise = np.fft.ifft2(np.fft.fft2(noise, axes=(1, 2)) * slope[None, :, :, None], axes=(1, 2)).real
    noise = noise @ (0.8 / 3 + 0.2 * np.eye(3))  # channels go together
    pictures = noise / noise.std() * 35 + rng.normal(128, 15, (count, 1, 1, 3))
    pictures[::4] = pictures[::4].mean(axis=3, keepdims=True)
    return np.clip(pictures, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def train_pictures() -> np.ndarray:
    return draw(200, 0)


@pytest.fixture(scope="session")
def held_out_pictures() -> np.ndarray:
    return draw(64, 1)


@pytest.fixture(scope="session")
def codes(train_pictures: np.ndarray) -> dict[str, LinearCode]:
    fitted = fit_codes(train_pictures, np.arange(len(train_pictures)), (1, 4, 8), 512)
    return {"pca" if grid == 1 else f"klt_{grid}x{grid}": code for grid, code in fitted.items()}


def linear_model(codes: dict[str, LinearCode], floats: int, weight: float = WEIGHT, shrink: bool = False) -> EarVAE:
    """The model at step 0 of a warm start: exactly the linear code."""
    config = ModelConfig(latent_dim=floats, latent_layout="4x4", width=8)
    code = codes["klt_4x4"].truncated(floats)
    return new_model(config, 32, kl_weight=weight, seed=0, code=code, shrink=shrink).eval()


@pytest.fixture
def healthy(codes, train_pictures, held_out_pictures) -> Subject:
    """A linear code of 256 floats with the posterior variance of its weight."""
    return Subject(
        model=linear_model(codes, 256),
        held_out=held_out_pictures,
        train=train_pictures,
        codes=codes,
        loss=LossConfig(recon="mse", kl_weight=WEIGHT),
    )


def with_model(subject: Subject, model: EarVAE, **changes) -> Subject:
    return replace(subject, model=model, **changes)


def mute(model: EarVAE, part: str) -> EarVAE:
    """The model with an encoder that says the same of every picture, or a decoder that hears nothing."""
    with torch.no_grad():
        if part == "encoder":
            for parameter in model.encoder.parameters():
                parameter.zero_()
        else:
            model.decoder.linear.weight.zero_()
            model.decoder.out.weight.zero_()
    return model
