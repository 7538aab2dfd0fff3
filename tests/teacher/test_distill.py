"""The student: small, exported without loss, and better for having had a teacher's example."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ear_teacher.config import ModelConfig, UserError
from ear_teacher.models import EarVAE, new_model
from ear_teacher.teacher.distill import (
    Student,
    StudentConfig,
    export_student,
    imitation_loss,
    onnx_difference,
    student_errors,
    student_imitation,
    teacher_maps,
    train_student,
)
from ear_teacher.teacher.fit import Marked


@pytest.fixture(scope="module")
def teacher() -> EarVAE:
    config = ModelConfig(latent_dim=16, latent_layout="4x4", width=8, warm_start="none")
    return new_model(config, 64, kl_weight=1e-4, seed=0).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def marked() -> Marked:
    """Pictures of one bright disc; its centre is the landmark."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0.3, 0.7, (24, 1, 2)).astype(np.float32)
    grid = (np.arange(64) + 0.5) / 64
    far = np.hypot(grid - places[:, 0, 0, None, None], grid[:, None] - places[:, 0, 1, None, None])
    images = np.where(far[..., None] < 0.15, 230, 40).repeat(3, 3).astype(np.uint8)
    seen = np.ones((24, 1), dtype=bool)
    return Marked(images, places, seen, seen, np.arange(24).astype(str))


def test_the_student_is_small_and_imitates_every_map_of_its_stride(teacher: EarVAE) -> None:
    maps = teacher_maps(teacher)
    assert maps == {"stride4": (4, 8), "stride8": (8, 16), "stride16": (16, 32), "mean": (16, 1)}
    student = Student("lcnet_050", 55, maps)
    assert sum(p.numel() for p in student.parameters()) < 1_000_000
    points, *imitated = student.eval()(torch.rand(2, 3, 64, 64))
    assert points.shape == (2, 55, 2)
    assert [tuple(found.shape[1:]) for found in imitated] == [(8, 16, 16), (16, 8, 8), (32, 4, 4), (1, 4, 4)]


def test_who_always_says_the_mean_has_an_imitation_loss_of_one() -> None:
    real = {"a": torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 50 + 7}
    assert float(imitation_loss({"a": torch.zeros(8, 3, 4, 4)}, real)) == pytest.approx(1, abs=0.01)
    wanted = (real["a"] - real["a"].mean((0, 2, 3), keepdim=True)) / real["a"].std((0, 2, 3), keepdim=True)
    assert float(imitation_loss({"a": wanted}, real)) < 1e-6


def trained(teacher: EarVAE, marked: Marked, config: StudentConfig) -> Student:
    student = Student("lcnet_050", 1, teacher_maps(teacher), width=16)
    train_student(student, teacher, marked, marked, config)
    return student


def test_a_taught_student_sees_what_its_teacher_sees(teacher: EarVAE, marked: Marked) -> None:
    fresh = Student("lcnet_050", 1, teacher_maps(teacher), width=16)
    taught, alone = (
        trained(teacher, marked, StudentConfig(60, 8, 0, 1e-2, weight, validate_every=60)) for weight in (1.0, 0.0)
    )
    assert student_imitation(taught, teacher, marked)["stride4"] > 0.1
    assert student_imitation(alone, teacher, marked)["stride4"] < 0.05
    assert student_errors(alone, marked).mean() < student_errors(fresh, marked).mean()


def test_training_a_student_is_repeatable(teacher: EarVAE, marked: Marked) -> None:
    one, two = (trained(teacher, marked, StudentConfig(3, 4, validate_every=3)) for _ in range(2))
    np.testing.assert_array_equal(student_errors(one, marked), student_errors(two, marked))


def test_onnx_gives_the_same_for_any_number_of_pictures(teacher: EarVAE, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    student = Student("lcnet_050", 3, teacher_maps(teacher), width=16)
    export_student(student, tmp_path / "student.onnx", 64)
    for count in (1, 5):
        assert onnx_difference(student, tmp_path / "student.onnx", torch.rand(count, 3, 64, 64)) < 1e-4


def test_a_saved_student_is_itself_and_a_damaged_one_is_told(teacher: EarVAE, tmp_path: Path) -> None:
    student = Student("lcnet_050", 3, teacher_maps(teacher), seed=4).eval()
    student.save(tmp_path)
    picture = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(Student.load(tmp_path).eval()(picture), student(picture))
    (tmp_path / "student.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="holds no whole student"):
        Student.load(tmp_path)
    with pytest.raises(UserError, match="timm has no such model"):
        Student("no_such_net", 3, teacher_maps(teacher))
