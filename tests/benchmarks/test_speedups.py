"""The plain ways that the benchmarks time give what ours give: only then is one faster than the other."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import speedups
from ear_teacher.losses import perceptual_term
from ear_teacher.perceptual import load_lpips
from ear_teacher.training.optimizers import orthogonalised
from ear_teacher.training.pictures import Pictures


def test_pictures_read_one_by_one_are_the_batch() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    rows = np.arange(5)
    batch = Pictures(pixels, rows, rows).batch(rows, torch.device("cpu"))
    assert torch.equal(speedups.one_by_one(pixels), batch)


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (12, 12)])
def test_rounds_on_the_kernel_end_where_those_on_its_gram_matrix_do(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(speedups.iterated(matrix), orthogonalised(matrix), atol=1e-5, rtol=1e-4)


def test_lpips_of_both_has_the_reconstruction_s_gradient(trunks: Path) -> None:
    net = load_lpips("alex", trunks / "alexnet.safetensors")
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain, ours = ((images * 0.9).requires_grad_() for _ in range(2))
    speedups.lpips_of_both(net, plain, images)
    perceptual_term(2 * ours - 1, 2 * images - 1, "lpips_alex", net).backward()
    assert plain.grad is not None
    assert plain.grad.abs().sum() > 0
    torch.testing.assert_close(plain.grad, ours.grad, atol=1e-7, rtol=1e-3)


def test_fused_adamw_moves_weights_as_the_plain_one_does() -> None:
    start = torch.nn.Parameter(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    (plain,), (fused,) = (speedups.copied([start]) for _ in range(2))
    speedups.mover([plain], fused=False)()
    speedups.mover([fused], fused=True)()
    assert not torch.equal(plain, start)
    torch.testing.assert_close(plain, fused)
