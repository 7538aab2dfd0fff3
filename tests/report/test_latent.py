"""Latent directions against an independent principal component analysis."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ear_teacher.config import UserError
from ear_teacher.data import to_tensor
from ear_teacher.report import latent
from tests.report.conftest import Tiny


def test_the_directions_are_the_principal_components() -> None:
    codes = torch.randn(30, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 1, 1]).view(
        3, 1, 1
    )
    found = latent.fit(codes, 4)
    wanted = PCA(4, svd_solver="full").fit(codes.flatten(1).double().numpy())
    np.testing.assert_allclose(found.deviations, wanted.explained_variance_**0.5, rtol=1e-5)
    np.testing.assert_allclose(found.share, wanted.explained_variance_ratio_.sum(), rtol=1e-5)
    cosines = np.abs((found.directions.flatten(1).double().numpy() * wanted.components_).sum(1))
    np.testing.assert_allclose(cosines, 1, rtol=1e-5)
    assert (found.directions.flatten(1).max(1).values == found.directions.flatten(1).abs().max(1).values).all()


def test_a_step_moves_by_its_deviation_along_its_direction_only() -> None:
    codes = torch.randn(20, 2, 2, 2, generator=torch.Generator().manual_seed(1))
    found = latent.fit(codes, 3)
    moved = found.moved(codes[:1], torch.tensor([[0.0, 2.0, 0.0]])) - codes[:1]
    torch.testing.assert_close(moved[0], 2 * found.deviations[1] * found.directions[1])


def test_the_way_between_two_ears_ends_at_their_reconstructions(tiny: Tiny) -> None:
    model = tiny.models["current"]
    pair = to_tensor(tiny.data.images[[40, 44]])
    way, fade = latent.between(model, pair, 5)
    with torch.no_grad():
        ends = latent.to_uint8(model.reconstruct(pair))
    for road in (way, fade):
        assert np.abs(road[[0, -1]].astype(int) - ends.astype(int)).max() <= 1
    # At step 0 the current model is linear, so both roads are one, but for clamping.
    assert np.abs(way.astype(int) - fade.astype(int)).mean() < 1


def test_samples_depend_on_the_seed_alone(tiny: Tiny) -> None:
    model = tiny.models["current"]
    one, same, other = (latent.prior_samples(model, 3, seed) for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_directions_come_back_from_their_file(tiny: Tiny, tmp_path: Path) -> None:
    found = {"current": latent.fit(latent.codes(tiny.models["current"], tiny.data.images, np.arange(12)), 2)}
    latent.save_directions(tmp_path / "d.safetensors", found)
    again = latent.load_directions(tmp_path / "d.safetensors")["current"]
    torch.testing.assert_close(again.directions, found["current"].directions)
    assert again.share == pytest.approx(found["current"].share)
    (tmp_path / "d.safetensors").write_bytes(b"rubbish")
    with pytest.raises(UserError, match="missing or damaged"):
        latent.load_directions(tmp_path / "d.safetensors")
