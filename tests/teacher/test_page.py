"""The teacher's page: what has been measured and what has not, verdicts from the numbers alone."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

STUDY = Path(__file__).parents[2] / "studies/teacher"
EMPTY = dict.fromkeys(("landmarks", "detect", "export", "cases", "distill", "retrieval", "probe"))


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(STUDY))  # its scripts share `subjects`
    spec = importlib.util.spec_from_file_location("page_of_teacher", STUDY / "page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def interval(mean: float, half: float = 0.001) -> dict[str, float]:
    return {"mean": mean, "ci_low": mean - half, "ci_high": mean + half}


def landmark_row(encoder: str, labels: int, nme: float, head: str = "ridge", features: str = "maps") -> dict[str, Any]:
    return {
        "encoder": encoder, "features": features, "head": head, "labels": labels, "width": 1024, "points": 55,
        "other_points": 17, "nme": interval(nme), "nme_height": interval(nme), "contour": interval(nme),
        "nme_other": interval(nme),
    }  # fmt: skip


def probe(own: float) -> dict[str, Any]:
    """Every control at 0.02, the current model at `own`."""
    names = ("pca", "hog", "klt", "random", "backbone", "v0", "v1", "current")
    people = {
        "features": "maps", "rank1": interval(0.5), "eer": {"value": 0.2, "ci_low": 0.1, "ci_high": 0.3},
        "chosen": "32 axes", "pictures": 9, "people": 3, "queries": 8,
    }  # fmt: skip
    return {
        "pictures": {"train": 900, "val": 80, "test": 80}, "people": {"train": 90, "val": 8, "test": 8},
        "landmarks": [
            landmark_row(name, labels, own if name == "current" else 0.02, head)
            for name in names for labels in (50, 900) for head in ("ridge", "mlp", "soft-argmax")
        ],
        "pose": [
            {"encoder": name, "features": "code", "head": "ridge", "labels": labels, "degrees": interval(3.0),
             "yaw": 1.0, "pitch": 2.0, "roll": 3.0}
            for name in names for labels in (50, 900)
        ],
        "retrieval": [{"encoder": name, **people} for name in names],
    }  # fmt: skip


def sweep(*errors: float) -> dict[str, Any]:
    rate = {"value": 0.3, "ci_low": 0.2, "ci_high": 0.4}
    return {
        "default" if not i else f"kl-{i}": {
            "steps": 256, "kl_weight": 10.0 ** (i - 6), "kl": 100.0, "psnr": 30.0 - i, "ssim": 0.8, "lpips_alex": 0.1,
            "landmarks": [
                landmark_row("", labels, error, head, features)
                for labels in (50, 900)
                for features, head in (("code", "ridge"), ("maps", "ridge"), ("maps", "soft-argmax"))
            ],
            "people": [{"features": "code", "eer": rate}, {"features": "maps", "eer": rate}],
        }
        for i, error in enumerate(errors)
    }  # fmt: skip


def test_without_measurements_every_section_says_so(study: ModuleType) -> None:
    text = study.page(EMPTY)
    assert text.count("\nNo run yet.\n") == 8


@pytest.mark.parametrize(("own", "says"), [(0.014, "yes"), (0.029, "no")])
def test_an_aim_is_met_by_the_numbers_alone(study: ModuleType, own: float, says: str) -> None:
    lines = study.page(EMPTY | {"probe": probe(own)}).splitlines()
    aim = next(line for line in lines if "900 labels: NME" in line)
    rivals = next(line for line in lines if "50 labels: better than every control" in line)
    assert aim.endswith(f"| {says} |")
    assert rivals.endswith(f"| {says} |")
    assert f"{own:.4f}" in aim
    assert any(line.startswith("| HOG | maps |") for line in lines)


@pytest.mark.parametrize(
    ("errors", "says"),
    [((0.05, 0.04, 0.02), "yes"), ((0.02, 0.04, 0.05), "no"), ((0.05, 0.02, 0.021), "no")],
    ids=["lowest KL best", "highest KL best", "a tie in the middle"],
)
def test_the_answer_about_the_kl_follows_the_errors(study: ModuleType, errors: tuple[float, ...], says: str) -> None:
    text = study.page(EMPTY | {"cases": sweep(*errors)})
    assert f"By these runs: {says}." in text
    assert ("intervals overlap" in text) == (errors[2] == 0.021)


def test_a_case_of_the_teacher_stands_beside_its_change_against_the_default(study: ModuleType) -> None:
    cases = sweep(0.05)
    cases["plain"] = cases["default"] | {"psnr": 30.25, "lpips_alex": 0.08}
    lines = study.page(EMPTY | {"cases": cases}).splitlines()
    assert "30.25<br>+0.25" in next(line for line in lines if line.startswith("| reconstruction alone"))


def test_a_student_that_the_teacher_does_not_help_is_told_so(study: ModuleType) -> None:
    found = {
        "student": "lcnet_050", "parameters": 390_000, "points": 55, "pictures_seen": 100, "onnx_difference": 1e-6,
        "nme": {"with": interval(0.03), "without": interval(0.03)}, "imitated": {"mean": 0.4},
        "change_by_teacher": {"mean": 0.001, "ci_low": -0.001, "ci_high": 0.003},
    }  # fmt: skip
    assert "not separable from none" in study.page(EMPTY | {"distill": found})
    found["change_by_teacher"] = {"mean": -0.002, "ci_low": -0.003, "ci_high": -0.001}
    assert "the teacher helps" in study.page(EMPTY | {"distill": found})


def test_photos_found_again_are_judged_against_each_control(study: ModuleType) -> None:
    def runs(own: float) -> dict[str, Any]:
        return {"left_out": 1, "steps": 512, "runs": [
            {"encoder": name, "features": "code", "rank1": interval(own if name == "current" else 0.3),
             "eer": {"value": 0.3, "ci_low": 0.2, "ci_high": 0.4}, "chosen": "", "pictures": 5, "people": 2,
             "queries": 5}
            for name in ("pca", "hog", "klt", "random", "backbone", "synthetic", "current")
        ]}  # fmt: skip

    for own, says in ((0.4, "yes"), (0.3, "no")):
        lines = study.page(EMPTY | {"retrieval": runs(own)}).splitlines()
        assert next(line for line in lines if line.startswith("| people on real photos")).endswith(f"| {says} |")
