"""Linear codes against scikit-learn's PCA and against plain numpy."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ear_teacher.config import UserError
from ear_teacher.linear import LinearCode, batches, energies, fit_codes, fit_klt, fit_pca, spectrum, within_span

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


def test_the_spectrum_holds_all_of_the_variance(smooth_pictures: np.ndarray) -> None:
    both = np.concatenate([smooth_pictures, smooth_pictures[:, :, ::-1]])
    for code in (fit_pca(smooth_pictures, ALL, 30), fit_klt(smooth_pictures, ALL, 4, 5)):
        ours, measured = spectrum(code), energies(code, both, np.arange(96))
        assert ours.values.sum() == pytest.approx(measured.values.sum(), rel=1e-4)
        assert ours.rest == pytest.approx(measured.rest, rel=1e-3)
        assert ours.pixels == measured.pixels


@pytest.mark.parametrize("grid", [1, 2])
def test_many_pictures_are_coded_within_the_span_of_small_patches(smooth_pictures: np.ndarray, grid: int) -> None:
    exact = fit_pca(smooth_pictures, ALL, 20) if grid == 1 else fit_klt(smooth_pictures, ALL, grid, 20)
    whole = within_span(fit_klt(smooth_pictures, ALL, 4, 192), smooth_pictures, ALL, grid, 20)
    np.testing.assert_allclose(whole.eigenvalues[:20], exact.eigenvalues[:20], rtol=1e-3)  # nothing left out
    code = within_span(fit_klt(smooth_pictures, ALL, 4, 32), smooth_pictures, ALL, grid, 20)
    assert (code.eigenvalues[:20] <= exact.eigenvalues[:20] * 1.0001).all()
    np.testing.assert_allclose(code.eigenvalues[:20], exact.eigenvalues[:20], rtol=0.02)
    np.testing.assert_allclose(code.eigenvalues.sum(), exact.eigenvalues.sum(), rtol=1e-4)
    flat = code.basis.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(20), atol=1e-4, rtol=0)
    pictures = next(batches(smooth_pictures, ALL))
    errors = [float(((c.decode(c.encode(pictures)) - pictures) ** 2).mean()) for c in (exact, code)]
    assert errors[1] == pytest.approx(errors[0], rel=0.02)
    both = np.concatenate([smooth_pictures, smooth_pictures[:, :, ::-1]])
    measured = energies(code, both, np.arange(96))
    assert measured.values.sum() == pytest.approx(spectrum(code).values.sum(), rel=0.01)


def test_the_way_of_fitting_is_chosen_by_the_number_of_pictures(smooth_pictures: np.ndarray, monkeypatch) -> None:
    few = fit_codes(smooth_pictures, ALL, (1, 4), 64)
    assert [few[grid].floats for grid in (1, 4)] == [64, 64]
    torch.testing.assert_close(few[1].basis, fit_pca(smooth_pictures, ALL, 64).basis, atol=0, rtol=0)
    monkeypatch.setattr("ear_teacher.linear.fit.SPAN_FROM", 40)
    many = fit_codes(smooth_pictures, ALL, (1, 2), 64)
    assert [many[grid].floats for grid in (1, 2)] == [64, 64]
    np.testing.assert_allclose(many[1].eigenvalues[:10], few[1].eigenvalues[:10], rtol=0.02)
