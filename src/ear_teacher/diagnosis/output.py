"""A diagnosis as files: numbers for a program, tables and one chart for plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ear_teacher.diagnosis.causes import CAUSES
from ear_teacher.diagnosis.chart import draw, steps
from ear_teacher.diagnosis.subject import rounded
from ear_teacher.diagnosis.verdict import Diagnosis
from ear_teacher.files import write_atomically


def content(diagnosis: Diagnosis) -> dict[str, Any]:
    """For JSON: the sentence, the ranked causes, and every number by group."""
    values: dict[str, dict[str, Any]] = {}
    for name, value in rounded(diagnosis.evidence.values).items():
        group, _, key = name.partition(".")
        if np.isfinite(value):
            values.setdefault(group, {})[key] = value
    causes = [
        {
            "cause": finding.cause,
            "name": CAUSES[finding.cause],
            "confidence": round(finding.confidence, 3),
            "evidence": list(finding.evidence),
            "command": finding.command,
            "effect": finding.effect,
        }
        for finding in diagnosis.findings
    ]
    return {
        "sentence": diagnosis.sentence,
        "command": diagnosis.findings[0].command,
        "causes": causes,
        "measured": values,
        "not_measured": diagnosis.evidence.skipped,
    }


def write_plots(diagnosis: Diagnosis, folder: Path) -> bool:
    """Write `chart.png`, `chain.csv` and a CSV for each curve; False where there is nothing to draw."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in diagnosis.evidence.curves.items():
        if name == "spectrum":  # powers span six decades
            powers = [column for column in table.columns if column not in ("frequency", "gain_wanted")]
            table = table.assign(**{column: np.log10(table[column].clip(lower=1e-12)) for column in powers})
        write_atomically(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.5g"))
    rows = steps(diagnosis)
    if len(rows) < 3:
        return False
    chain = pd.DataFrame(rows, columns=["step", "psnr"])
    write_atomically(folder / "chain.csv", chain.to_csv(index=False, float_format="%.5g"))
    write_atomically(folder / "chart.png", draw(rows, diagnosis.sentence))
    return True
