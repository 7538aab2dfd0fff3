"""Picture metrics against independent implementations."""

from __future__ import annotations

import lpips
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from ear_teacher.metrics.quality import HIGHER_IS_BETTER, Nets, measure_many, measure_pictures


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    x = gaussian_filter(rng.standard_normal((3, 3, 64, 64)), (0, 0, 2, 2))
    x = np.clip(0.5 + 0.2 * x / x.std(), 0, 1)
    y = np.clip(gaussian_filter(x, (0, 0, 1, 1)) + 0.03 * rng.standard_normal(x.shape), 0, 1)
    return torch.from_numpy(x).float(), torch.from_numpy(y).float()


@pytest.fixture(scope="module")
def nets() -> Nets:
    torch.manual_seed(0)
    return Nets(*[lpips.LPIPS(net=kind, pnet_rand=True, verbose=False) for kind in ("alex", "vgg")])


def test_psnr_ssim_l1_and_colour_agree_with_scikit_image(pair: tuple[Tensor, Tensor]) -> None:
    table = measure_pictures(*pair, Nets())
    for i in range(3):
        x, y = (side[i].permute(1, 2, 0).double().numpy() for side in pair)
        assert table["psnr"][i] == pytest.approx(peak_signal_noise_ratio(x, y, data_range=1))
        # truncate = 10/3 makes scikit-image's Gaussian 11 px wide; its mean leaves out a border of 5 px, as ours.
        _, full = structural_similarity(
            x, y, data_range=1, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            full=True, truncate=10 / 3,
        )  # fmt: skip
        assert table["ssim"][i] == pytest.approx(full[5:-5, 5:-5].mean(), abs=2e-5)
        assert table["l1"][i] == pytest.approx(np.abs(x - y).mean(), rel=1e-5)
        assert table["ciede2000"][i] == pytest.approx(deltaE_ciede2000(rgb2lab(x), rgb2lab(y)).mean(), rel=1e-4)


def test_ms_ssim_is_the_product_over_five_levels(pair: tuple[Tensor, Tensor]) -> None:
    kernel = np.exp(-(np.arange(-1, 2) ** 2) / (2 * 1.5**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2

    def smooth(a: np.ndarray) -> np.ndarray:
        height, width = a.shape
        shifted = [kernel[r, c] * a[r : height - 2 + r, c : width - 2 + c] for r in range(3) for c in range(3)]
        return np.sum(shifted, axis=0)

    table, values = measure_pictures(*pair, Nets()), []
    for channel in range(3):
        x, y = (side[0, channel].double().numpy() for side in pair)
        value = 1.0
        for level, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            mx, my = smooth(x), smooth(y)
            vx, vy, cov = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
            contrast = (2 * cov + 0.03**2) / (vx + vy + 0.03**2)
            light = (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
            value *= (contrast * light if level == 4 else contrast).mean() ** weight
            x, y = (a.reshape(len(a) // 2, 2, -1, 2).mean(axis=(1, 3)) for a in (x, y))
        values.append(value)
    assert table["ms_ssim"][0] == pytest.approx(np.mean(values), abs=1e-4)


def test_ms_ssim_is_undefined_at_32_pixels_and_everything_else_is_not() -> None:
    x = torch.rand(2, 3, 32, 32)
    table = measure_pictures(x, (x + 0.1).clamp(0, 1), Nets())
    assert table["ms_ssim"].isna().all()
    assert table.drop(columns="ms_ssim").notna().all(axis=None)


def test_both_vgg_metrics_and_alex_are_what_their_networks_say(pair: tuple[Tensor, Tensor], nets: Nets) -> None:
    table = measure_pictures(*pair, nets)
    assert nets.alex is not None
    assert nets.vgg is not None
    with torch.no_grad():
        for name, net in (("alex", nets.alex), ("vgg", nets.vgg)):
            expected = net(*pair, normalize=True).flatten().numpy()
            assert table[f"lpips_{name}"].to_numpy() == pytest.approx(expected, rel=1e-4)
        mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
        a, b = (nets.vgg.net((side - mean) / std) for side in pair)
        layers = [(getattr(a, n) - getattr(b, n)).abs().mean(dim=(1, 2, 3)) for n in a._fields[:4]]
    assert a._fields[:4] == ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    assert table["perceptual_vgg_l1"].to_numpy() == pytest.approx(torch.stack(layers).mean(0).numpy(), rel=1e-4)


def test_the_originals_pass_through_each_network_once(pair: tuple[Tensor, Tensor], nets: Nets) -> None:
    assert nets.vgg is not None
    passes: list[int] = []
    hook = nets.vgg.net.register_forward_hook(lambda *_: passes.append(1))
    tables = measure_many(pair[0], {"a": pair[1], "b": pair[0]}, nets)
    hook.remove()
    assert len(passes) == 3
    assert tables["a"].equals(measure_pictures(*pair, nets))
    assert np.allclose(tables["b"]["lpips_vgg"], 0)


def test_a_perfect_copy_is_at_the_end_of_every_scale(pair: tuple[Tensor, Tensor], nets: Nets) -> None:
    table = measure_pictures(pair[0], pair[0], nets)
    assert (table["psnr"] == 100).all()
    for name in ("ssim", "ms_ssim", "detail", "detail_center", "coherence", "coherence_center"):
        assert table[name].to_numpy() == pytest.approx(np.ones(3), abs=1e-5)
    for name in ("lpips_alex", "lpips_vgg", "perceptual_vgg_l1", "l1", "ciede2000"):
        assert table[name].to_numpy() == pytest.approx(np.zeros(3), abs=1e-5)
    assert set(table) >= HIGHER_IS_BETTER - {"psnr_sampled"}


def test_bytes_and_floats_of_the_same_pictures_measure_the_same_and_out_of_range_is_clamped() -> None:
    rng = np.random.default_rng(1)
    x, y = (rng.integers(0, 256, (2, 40, 40, 3), dtype=np.uint8) for _ in range(2))
    unit = torch.from_numpy(x).permute(0, 3, 1, 2) / 255
    assert measure_pictures(x, y, Nets()).equals(measure_pictures(unit, y, Nets()))
    far = unit * 3 - 1
    assert measure_pictures(unit, far, Nets()).equals(measure_pictures(unit, far.clamp(0, 1), Nets()))


def test_pictures_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="originals"):
        measure_pictures(torch.rand(2, 3, 40, 40), torch.rand(1, 3, 40, 40), Nets())
