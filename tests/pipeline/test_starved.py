"""A training that is starved, ended or left alone: what is said, what is left, and how it goes on."""

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ear_teacher.training.checkpoints import load_checkpoint
from tests.torture.kills import STEPS

STAGE = "stages/train.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small project of the kills, its stages run once in a process of their own, and its outputs."""
    folder = tmp_path_factory.mktemp("trained")
    said = subprocess.run(
        [sys.executable, "-m", "tests.torture.kills", str(folder), "0", "alone"], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    return folder


@pytest.fixture
def again(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, as it was before the training, with the outputs of the finished one in `wanted`."""
    folder = tmp_path / "project"
    shutil.copytree(trained, folder, symlinks=True)
    shutil.rmtree(folder / ".checkpoints")
    (folder / "wanted").mkdir()
    shutil.move(folder / "models", folder / "wanted/models")
    shutil.move(folder / "plots/train", folder / "wanted/plots")
    return folder


def start(folder: Path, limit: Callable[[], None] | None = None, stage: str = STAGE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, stage, "current"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "src", "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code, and the last line of standard error."""
    said = process.communicate(timeout=280)[1]
    assert "Traceback" not in said
    return process.returncode, [line.split("\r")[-1] for line in said.splitlines() if line.strip()][-1]


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def steps_saved(folder: Path, where: str = "step_*.pt") -> list[int]:
    return sorted(int(path.name[5:14]) for path in folder.glob(f".checkpoints/*/{where}"))


def until(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait for the first checkpoint after step 0."""
    for _ in range(28_000):
        if max(steps_saved(folder), default=0) > 0 or process.poll() is not None:
            return
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_step_and_the_same_command_ends_in_the_same_bytes(again: Path, number: int) -> None:
    process = start(again)
    until(again, process)
    process.send_signal(number)
    code, said = ended(process)
    assert code == 130
    assert said.startswith("Interrupted after step ")
    step = int(said.split()[3])
    assert 0 < step < STEPS
    assert step in (*steps_saved(again), *steps_saved(again, "interrupted/step_*.pt"))
    assert ended(start(again))[0] == 0
    assert hashes(again / "models") == hashes(again / "wanted/models")
    assert hashes(again / "plots/train") == hashes(again / "wanted/plots")


def test_a_full_disk_is_told_and_what_was_saved_before_is_whole(again: Path) -> None:
    """No file may grow beyond what the plots need: the first checkpoint cannot be written."""
    earlier = again / "models/current"
    shutil.copytree(again / "wanted/models/current", earlier)
    before = hashes(earlier)
    limit = 1000 + max(path.stat().st_size for path in (again / "wanted/plots").rglob("*"))
    code, said = ended(start(again, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))
    assert code == 1
    assert ".checkpoints/current-" in said
    assert said.endswith("run the command again; what was there before is unchanged.")
    assert hashes(earlier) == before
    assert list(again.glob(".checkpoints/*/.step*")) == []
    assert ended(start(again))[0] == 0
    assert hashes(again / "models") == hashes(again / "wanted/models")


def test_a_place_that_cannot_be_written_is_named(again: Path) -> None:
    (again / ".checkpoints").write_text("a file in the folder's place")
    code, said = ended(start(again))
    assert code == 1
    assert said.startswith(".checkpoints")
    (again / ".checkpoints").unlink()
    (again / "plots/train").write_text("another")
    code, said = ended(start(again))
    assert code == 1
    assert "plots/train" in said
    assert not (again / "models/current").exists()


def test_a_training_that_lost_its_dvc_keeps_a_second_one_from_starting_and_is_named(again: Path) -> None:
    first = start(again)
    until(again, first)
    first.send_signal(signal.SIGSTOP)
    code, said = ended(start(again))
    assert code == 1
    assert f"process {first.pid} is training this run; wait for it, or end it with `kill {first.pid}`" in said
    first.send_signal(signal.SIGKILL)
    first.send_signal(signal.SIGCONT)
    first.wait()
    saved = max(steps_saved(again))
    state = load_checkpoint(next(again.glob(".checkpoints/current-*")))
    assert state is not None
    assert state["step"] == saved
    assert ended(start(again))[0] == 0
    assert hashes(again / "models") == hashes(again / "wanted/models")


def test_a_checkpoint_of_other_params_or_pictures_is_left_alone(again: Path) -> None:
    first = start(again)
    until(again, first)
    first.kill()
    first.wait()
    (mine,) = again.glob(".checkpoints/current-*")
    kept = hashes(mine)
    params = (again / "params.yaml").read_text()
    (again / "params.yaml").write_text(params.replace("lr: 0.001", "lr: 0.002", 1))
    assert ended(start(again))[0] == 0
    assert hashes(again / "models") != hashes(again / "wanted/models")
    (again / "params.yaml").write_text(params)
    pictures = again / "data/prepared/images.npy"
    content = bytearray(pictures.read_bytes())
    content[-1] ^= 1
    pictures.unlink()
    pictures.write_bytes(content)
    assert ended(start(again, stage="stages/features.py"))[0] == 0  # other pictures, other features
    assert ended(start(again))[0] == 0
    assert hashes(mine) == kept
