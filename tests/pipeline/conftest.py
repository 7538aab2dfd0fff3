"""A copy of the project in a folder of its own, small enough to run its whole pipeline in a minute or two."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
SMALL = {
    "data": {"image_size": 64, "synthetic": {"people": 21, "images_per_person": 3}},
    "linear": {"max_floats": 128},
    "model": {"latent_dim": 128, "width": 8},
    "train": {"steps": 6, "batch_size": 8, "validate_every": 3, "threads": 1, "milestones": [1]},
    "baselines": {
        "v0": {
            "model": {"latent_dim": 64, "width": 32},
            "train": {"steps": 3, "batch_size": 8, "accumulation": 2, "validate_every": 1, "threads": 1},
        },
        "v1": {"model": {"latent_dim": 128}},
    },
    "evaluate": {"bootstrap": 200},
    "reconstruct": {"sample": 2, "extremes": 2},
}


class Project:
    """The copy, and a way to run commands in it as its user would: inside the project's environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org",
            "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.org",
        }  # fmt: skip
        self.environment.pop("PYTHONPATH", None)

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command; its output, or an assertion error that shows it."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=1200
        )
        output = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, f"{' '.join(command)} ended with {done.returncode}:\n{output[-3000:]}"
        return output

    def params(self) -> dict:
        return yaml.safe_load((self.folder / "params.yaml").read_text())

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", message)


def _merge(base: dict, change: dict) -> dict:
    return base | {k: _merge(base.get(k, {}), v) if isinstance(v, dict) else v for k, v in change.items()}


def fresh_project(folder: Path, changes: dict) -> Project:
    """A fresh checkout in an empty folder, its params changed, not yet run: what `dvc repro` writes is not there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        written = name.startswith(("metrics/", "plots/")) and not name.startswith("plots/teacher/")
        if not written and not name.startswith(("docs/", "tests/")) and name != "dvc.lock":
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, target)
    copy = Project(folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(_merge(copy.params(), changes), sort_keys=False))
    copy.run("git", "init", "-q")
    copy.commit("start")
    return copy


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return fresh_project(tmp_path_factory.mktemp("project"), SMALL)


@pytest.fixture(scope="session")
def finished(project: Project) -> Project:
    """The same after `dvc repro`, committed as a user would."""
    project.run("dvc", "repro")
    project.commit("results")
    return project
