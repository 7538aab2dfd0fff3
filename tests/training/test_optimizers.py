"""Muon against the singular value decomposition, and which optimizer moves which weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ear_teacher.config import ModelConfig, TrainConfig
from ear_teacher.models import EarVAE
from ear_teacher.training.optimizers import Muon, optimizers, orthogonalised

MODEL = ModelConfig(latent_dim=64, latent_layout="4x4", width=8)


@settings(max_examples=25)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 99), scale=st.floats(1e-4, 1e4))
def test_singular_vectors_stay_and_singular_values_become_about_one(
    rows: int, columns: int, seed: int, scale: float
) -> None:
    rank = min(rows, columns)
    generator = torch.Generator().manual_seed(seed)
    u, _ = torch.linalg.qr(torch.randn(rows, rank, generator=generator))
    v, _ = torch.linalg.qr(torch.randn(columns, rank, generator=generator))
    values = scale * torch.linspace(0.3, 1, rank)
    inside = u.T @ orthogonalised(u @ torch.diag(values) @ v.T) @ v
    assert (inside.diagonal() - 1).abs().max() < 0.35
    torch.testing.assert_close(inside - torch.diag(inside.diagonal()), torch.zeros(rank, rank), atol=1e-3, rtol=0)


def test_a_step_has_the_size_of_one_of_adamw_whatever_the_size_of_the_gradient() -> None:
    for scale in (1e-6, 1e3):
        kernel = nn.Parameter(torch.zeros(32, 16, 3, 3))
        kernel.grad = scale * torch.randn(kernel.shape, generator=torch.Generator().manual_seed(0))
        Muon([{"params": [kernel]}], lr=0.01).step()
        assert kernel.detach().square().mean().sqrt() == pytest.approx(0.2 * 0.01, rel=0.25)


def test_weight_decay_shrinks_by_its_share_of_the_learning_rate() -> None:
    kernel = nn.Parameter(torch.ones(4, 4, 1, 1))
    kernel.grad = torch.zeros_like(kernel)
    Muon([{"params": [kernel]}], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(kernel.data, torch.full_like(kernel, 0.95))


def test_every_weight_that_learns_is_moved_by_exactly_one_optimizer() -> None:
    model = EarVAE(MODEL, 64)
    for name in ("adamw", "muon"):
        movers = optimizers(model, TrainConfig(optimizer=name, linear_lr_scale=0.1))
        moved = [id(p) for mover in movers for group in mover.param_groups for p in group["params"]]
        assert sorted(moved) == sorted(id(p) for p in model.parameters())
        assert len(movers) == {"adamw": 1, "muon": 2}[name]


def test_muon_leaves_the_linear_maps_and_the_last_layers_to_adamw() -> None:
    model = EarVAE(MODEL, 64)
    muon = optimizers(model, TrainConfig(optimizer="muon"))[1]
    kernels = {id(p) for group in muon.param_groups for p in group["params"]}
    kept = [*model.linear_parameters(), model.encoder.out.weight, model.decoder.out.weight]
    assert not kernels & {id(p) for p in kept}
    assert all(p.ndim == 4 for group in muon.param_groups for p in group["params"])


def test_linear_maps_of_share_zero_are_left_out() -> None:
    model = EarVAE(MODEL, 64)
    movers = optimizers(model, TrainConfig(linear_lr_scale=0.0))
    moved = {id(p) for mover in movers for group in mover.param_groups for p in group["params"]}
    assert not moved & {id(p) for p in model.linear_parameters()}
