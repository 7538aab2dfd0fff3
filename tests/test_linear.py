"""Linear codes against scikit-learn's PCA and against plain numpy."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ear_teacher.config import UserError
from ear_teacher.linear import LinearCode, batches, energies, fit_klt, fit_pca

ALL = np.arange(48)


def mirrored(pictures: np.ndarray) -> np.ndarray:
    both = np.concatenate([pictures, pictures[:, :, ::-1]])
    return both.transpose(0, 3, 1, 2).astype(np.float64) / 127.5 - 1


def test_pca_agrees_with_scikit_learn_on_the_pictures_and_their_mirrors(smooth_pictures: np.ndarray) -> None:
    code = fit_pca(smooth_pictures, ALL, 40)
    flat = mirrored(smooth_pictures).reshape(96, -1)
    reference = PCA(40, svd_solver="full").fit(flat)
    variances = reference.explained_variance_ * 95 / 96  # scikit-learn divides by n - 1
    np.testing.assert_allclose(code.eigenvalues[:40], variances, rtol=1e-4)
    np.testing.assert_allclose(code.mean.flatten(), reference.mean_, atol=1e-5)
    ours = code.reconstruct(torch.from_numpy((mirrored(smooth_pictures) + 1) / 2).float())
    theirs = reference.inverse_transform(reference.transform(flat)).reshape(ours.shape) / 2 + 0.5
    np.testing.assert_allclose(ours, theirs.clip(0, 1), atol=1e-4)


def test_klt_agrees_with_an_eigendecomposition_of_all_patches(smooth_pictures: np.ndarray) -> None:
    code = fit_klt(smooth_pictures, ALL, 4, 20)
    pictures = mirrored(smooth_pictures)
    patches = pictures.reshape(96, 3, 4, 8, 4, 8).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 192)
    reference = PCA(20, svd_solver="full").fit(patches)
    count = len(patches)
    variances = reference.explained_variance_ * (count - 1) / count
    np.testing.assert_allclose(code.eigenvalues[:20], variances, rtol=1e-4)
    overlap = np.abs(code.basis.flatten(1).numpy()[:8] @ reference.components_[:8].T)
    assert np.linalg.matrix_rank(overlap) == 8
    theirs = reference.inverse_transform(reference.transform(patches))
    ours = code.decode(code.encode(torch.from_numpy(pictures).float()))
    error = ((ours.numpy() - pictures) ** 2).mean()
    np.testing.assert_allclose(error, ((theirs - patches) ** 2).mean(), rtol=1e-4)


@pytest.mark.parametrize("grid", [1, 4, 8])
def test_a_code_is_orthonormal_and_its_full_form_loses_nothing(smooth_pictures: np.ndarray, grid: int) -> None:
    if grid == 1:
        code = fit_pca(smooth_pictures, ALL, 3000)
    else:
        code = fit_klt(smooth_pictures, ALL, grid, 3 * (32 // grid) ** 2)
    flat = code.basis.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(len(flat)), atol=1e-3, rtol=0)
    pictures = next(batches(smooth_pictures, ALL))
    torch.testing.assert_close(code.decode(code.encode(pictures)), pictures, atol=5e-3, rtol=0)


def test_pca_of_few_pictures_has_the_rank_of_the_pictures_and_their_mirrors(smooth_pictures: np.ndarray) -> None:
    assert fit_pca(smooth_pictures, ALL[:10], 1024).floats == 19


def test_energies_of_the_training_set_and_its_mirrors_are_the_eigenvalues(smooth_pictures: np.ndarray) -> None:
    code = fit_pca(smooth_pictures, ALL, 30)
    both = np.concatenate([smooth_pictures, smooth_pictures[:, :, ::-1]])
    measured = energies(code, both, np.arange(96))
    np.testing.assert_allclose(measured.values, code.eigenvalues[:30], rtol=1e-3)
    np.testing.assert_allclose(measured.rest, code.eigenvalues[30:].sum(), rtol=1e-3)


def test_energies_and_rest_add_up_to_the_error_of_the_mean(smooth_pictures: np.ndarray) -> None:
    code = fit_klt(smooth_pictures, ALL[:30], 4, 5)
    measured = energies(code, smooth_pictures, ALL[30:])
    held_out = next(batches(smooth_pictures, ALL[30:]))
    total = ((held_out - code.mean.repeat(1, 4, 4)) ** 2).flatten(1).sum(1).mean()
    assert measured.values.sum() + measured.rest == pytest.approx(float(total), rel=1e-5)


def test_a_truncated_code_keeps_the_leading_coefficients(smooth_pictures: np.ndarray) -> None:
    code = fit_klt(smooth_pictures, ALL, 4, 20)
    short = code.truncated(16 * 5)
    assert short.floats == 80
    pictures = next(batches(smooth_pictures, ALL))
    torch.testing.assert_close(short.encode(pictures), code.encode(pictures)[:, :5])
    with pytest.raises(ValueError, match="do not divide"):
        code.truncated(17)


def test_a_code_comes_back_from_disk_and_a_damaged_file_is_refused(smooth_pictures: np.ndarray, tmp_path) -> None:
    code = fit_klt(smooth_pictures, ALL, 4, 3)
    path = tmp_path / "code.safetensors"
    code.save(path)
    again = LinearCode.load(path)
    assert (again.grid, again.samples) == (4, 48)
    torch.testing.assert_close(again.basis, code.basis, atol=0, rtol=0)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="dvc repro linear"):
        LinearCode.load(path)
