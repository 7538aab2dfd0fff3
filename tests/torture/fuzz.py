"""python -m tests.torture.fuzz [seconds]

Hypothesis mutates sound files of every kind until the time is up: a loader reads them or refuses them in a sentence.
What it finds is printed as the smallest such file, and the command fails.
"""

from __future__ import annotations

import json
import pickle
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from ear_teacher import safe_pickle
from ear_teacher.config import DataConfig, UserError, load_config
from ear_teacher.data import PreparedData
from ear_teacher.data.normalization import GreyNormalization
from ear_teacher.data.npy import open_npy
from ear_teacher.images import BadImage
from ear_teacher.linear import LinearCode
from ear_teacher.models import EarVAE
from ear_teacher.report.latent import Directions, load_directions, save_directions
from ear_teacher.squares import read_square
from ear_teacher.teacher.landmark_files import read_landmarks
from ear_teacher.training.checkpoints import load_checkpoint
from tests.data.bad_arrays import PICTURES, saved
from tests.torture import checkpoints, landmarks, models, params, pictures

REFUSALS = (UserError, BadImage, safe_pickle.RefusedPickle)
ROUND = 60
"""Files of one kind before the next kind has its turn."""


@dataclass(frozen=True)
class Loader:
    """What reads a file, and sound ones to begin with.

    Attributes:
        sound: contents that are mutated.
        file: under which name they are written in an empty folder.
        read: is given that folder.
        beside: other files that lie there.
    """

    sound: list[bytes]
    file: str
    read: Callable[[Path], object]
    beside: dict[str, bytes]


def loaders() -> dict[str, Loader]:
    def of(sound: list[bytes], file: str, read: Callable[[Path], object], **beside: bytes) -> Loader:
        return Loader(sound, file, read, {name.replace("__", "."): content for name, content in beside.items()})

    boxes = {"image_paths": ["a.png", "b/c.png"], "bboxes": [[0, 1, 2, 3.5], None]}
    dicts = [pickle.dumps(boxes, protocol) for protocol in range(6)] + [saved(np.array(boxes, dtype=object))]
    arrays = [saved(PICTURES[:2]), saved((PICTURES[:1] / 255).astype(">f4")), *dicts]
    config = DataConfig.model_validate({"source": "npy", "path": ".", "train_npy": "x.npy", "npy_range": "0..1"})
    weights = models.whole()
    grey = json.dumps({"scale": [1, 1, 1], "offset": [0, 0, 0.5]}).encode()
    text = yaml.safe_dump(yaml.safe_load((params.PROJECT / "params.yaml").read_text())).encode()
    return {
        "params.yaml": of([text], "params.yaml", lambda p: load_config(p / "params.yaml")),
        "pickle": of(dicts[:6], "x.pkl", lambda p: safe_pickle.loads((p / "x.pkl").read_bytes())),
        "npy": of(arrays, "x.npy", lambda p: open_npy(p / "x.npy", config)),
        "picture": of(list(pictures.encodings().values()), "x.png", lambda p: read_square(p / "x.png", 32)),
        "weights": of([weights[models.WEIGHTS]], models.WEIGHTS, EarVAE.load, config__json=weights[models.DESCRIPTION]),
        "description": of(
            [weights[models.DESCRIPTION]], models.DESCRIPTION, EarVAE.load, model__safetensors=weights[models.WEIGHTS]
        ),
        "normalization": of([grey], "normalization.json", GreyNormalization.load),
        "linear code": of([_linear()], "x.safetensors", lambda p: LinearCode.load(p / "x.safetensors")),
        "directions": of([_directions()], "x.safetensors", lambda p: load_directions(p / "x.safetensors")),
        "COCO": of([json.dumps(landmarks.COCO).encode()], "x.json", lambda p: read_landmarks(p / "x.json")),
        "table": of([landmarks.TABLE.encode()], "x.csv", lambda p: read_landmarks(p / "x.csv")),
        "points": of([landmarks.PTS.encode()], "x.pts", lambda p: read_landmarks(p / "x.pts"), x__png=b""),
        "index": of([checkpoints.INDEX.encode()], "index.csv", PreparedData.load, images__npy=saved(PICTURES)),
        "checkpoint": of(dicts[:6], "step_000000001.0123456789abcdef.pt", load_checkpoint),
    }


def _linear() -> bytes:
    from ear_teacher.linear import fit_klt

    with tempfile.TemporaryDirectory() as folder:
        fit_klt(PICTURES, np.arange(40), 4, 4).save(Path(folder, "x"))
        return Path(folder, "x").read_bytes()


def _directions() -> bytes:
    import torch

    with tempfile.TemporaryDirectory() as folder:
        found = Directions(torch.zeros(4, 4, 4), torch.zeros(2, 4, 4, 4), torch.ones(2), 1.0)
        save_directions(Path(folder, "x"), {"current": found})
        return Path(folder, "x").read_bytes()


@st.composite
def mutated(draw: st.DrawFn, sound: list[bytes]) -> bytes:
    """A sound file with up to eight places overwritten, cut out, doubled or filled in; headers twice as often."""
    content = bytearray(draw(st.sampled_from(sound)))
    for _ in range(draw(st.integers(1, 8))):
        end = max(len(content), 1)
        place = draw(st.integers(0, min(end, 200)) | st.integers(0, end))
        length = draw(st.integers(0, 16))
        edit = draw(st.sampled_from(["write", "cut", "double", "fill", "end"]))
        if edit == "write":
            content[place : place + length] = draw(st.binary(max_size=length))
        elif edit == "cut":
            del content[place : place + length]
        elif edit == "double":
            content[place:place] = content[place : place + length]
        elif edit == "fill":
            content[place:place] = draw(st.sampled_from(WORDS))
        else:
            del content[place:]
    return bytes(content)


WORDS = [
    b"\x00",
    b"\xff" * 8,
    b"\x7f\xff\xff\xff",
    b"nan",
    b"1e999",
    b"-1",
    b"9" * 30,
    b"[" * 30,
    b"{",
    b'"',
    b"\n",
    b"../",
    b"null",
    b"\x80\x04",
    b"\x93NUMPY",
    b"cos\nsystem\n",
    b"&a [*a]",
    b"!!python/name:os.system",
    b"\xef\xbb\xbf",
    b"1" * 5000,
]


def try_one(loader: Loader, content: bytes) -> None:
    """Have a loader read a file; raises where it neither reads it nor refuses it in one sentence."""
    with tempfile.TemporaryDirectory() as folder:
        for name, other in {**loader.beside, loader.file: content}.items():
            Path(folder, name).write_bytes(other)
        try:
            loader.read(Path(folder))
            return
        except REFUSALS as refusal:
            said = str(refusal)
    assert said.strip()
    assert "\n" not in said, f"more than a sentence: {said}"


def search(loader: Loader, number: int) -> None:
    """One round of one loader; raises what it raised that is no refusal."""

    @seed(number)
    @settings(
        max_examples=ROUND, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck), print_blob=False,
    )  # fmt: skip
    @given(mutated(loader.sound))
    def reads_or_refuses(content: bytes) -> None:
        try_one(loader, content)

    reads_or_refuses()


def main() -> None:
    until = time.monotonic() + float(sys.argv[1] if len(sys.argv) > 1 else 180)
    all_loaders, number, found = loaders(), 0, 0
    while time.monotonic() < until and all_loaders:
        for name in list(all_loaders):
            try:
                search(all_loaders[name], number)
            except Exception:
                found += 1
                print(f"{name}:\n{traceback.format_exc()[-2500:]}", flush=True)
                del all_loaders[name]
        number += 1
    print(f"fuzz: {number} rounds of {ROUND} files of each kind, {found} findings.")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
