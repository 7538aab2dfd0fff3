"""Two processes train as one does: the same pictures, noise, gradients, decisions; one of them writes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ear_teacher.config import UserError
from ear_teacher.training.distributed import ALONE, WISH, launch
from ear_teacher.training.loop import Pictures
from tests.training.together import CASES, END_AFTER, cut_short, diverge, one_step, some_pictures, whole_run

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return some_pictures()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def two(pictures, tmp_path_factory) -> Path:
    """The folder in which two processes have left what they found."""
    folder = tmp_path_factory.mktemp("two")
    cut_short(pictures, folder / "cut_short_by_one", ALONE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    shared["PYTHONPATH"] = os.pathsep.join([str(PROJECT / "src"), str(PROJECT)])
    command = [sys.executable, "-m", "tests.training.together", str(folder)]
    running = [
        subprocess.Popen(
            command, env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, cwd=PROJECT,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    output = [process.communicate(timeout=240)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(output)[-3000:]
    return folder


def said(folder: Path, rank: int = 0) -> dict:
    return json.loads((folder / f"said.{rank}.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_that_of_one_process(two: Path, pictures, tmp_path, case: str) -> None:
    wanted, result = one_step(case, pictures, tmp_path, ALONE)
    found = load_file(two / f"{case}.0.safetensors")
    assert found.keys() == wanted.keys()
    whole = torch.cat([wanted[name].flatten() for name in wanted])
    off = torch.cat([(found[name] - wanted[name]).flatten() for name in wanted])
    assert float(whole.norm()) > 1e-4
    assert float(off.norm()) < 1e-5 * float(whole.norm())
    assert said(two)[case][1]["train/loss"] == pytest.approx(result.rows[1]["train/loss"], rel=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_validation_of_the_same_weights_is_the_same_to_the_last_bit(two: Path, pictures, tmp_path, case: str) -> None:
    _, result = one_step(case, pictures, tmp_path, ALONE)
    assert said(two)[case][0] == result.rows[0]


def test_both_processes_hold_the_same_weights_and_tell_the_same(two: Path) -> None:
    first, second = (load_file(two / f"run.{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert said(two, 0) == said(two, 1)


def near(rows: list[dict], wanted: list[dict]) -> None:
    assert [row["step"] for row in rows] == [row["step"] for row in wanted]
    for row, other in zip(rows, wanted, strict=True):
        assert row["val/loss"] == pytest.approx(other["val/loss"], rel=1e-3)
        assert row["val/psnr"] == pytest.approx(other["val/psnr"], abs=0.02)
        assert row["val/kl"] == pytest.approx(other["val/kl"], rel=2e-3)


def test_a_run_of_two_processes_ends_near_that_of_one(two: Path, pictures, tmp_path) -> None:
    near(said(two)["run"], whole_run(pictures, tmp_path, ALONE)[0].rows)


def test_what_two_began_one_goes_on_with_and_the_other_way_round(two: Path, pictures, tmp_path) -> None:
    wanted = whole_run(pictures, tmp_path, ALONE)[0].rows
    result, began = whole_run(pictures, two / "cut_short_by_two", ALONE)
    assert began == said(two)["began"] == END_AFTER
    near(result.rows, wanted)
    near(said(two)["resumed"], wanted)


def test_only_the_first_process_writes(two: Path) -> None:
    for case in CASES:
        assert list((two / case / "0").glob("step_*.pt"))
        assert not (two / case / "1").exists()


def test_a_fault_in_one_process_is_told_by_all_as_by_one(two: Path, pictures, tmp_path) -> None:
    told = diverge(pictures, tmp_path, ALONE)
    assert "on row 13" in told
    assert said(two)["diverged"] == told


def test_a_batch_without_equal_parts_is_refused(two: Path) -> None:
    assert said(two)["refused"] == (
        "train.batch_size = 7 has no 2 equal parts: start 1 or 7 processes, or change it."
    )  # fmt: skip


def test_a_wish_that_is_no_number_is_refused_and_one_process_is_no_launch(monkeypatch) -> None:
    monkeypatch.setenv(WISH, "many")
    with pytest.raises(UserError, match="EAR_TEACHER_PROCESSES = 'many': give the number"):
        launch(["stages/train.py"])
    monkeypatch.setenv(WISH, "1")
    launch(["stages/train.py"])
