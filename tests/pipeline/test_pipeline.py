"""The pipeline as its user meets it: `dvc repro`, experiments, the queue."""

import csv
import hashlib
import json
from pathlib import Path

import pytest

from ear_teacher.models import EarVAE
from tests.pipeline.conftest import Project

pytestmark = pytest.mark.timeout(1500)


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_mistyped_value_is_refused_before_anything_runs(project: Project) -> None:
    output = project.run("dvc", "exp", "run", "-S", "loss.kl_weight=abc", fails=True)
    assert "loss.kl_weight = 'abc' is not allowed" in output
    assert "Traceback" not in output
    project.run("git", "checkout", "params.yaml")


def test_a_second_run_has_nothing_to_do(finished: Project) -> None:
    assert "up to date" in finished.run("dvc", "repro")


def test_every_variant_is_measured_beside_both_zero_lines(finished: Project) -> None:
    for name in ("v0", "v1", "current"):
        metrics = json.loads((finished.folder / "metrics" / f"{name}.json").read_text())
        assert metrics["zero_line"]["equal_floats"]["psnr"]["value"] > 10
        assert metrics["zero_line"]["equal_rate"]["psnr_mean"]["value"] > 5
        assert metrics["psnr"]["ci_low"] <= metrics["psnr"]["mean"] <= metrics["psnr"]["ci_high"]
        with (finished.folder / "metrics/per_image" / f"{name}.csv").open() as file:
            assert len(list(csv.DictReader(file))) == metrics["pictures"]
        assert EarVAE.load(finished.folder / "models" / name).image_size == 64
        assert EarVAE.load(finished.folder / "models" / name / "last").image_size == 64
        card = (finished.folder / "models" / name / "README.md").read_text()
        assert f'EarTeacher.load("models/{name}")' in card
        assert "**Forbidden uses**" in card


def test_a_fresh_clone_shows_metrics_params_and_plots_without_a_remote(finished: Project, tmp_path: Path) -> None:
    finished.run("git", "clone", "-q", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    shown = clone.run("dvc", "metrics", "show", "--md")
    assert "metrics/current.json" in shown
    clone.run("dvc", "params", "diff")
    assert "index.html" in clone.run("dvc", "plots", "show", "--out", "page")
    page = (clone.folder / "page/index.html").read_text()
    for title in ("Rate and distortion", "PSNR", "KL of each dimension", "Loss terms of current"):
        assert f'"text": "{title}"' in page
    assert page.count('"type": "log"') >= 7  # the project's own templates
    assert page.count('src="static/workspace_plots_reconstructions_zoom.jpg"') == 1


def test_two_runs_of_the_whole_pipeline_give_the_same_bytes(finished: Project) -> None:
    written = [finished.folder / name for name in ("data", "models", "metrics", "plots", "reports")]
    before = [digest(folder) for folder in written]
    assert all(before)
    finished.run("dvc", "repro", "--force", "--no-run-cache")
    assert [digest(folder) for folder in written] == before


def test_a_changed_weight_retrains_the_current_model_alone_and_metrics_diff_shows_it(finished: Project) -> None:
    output = finished.run("dvc", "exp", "run", "-S", "loss.kl_weight=1e-5", "-n", "lower")
    assert "Running stage 'train@current'" in output
    for stage in ("prepare", "linear", "train@v0", "train@v1", "evaluate@v0", "evaluate@v1"):
        assert f"Stage '{stage}' didn't change" in output
    assert finished.params()["loss"]["kl_weight"] in (1e-5, "1e-05")
    assert "metrics/current.json" in finished.run("dvc", "metrics", "diff", "--md")
    table = list(csv.DictReader(finished.run("dvc", "exp", "show", "--csv").splitlines()))
    assert any(row["Experiment"] == "lower" and float(row["loss.kl_weight"]) == 1e-5 for row in table)
    finished.run("git", "checkout", ".")
    finished.run("dvc", "checkout")


def test_a_changed_milestone_judges_again_and_trains_nothing(finished: Project) -> None:
    before = (finished.folder / "plots/milestones.csv").read_text()
    output = finished.run("dvc", "exp", "run", "-S", "watch.psnr=[[0.5,1,2],[30,24,26]]", "-n", "milestone")
    assert "Running stage 'watch'" in output
    for stage in ("prepare", "forecast", "train@v0", "train@v1", "train@current", "evaluate@current", "compare"):
        assert f"Stage '{stage}' didn't change" in output
    after = (finished.folder / "plots/milestones.csv").read_text()
    assert after != before
    assert "current,psnr,0.5,epoch,1,2," in after
    finished.run("git", "checkout", ".")
    finished.run("dvc", "checkout")


def test_a_run_that_diverges_leaves_one_sentence_its_last_good_model_and_a_command_that_works(
    finished: Project,
) -> None:
    wild = ["-S", "train.lr=0.9", "-S", "train.warmup=0", "-S", "train.max_grad_norm=1e9", "-S", "train.steps=40"]
    wild += ["-S", "train.divergence.spike=1.2", "-S", "train.validate_every=10"]
    output = finished.run("dvc", "exp", "run", *wild, fails=True)
    assert "Traceback" not in output
    sentence = next(line for line in output.splitlines() if "diverged at step" in line)
    kept = sentence.split("kept in ")[1].split(";")[0]
    assert EarVAE.load(finished.folder / kept).image_size == 64
    assert "`dvc exp run -S train.lr=0.0001 -S train.warmup=0.1`" in sentence
    assert "`dvc exp run -S train.on_divergence=recover`" in sentence
    finished.run(
        "dvc", "exp", "run", *wild, "-S", "train.on_divergence=recover", "-S", "train.divergence.lr_factor=0.01"
    )
    events = (finished.folder / "plots/train/current/events.csv").read_text()
    assert "back here from step" in events
    assert "back here from step" in (finished.folder / "metrics/watch.md").read_text()
    finished.run("git", "checkout", ".")
    finished.run("dvc", "checkout")


def test_a_run_that_ends_early_says_why_in_its_record(finished: Project) -> None:
    output = finished.run(
        "dvc", "exp", "run", "-S", "train.stop.require=[psnr]", "-S", "train.stop.psnr=5", "-n", "early"
    )
    assert "current ended early at step 0 of 6: the PSNR of" in output
    assert "dB is above 5" in (finished.folder / "plots/train/current/events.csv").read_text()
    assert "Step 0: ended early" in (finished.folder / "metrics/watch.md").read_text()
    finished.run("git", "checkout", ".")
    finished.run("dvc", "checkout")


def test_a_queued_experiment_runs_the_code_it_was_queued_with(finished: Project) -> None:
    module = finished.folder / "src/ear_teacher/comparison.py"
    original = module.read_text()
    module.write_text(original + "\n_plain = to_markdown\n\n\ndef to_markdown(*a, **k):\n    return 'SNAPSHOT'\n")
    finished.run("dvc", "exp", "run", "--queue", "-S", "evaluate.seed=1", "-n", "snapshot")
    module.write_text("raise SystemExit('the workspace was imported')\n")
    finished.run("dvc", "exp", "run", "--run-all")
    module.write_text(original)
    finished.run("dvc", "exp", "apply", "snapshot")
    assert (finished.folder / "metrics/compare.md").read_text() == "SNAPSHOT"
    finished.run("git", "checkout", ".")
    finished.run("dvc", "checkout")
