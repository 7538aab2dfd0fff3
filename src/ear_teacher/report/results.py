"""What the pipeline wrote, read once for the report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ear_teacher.config import VARIANTS, UserError

LABEL_EFFICIENCY = Path("plots/teacher/label_efficiency.csv")
"""Written by the study of the teacher."""

TIME_TO_QUALITY = Path("benchmarks/results/quality.csv")
"""Written by `make bench`."""


@dataclass(frozen=True)
class Results:
    """Tables and figures of a finished pipeline; each dict is by variant.

    Attributes:
        compare, diagnosis, forecast, data: the JSON files of these names in `metrics/`.
        measured: JSON of each variant.
        per_image: one row a test picture.
        histories: one row a validation.
        chains: where the decibels go, step by step.
        spectra: power by spatial frequency.
        kl: KL by dimension, falling.
        curves: forecast by code layout.
        points: forecast and measured KL and PSNR, one row a variant.
        milestones: the author's monitoring list, judged.
        quarantine: files that were left out, and why.
        contact_sheet: a JPEG.
        params: params.yaml as it stands.
        labels: landmark error of each encoder by the number of labels; None where the study has not run.
        speed: PSNR of each method by CPU-seconds of training; None where the benchmark has not run.
    """

    compare: dict[str, Any]
    diagnosis: dict[str, Any]
    forecast: dict[str, Any]
    data: dict[str, Any]
    measured: dict[str, dict[str, Any]]
    per_image: dict[str, pd.DataFrame]
    histories: dict[str, pd.DataFrame]
    chains: dict[str, pd.DataFrame]
    spectra: dict[str, pd.DataFrame]
    kl: dict[str, pd.DataFrame]
    curves: dict[str, pd.DataFrame]
    points: pd.DataFrame
    milestones: pd.DataFrame
    quarantine: pd.DataFrame
    contact_sheet: bytes
    params: str
    labels: pd.DataFrame | None
    speed: pd.DataFrame | None


def read_results(root: Path) -> Results:
    """Read a project's results.

    Args:
        root: folder of the project.

    Raises:
        UserError: a file is missing or damaged.
    """

    def table(path: str, **options: Any) -> pd.DataFrame:
        return _read(root / path, lambda file: pd.read_csv(file, **options))

    def record(path: str) -> dict[str, Any]:
        return _read(root / path, lambda file: json.loads(file.read_text(encoding="utf-8")))

    def each(pattern: str, **options: Any) -> dict[str, pd.DataFrame]:
        return {name: table(pattern.format(name), **options) for name in VARIANTS}

    layouts = [p for p in (root / f"plots/forecast/{n}.csv" for n in ("vector", "4x4", "8x8")) if _holds(p)]
    texts = {"file": str, "person": str}
    return Results(
        compare=record("metrics/compare.json"),
        diagnosis=record("metrics/diagnosis.json"),
        forecast=record("metrics/forecast.json"),
        data=record("metrics/data.json"),
        measured={name: record(f"metrics/{name}.json") for name in VARIANTS},
        per_image={
            name: table.fillna({"person": ""})  # an id such as NA is text and stays
            for name, table in each(
                "metrics/per_image/{}.csv", dtype=texts, keep_default_na=False, na_values=[""]
            ).items()
        },
        histories=each("plots/train/{}/history.csv"),
        chains=each("plots/diagnosis/{}/chain.csv"),
        spectra=each("plots/diagnosis/{}/spectrum.csv"),
        kl=each("plots/diagnosis/{}/kl_per_dimension.csv"),
        curves={path.stem: pd.read_csv(path) for path in layouts},
        points=table("plots/rate_distortion.csv").set_index("variant"),
        milestones=table("plots/milestones.csv", keep_default_na=False),
        quarantine=table("data/prepared/quarantine.csv", dtype=str, keep_default_na=False),
        contact_sheet=_read(root / "plots/contact_sheet.jpg", Path.read_bytes),
        params=_read(root / "params.yaml", lambda file: file.read_text(encoding="utf-8")),
        labels=table(str(LABEL_EFFICIENCY)) if _holds(root / LABEL_EFFICIENCY) else None,
        speed=table(str(TIME_TO_QUALITY)) if _holds(root / TIME_TO_QUALITY) else None,
    )


def _holds(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 1


def _read(path: Path, how: Any) -> Any:
    try:
        return how(path)
    except (OSError, ValueError):
        raise UserError(f"{path} is missing or damaged; `dvc repro` writes it anew.") from None
