"""The leaderboard: from DVC's own words to a table, a CSV and a page."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ear_teacher.cli import main
from ear_teacher.config import UserError
from ear_teacher.report.experiments import as_csv, as_page, as_text, ask_dvc, leaderboard


def run(psnr: float | None, kl_weight: object, size: int = 64) -> dict:
    metrics = {"metrics/v0.json": {"data": {"psnr": {"mean": 14.0}, "lpips_alex": {"mean": 0.5}}}}
    if psnr is not None:
        own = {"psnr": {"mean": psnr}, "ssim": {"mean": 0.8}, "lpips_alex": {"mean": 0.1}, "kl": {"mean": 10.0}}
        metrics["metrics/current.json"] = {"data": own}
    params = {"loss": {"kl_weight": kl_weight, "ssim_weight": 0.1}, "model": {"latent_dim": size}}
    return {"rev": "abcdef1234", "params": {"params.yaml": {"data": params}}, "metrics": metrics}


def said(*experiments: tuple[str, dict | None]) -> list[dict]:
    listed = [{"name": name, "revs": [{"rev": "1234567890", "name": name, "data": data}]} for name, data in experiments]
    return [
        {"rev": "workspace", "data": run(30.0, 1e-5), "experiments": None},
        {"rev": "abcdef1234", "name": "main", "data": run(30.0, 1e-5), "experiments": listed},
        {"rev": "999", "name": None, "data": None, "error": {"msg": "broken"}, "experiments": None},
    ]


def test_the_best_stands_first_with_its_change_against_v0_and_what_was_changed() -> None:
    table = leaderboard(said(("a", run(31.0, "1e-06")), ("b", run(29.0, 1e-4, 128))))
    assert list(table["experiment"]) == ["a", "workspace", "b"]
    best = table.iloc[0]
    assert best["kl_weight"] == 1e-6  # YAML 1.1 leaves it as text
    assert best["psnr_change"] == 17.0
    assert best["lpips_change"] == pytest.approx(-0.4)
    assert best["changes"] == "loss.kl_weight=1e-06"
    assert table.iloc[2]["changes"] == "loss.kl_weight=0.0001 model.latent_dim=128"
    assert list(leaderboard(said(("a", run(31.0, 1e-6))), by="kl")["experiment"]) == ["workspace", "a"]


def test_runs_without_a_result_are_left_out_and_a_weight_found_in_the_run_is_empty() -> None:
    table = leaderboard(said(("queued", run(None, 1e-6)), ("failed", None), ("target", run(28.0, None))))
    assert list(table["experiment"]) == ["workspace", "target"]
    assert table["kl_weight"].isna().tolist() == [False, True]
    assert "–" in as_text(table).splitlines()[2]


def test_the_csv_holds_the_same_rows() -> None:
    table = leaderboard(said(("a", run(31.0, 1e-6))))
    again = pd.read_csv(io.StringIO(as_csv(table)))
    assert list(again["experiment"]) == list(table["experiment"])
    assert list(again["psnr"]) == list(table["psnr"])


def test_the_page_shows_each_run_in_a_chart_and_in_the_table_and_escapes_its_name() -> None:
    text = as_page(leaderboard(said(("<b>x", run(31.0, 1e-6)), ("c", run(29.0, 1e-4, 128)))))
    assert "<b>x" not in text
    assert "&lt;b&gt;x" in text
    assert text.count('role="img"') == 3
    assert "64 floats" in text
    assert "128 floats" in text
    assert "3 measured runs" in text


def test_a_project_without_results_still_has_a_page() -> None:
    empty = leaderboard([])
    assert "0 measured runs" in as_page(empty)
    assert as_text(empty).startswith("experiment")


def test_a_folder_that_is_no_project_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="DVC cannot list its experiments"):
        ask_dvc(tmp_path)


RUN = """
import json, yaml
weight = float(yaml.safe_load(open("params.yaml"))["loss"]["kl_weight"])
for name, psnr in (("current", 30 - 1e5 * weight), ("v0", 14.0)):
    json.dump({"psnr": {"mean": psnr}, "kl": {"mean": 10.0}}, open(f"{name}.json", "w"))
"""
STAGE = """
stages:
  all:
    cmd: python run.py
    deps: [run.py]
    params: [loss, model]
    metrics:
      - metrics/current.json: {cache: false}
      - metrics/v0.json: {cache: false}
"""


def test_real_experiments_reach_the_terminal_the_csv_and_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for person in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{person}_NAME", "t")
        monkeypatch.setenv(f"GIT_{person}_EMAIL", "t@example.org")
    (tmp_path / "run.py").write_text(RUN.replace('f"{name}.json"', 'f"metrics/{name}.json"'))
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/.gitkeep").touch()
    (tmp_path / "dvc.yaml").write_text(STAGE)
    (tmp_path / "params.yaml").write_text("loss:\n  kl_weight: 1e-5\nmodel:\n  latent_dim: 64\n")
    dvc = [sys.executable, "-m", "dvc"]
    for command in (
        ["git", "init", "-q"], [*dvc, "init", "-q"], [*dvc, "repro", "-q"], ["git", "add", "-A"],
        ["git", "commit", "-qm", "start"], [*dvc, "exp", "run", "-q", "-n", "low", "-S", "loss.kl_weight=1e-6"],
    ):  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
    main(["experiments", "--out", "e.csv", "--page", "reports/experiments.html"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("experiment")
    table = pd.read_csv("e.csv").set_index("experiment")
    assert table.loc["low", "kl_weight"] == 1e-6
    assert table.loc["low", "psnr"] == pytest.approx(29.9)
    assert table.loc["low", "psnr_change"] == pytest.approx(15.9)
    assert "low" in Path("reports/experiments.html").read_text()
