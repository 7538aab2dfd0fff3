"""The peers, where their libraries are installed (`make bench` adds them)."""

import numpy as np
import pytest
import torch

from benchmarks import peers
from ear_teacher.config import LossConfig
from ear_teacher.linear import WhitenedCode, fit_lapped
from ear_teacher.losses import Loss


def plain_loss() -> Loss:
    return Loss(
        LossConfig(recon="mse", focal=False, center_weight=1, ignore_dark=False, perceptual_weight=0, ssim_weight=0)
    )


def no_code() -> WhitenedCode:
    """Of the right shape."""
    patches = torch.zeros(16, 3, 16, 16)
    return WhitenedCode(patches[0], patches, patches, torch.ones(16), 8)


def test_a_peer_with_our_warm_start_begins_as_our_linear_code() -> None:
    pytest.importorskip("diffusers", reason="a peer: `make bench` installs it")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (12, 128, 128, 3), dtype=np.uint8)
    code = fit_lapped(pictures, np.arange(12), 8, 16)
    peer = peers.build_peers(plain_loss(), lambda: code, 128)[peers.WARMED]().eval()
    images = torch.from_numpy(pictures[:2]).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        torch.testing.assert_close(peer.reconstruct(images).clamp(0, 1), code.reconstruct(images), atol=1e-4, rtol=0)


def test_every_peer_learns_from_a_batch_and_rebuilds_pictures_of_its_size() -> None:
    for library in ("diffusers", "pythae"):
        pytest.importorskip(library, reason="a peer: `make bench` installs it")
    images = torch.rand(2, 3, 128, 128)
    made = peers.build_peers(plain_loss(), no_code, 128)
    assert set(made) == set(peers.FAIRNESS)
    for make in made.values():
        peer = make()
        peer.loss(images).backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in peer.parameters())
        with torch.no_grad():
            assert peer.eval().reconstruct(images).shape == images.shape
            assert peer.codes(images)[0].numel() == peers.FLOATS


def test_a_peer_whose_library_is_missing_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert peers.missing() == ["pythae", "diffusers"]
    assert peers.build_peers(plain_loss(), no_code, 128) == {}
