"""Results travel through an S3-compatible store: pushed from one project, pulled into a fresh clone of it."""

import hashlib
import shutil
import sys
from pathlib import Path

import pytest

from tests.pipeline.conftest import Project

pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed")
boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
server = pytest.importorskip("moto.server", reason="moto is not installed", exc_type=ImportError)

DVC = (sys.executable, "-m", "dvc")
STAGES = """
stages:
  make:
    cmd: python make.py
    deps: [make.py]
    outs: [pictures, model.bin]
"""
MAKE = """
import pathlib
pathlib.Path("pictures").mkdir()
for number in range(3):
    pathlib.Path(f"pictures/images-{number:05d}.npy").write_bytes(bytes([number]) * 100_000)
pathlib.Path("model.bin").write_bytes(b"weights" * 1000)
"""


@pytest.fixture
def store():
    """Address of an empty bucket `ears` in a store of this machine."""
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    address = f"http://{host}:{port}"
    client(address).create_bucket(Bucket="ears")
    yield address
    running.stop()


def client(address: str):
    secrets = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client("s3", endpoint_url=address, region_name="us-east-1", **secrets)


def hashes(folder: Path) -> dict[str, str]:
    files = [folder / "model.bin", *sorted((folder / "pictures").iterdir())]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_what_is_pushed_to_an_s3_remote_arrives_in_a_fresh_clone(store: str, tmp_path: Path) -> None:
    ours = Project(tmp_path / "ours")
    secrets = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    ours.environment |= secrets | {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"}
    ours.folder.mkdir()
    (ours.folder / "dvc.yaml").write_text(STAGES)
    (ours.folder / "make.py").write_text(MAKE)
    ours.run("git", "init", "-q")
    ours.run(*DVC, "init", "-q")
    ours.run(*DVC, "remote", "add", "-d", "store", "s3://ears/project")
    ours.run(*DVC, "remote", "modify", "store", "endpointurl", store)
    ours.run(*DVC, "repro", "-q")
    ours.commit("results")
    ours.run(*DVC, "push")

    theirs = Project(tmp_path / "theirs")
    theirs.environment = ours.environment
    ours.run("git", "clone", "-q", str(ours.folder), str(theirs.folder))
    assert not (theirs.folder / "pictures").exists()
    theirs.run(*DVC, "pull")
    assert hashes(theirs.folder) == hashes(ours.folder)
    theirs.run(*DVC, "status", "--cloud")
    assert "up to date" in theirs.run(*DVC, "repro")

    shutil.rmtree(theirs.folder / ".dvc/cache")
    (theirs.folder / "model.bin").unlink()
    bucket = client(store)
    stored = [{"Key": item["Key"]} for item in bucket.list_objects_v2(Bucket="ears")["Contents"]]
    bucket.delete_objects(Bucket="ears", Delete={"Objects": stored})
    assert "model.bin" in theirs.run(*DVC, "pull", fails=True)
