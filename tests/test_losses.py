"""Loss terms against plain loops, closed forms and numerical derivatives."""

from __future__ import annotations

import lpips
import numpy as np
import pytest
import pytorch_msssim
import torch
from torch import Tensor

from ear_teacher.config import LossConfig, UserError
from ear_teacher.losses import WEIGHT_OF_TERM, Loss, center_weights
from ear_teacher.similarity import ms_ssim_per_image, ms_ssim_window

OFF = dict.fromkeys(WEIGHT_OF_TERM.values(), 0.0)


def config(**values: object) -> LossConfig:
    return LossConfig.model_validate({**OFF, **values})


def pictures(n: int = 2, side: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def kl(n: int = 2, dims: int = 5) -> Tensor:
    return torch.rand(n, dims, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


@pytest.fixture(scope="module")
def networks() -> dict[str, lpips.LPIPS]:
    torch.manual_seed(0)
    return {kind: lpips.LPIPS(net=kind, pnet_rand=True, verbose=False) for kind in ("alex", "vgg")}


def recon_by_loops(recon: Tensor, target: Tensor, c: LossConfig) -> float:
    x, y = recon.numpy(), target.numpy()
    n, channels, side, _ = x.shape
    over = under = 0.0
    for i in range(n):
        for row in range(side):
            for column in range(side):
                v, h = (row + 0.5 - side / 2) / (side / 2), (column + 0.5 - side / 2) / (side / 2)
                weight = 1 + (c.center_weight - 1) * np.exp(-(v * v + h * h) / (2 * 0.7**2))
                if c.ignore_dark and np.mean([y[i, k, row, column] for k in range(channels)]) <= 0.05:
                    weight = 0.0
                under += weight
                for k in range(channels):
                    e = abs((2 * x[i, k, row, column] - 1) - (2 * y[i, k, row, column] - 1))
                    e = e * e if c.recon == "mse" else e
                    e = e * (e + 1e-8) ** 0.5 if c.focal else e
                    over += weight * e
    return over / under / (3 if c.recon_channels == "mean" else 1)


@pytest.mark.parametrize("recon", ["mse", "l1"])
@pytest.mark.parametrize("focal", [False, True])
@pytest.mark.parametrize("center", [1.0, 3.0])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("channels", ["mean", "sum"])
def test_recon_is_what_plain_loops_say(recon: str, focal: bool, center: float, dark: bool, channels: str) -> None:
    c = config(
        recon=recon, recon_weight=2.0, focal=focal, center_weight=center, ignore_dark=dark, recon_channels=channels
    )
    x, y = pictures(seed=1) * 1.4 - 0.2, pictures(seed=2)
    y[0, :, :2] *= 0.05
    total, raw = Loss(c)(x, y, kl())
    assert raw["recon"].item() == pytest.approx(recon_by_loops(x, y, c), rel=1e-6)
    assert total.item() == pytest.approx(2 * raw["recon"].item())


def test_a_dark_bar_does_not_count_and_an_all_dark_target_is_no_division_by_zero() -> None:
    loss = Loss(config(recon_weight=1.0, ignore_dark=True, recon="l1"))
    y = torch.full((1, 3, 4, 4), 0.5)
    y[:, :, :2] = 0.0
    x = y.clone()
    x[:, :, :2] = 1.0
    assert loss(x, y, kl(1))[0] == 0
    x = torch.rand(1, 3, 4, 4, requires_grad=True)
    total, _ = loss(x, torch.zeros(1, 3, 4, 4), kl(1))
    total.backward()
    assert total == 0
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_the_focal_gradient_flows_through_both_factors() -> None:
    x = torch.full((1, 3, 4, 4), 0.7, dtype=torch.float64, requires_grad=True)
    Loss(config(recon_weight=1.0, focal=True, recon="mse"))(x, torch.full_like(x, 0.5), kl(1))[0].backward()
    # On [-1, 1] the error is d = 0.4 and e^1.5 = d^3: slope 3 d^2, times 2 for the range, over 48 values.
    assert x.grad.numpy() == pytest.approx(np.full((1, 3, 4, 4), 3 * 0.4**2 * 2 / 48), rel=1e-5)


def test_center_weight_is_largest_in_the_middle_and_symmetric() -> None:
    w = center_weights(8, 3.0, torch.float64).numpy()
    assert np.allclose(w, w.T)
    assert np.allclose(w, w[::-1])
    assert w.max() == w[3, 3] < 3
    assert w[0, 0] == pytest.approx(1 + 2 * np.exp(-2 * (7 / 8) ** 2 / 0.98))
    assert (center_weights(8, 1.0) == 1).all()


def test_kl_is_summed_over_dimensions_and_averaged_over_images() -> None:
    per_dim = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 4.0]])
    total, raw = Loss(config(recon_weight=1.0, kl_weight=0.5))(*[torch.zeros(2, 3, 4, 4)] * 2, per_dim)
    assert raw["kl"] == 5
    assert total == 2.5


def test_ssim_terms_are_one_minus_the_library_on_0_to_1() -> None:
    x, y = pictures(side=128, seed=3, dtype=torch.float32), pictures(side=128, seed=4, dtype=torch.float32)
    x = 0.6 * y + 0.4 * x
    _, raw = Loss(config(ssim_weight=1.0, ms_ssim_weight=1.0))(x, y, kl())
    assert raw["ssim"].item() == pytest.approx(1 - pytorch_msssim.ssim(x, y, data_range=1.0).item(), abs=1e-6)
    expected = pytorch_msssim.ms_ssim(x, y, data_range=1.0, win_size=7).item()
    assert raw["ms_ssim"].item() == pytest.approx(1 - expected, abs=1e-6)


def test_ms_ssim_takes_the_widest_window_that_fits() -> None:
    assert {side: ms_ssim_window(side) for side in (32, 48, 64, 65, 128, 160, 161, 256)} == {
        32: None, 48: 3, 64: 3, 65: 5, 128: 7, 160: 9, 161: 11, 256: 11,
    }  # fmt: skip
    for side in (33, 48, 64, 65, 96, 128, 160, 161):
        x = torch.rand(1, 3, side, side)
        assert ms_ssim_per_image(x, x).item() == pytest.approx(1, abs=1e-5)
    with pytest.raises(UserError, match="above 32 px"):
        Loss(config(ms_ssim_weight=1.0))(pictures(side=32), pictures(side=32), kl())


def test_ms_ssim_of_anticorrelated_and_of_flat_pictures_has_a_finite_gradient() -> None:
    y = pictures(side=64, dtype=torch.float32)
    coarse = torch.nn.functional.avg_pool2d(y, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    flat = torch.full_like(y, 0.5)
    for start, target in ((1 - y, y), (2 * coarse - y, y), (y - 2 * coarse + 1, y), (flat, y), (flat, flat)):
        x = start.clone().requires_grad_()
        Loss(config(ms_ssim_weight=1.0))(x, target, kl())[0].backward()
        assert torch.isfinite(x.grad).all()


def test_edge_is_the_l1_of_forward_differences() -> None:
    x, y = pictures(n=1, seed=5), pictures(n=1, seed=6)
    a, b = 2 * x[0].numpy() - 1, 2 * y[0].numpy() - 1
    right = [abs((a[k, r, c + 1] - a[k, r, c]) - (b[k, r, c + 1] - b[k, r, c]))
             for k in range(3) for r in range(6) for c in range(5)]  # fmt: skip
    down = [abs((a[k, r + 1, c] - a[k, r, c]) - (b[k, r + 1, c] - b[k, r, c]))
            for k in range(3) for r in range(5) for c in range(6)]  # fmt: skip
    _, raw = Loss(config(edge_weight=1.0))(x, y, kl(1))
    assert raw["edge"].item() == pytest.approx(np.mean(right) + np.mean(down))
    assert Loss(config(edge_weight=1.0))(y + 0.1, y, kl(1))[0].item() == pytest.approx(0, abs=1e-12)


def test_focal_frequency_is_the_paper_s_sum() -> None:
    x, y = pictures(seed=7), pictures(seed=8)
    a, b = 2 * x.numpy() - 1, 2 * y.numpy() - 1
    side, value = a.shape[-1], 0.0
    turn = np.exp(-2j * np.pi * np.outer(np.arange(side), np.arange(side)) / side)
    for i in range(2):
        for k in range(3):
            distance = np.abs(turn @ (a[i, k] - b[i, k]) @ turn.T) / side
            value += np.sum(distance / distance.max() * distance**2) / side**2
    _, raw = Loss(config(frequency_weight=1.0))(x, y, kl())
    assert raw["frequency"].item() == pytest.approx(value / 6)
    assert Loss(config(frequency_weight=1.0))(y, y, kl())[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"recon_weight": 1.0, "recon": "mse", "focal": True, "center_weight": 3.0, "ignore_dark": True},
        {"recon_weight": 1.0, "recon": "l1", "focal": True, "center_weight": 3.0, "recon_channels": "sum"},
        {"recon_weight": 1.0, "edge_weight": 0.5, "kl_weight": 0.1},
    ],
)
def test_gradients_agree_with_differences(change: dict[str, object]) -> None:
    loss, y = Loss(config(**change)), pictures(seed=11)
    x, per_dim = pictures(seed=12).requires_grad_(), kl().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: loss(a, y, b)[0], (x, per_dim))


def test_the_frequency_gradient_holds_the_focus_fixed() -> None:
    x, y = pictures(n=1, seed=13).requires_grad_(), pictures(n=1, seed=14)
    Loss(config(frequency_weight=1.0))(x, y, kl(1))[0].backward()
    error = torch.fft.fft2(2 * (x.detach() - y), norm="ortho")
    focus = error.abs() / error.abs().amax(dim=(-2, -1), keepdim=True)
    by_hand = torch.fft.ifft2(focus * error, norm="ortho").real * 2 * 2 / error.numel()
    assert torch.allclose(x.grad, by_hand)


def test_lpips_terms_are_the_library_s_forward(networks: dict[str, lpips.LPIPS]) -> None:
    x, y = pictures(side=64, seed=1, dtype=torch.float32), pictures(side=64, seed=2, dtype=torch.float32)
    for kind in ("alex", "vgg"):
        loss = Loss(config(perceptual=f"lpips_{kind}", perceptual_weight=0.8), networks[kind]).train()
        total, raw = loss(x, y, kl())
        expected = networks[kind](x, y, normalize=True).mean().item()
        assert raw["perceptual"].item() == pytest.approx(expected, rel=1e-5)
        assert total.item() == pytest.approx(0.8 * expected, rel=1e-5)


def test_vgg_l1_is_the_mean_of_four_layer_means(networks: dict[str, lpips.LPIPS]) -> None:
    net = networks["vgg"]
    x, y = pictures(side=32, seed=1, dtype=torch.float32), pictures(side=32, seed=2, dtype=torch.float32)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    layers = [layer for part in (net.net.slice1, net.net.slice2, net.net.slice3, net.net.slice4) for layer in part]
    a, b, means = (x - mean) / std, (y - mean) / std, []
    with torch.no_grad():
        for number, layer in enumerate(layers):
            a, b = layer(a), layer(b)
            if number in (3, 8, 15, 22):  # relu1_2, relu2_2, relu3_3, relu4_3 of VGG16
                means.append((a - b).abs().mean().item())
    _, raw = Loss(config(perceptual="vgg_l1", perceptual_weight=1.0), net)(x, y, kl())
    assert len(means) == 4
    assert raw["perceptual"].item() == pytest.approx(np.mean(means), rel=1e-4)


def test_the_perceptual_gradient_reaches_the_reconstruction_only(networks: dict[str, lpips.LPIPS]) -> None:
    x = pictures(side=32, dtype=torch.float32).requires_grad_()
    y = pictures(side=32, seed=2, dtype=torch.float32).requires_grad_()
    loss = Loss(config(perceptual="lpips_alex", perceptual_weight=1.0), networks["alex"])
    loss(x, y, kl())[0].backward()
    assert x.grad.abs().sum() > 0
    assert y.grad is None or not y.grad.any()
    assert all(p.grad is None for p in loss.parameters())


def test_a_missing_or_wrong_perceptual_network_is_refused(networks: dict[str, lpips.LPIPS]) -> None:
    with pytest.raises(UserError, match="it is missing"):
        Loss(config(perceptual="vgg_l1", perceptual_weight=0.3))
    with pytest.raises(UserError, match="alex trunk was given"):
        Loss(config(perceptual="lpips_vgg", perceptual_weight=0.3), networks["alex"])
    assert Loss(config(recon_weight=1.0)).lpips_net is None
    with pytest.raises(UserError, match="nothing would be learned"):
        Loss(config(kl_weight=1.0))


def test_terms_of_weight_0_are_not_computed_and_the_total_is_the_weighted_sum() -> None:
    c = config(recon_weight=1.0, ssim_weight=0.3, edge_weight=0.2, kl_weight=1e-4)
    loss = Loss(c)
    total, raw = loss(pictures(side=32), pictures(side=32, seed=1), kl())
    assert list(raw) == ["recon", "ssim", "edge", "kl"] == list(loss.weights)
    assert total.item() == pytest.approx(sum(loss.weights[k] * v.item() for k, v in raw.items()))


def test_half_precision_is_computed_in_single() -> None:
    x, y = pictures(side=32, dtype=torch.float32).bfloat16(), pictures(side=32, seed=1, dtype=torch.float32)
    total, _ = Loss(config(recon_weight=1.0, ssim_weight=0.3, frequency_weight=1.0))(x, y, kl().bfloat16())
    assert total.dtype == torch.float32
