"""PYTHONPATH=src python studies/teacher/export.py

What exporting a model costs: PSNR and SSIM of test people rebuilt by the ONNX graphs, how far their features are from
torch's, and the files' sizes, for each variant and precision. Writes studies/teacher/metrics/export.json. The ranges of
int8 with fixed ranges come from training pictures.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.files import write_atomically
from ear_teacher.metrics.quality import Nets, measure_pictures
from ear_teacher.stage import run
from ear_teacher.teacher import EarTeacher
from ear_teacher.teacher.export import CALIBRATION, Precision, export
from ear_teacher.teacher.graphs import run_onnx
from ear_teacher.teacher.pyramid import encode

VARIANTS = ("current", "v0")
CASES: dict[str, tuple[Precision, bool]] = {
    "float32": ("float32", False),
    "float16": ("float16", False),
    "int8, ranges of each batch": ("int8", False),
    "int8, fixed ranges": ("int8", True),
}
BATCH = 31


def main() -> None:
    torch.set_num_threads(1)  # so that the results are the same on any number of cores
    data = PreparedData.load(Path("data/prepared"))
    rows = data.rows("test")
    result: dict[str, Any] = {"pictures": len(rows), "people": int(data.index["person"].iloc[rows].nunique())}
    with tempfile.TemporaryDirectory() as place:
        calibration = Path(place) / "training.npy"
        np.save(calibration, data.images[data.rows("train", CALIBRATION)])
        for variant in VARIANTS:
            model = Path("models") / variant
            result[variant] = {
                "torch": {"bytes": (model / "model.safetensors").stat().st_size} | torch_row(model, data)
            }
            for case, (precision, fixed) in tqdm(CASES.items(), desc=variant):
                folder = Path(place) / f"{variant}-{case}"
                export(model, folder, "onnx", precision, calibration if fixed else None)
                result[variant][case] = onnx_row(model, folder, data)
    write_atomically(Path("studies/teacher/metrics/export.json"), json.dumps(result, indent=2) + "\n")


def batches(data: PreparedData) -> Iterator[torch.Tensor]:
    rows = data.rows("test")
    for start in range(0, len(rows), BATCH):
        yield to_tensor(data.images[rows[start : start + BATCH]])


def torch_row(model: Path, data: PreparedData) -> dict[str, float]:
    teacher = EarTeacher.load(model, "cpu")
    with torch.no_grad():
        return quality([(images, teacher.model.reconstruct(images)) for images in batches(data)])


@torch.no_grad()
def onnx_row(model: Path, folder: Path, data: PreparedData) -> dict[str, Any]:
    """Quality of the graphs' pictures; the largest and the typical error of each output.

    `largest`: largest difference over the output's largest value. `typical`: root of the mean squared difference over
    the output's standard deviation.
    """
    teacher = EarTeacher.load(model, "cpu")
    names = list(json.loads((folder / "export.json").read_text())["parts"]["encoder"]["outputs"])
    pairs, wanted, found = [], {name: [] for name in names}, {name: [] for name in names}
    for images in batches(data):
        own = encode(teacher.model, images)
        named = {"mean": own.mean, "logvar": own.logvar, **own.maps} | (
            {} if own.tokens is None else {"tokens": own.tokens}
        )
        outputs = run_onnx(folder / "encoder.onnx", images.numpy())
        for name, values in zip(names, outputs, strict=True):
            wanted[name].append(named[name].numpy())
            found[name].append(values)
        pairs.append((images, torch.from_numpy(run_onnx(folder / "decoder.onnx", outputs[0])[0])))
    row: dict[str, Any] = {"bytes": sum(path.stat().st_size for path in folder.glob("*.onnx")), **quality(pairs)}
    row["largest"], row["typical"] = {}, {}
    for name in names:
        one, other = np.concatenate(wanted[name]), np.concatenate(found[name])
        row["largest"][name] = short(np.abs(one - other).max() / np.abs(one).max())
        row["typical"][name] = short(np.sqrt(np.mean((one - other) ** 2)) / one.std())
    return row


def quality(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, float]:
    originals, recons = (torch.cat(part) for part in zip(*pairs, strict=True))
    table = measure_pictures(originals, recons, Nets())
    return {"psnr": round(float(table["psnr"].mean()), 3), "ssim": round(float(table["ssim"].mean()), 4)}


def short(value: float) -> float:
    return float(f"{value:.2g}")


if __name__ == "__main__":
    run(main)
