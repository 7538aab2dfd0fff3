"""PYTHONPATH=src python studies/diagnosis/page.py

The verdicts on the planted faults as docs/diagnosis.md: the confusion matrix, and what the tool says of each.
"""

import json
from pathlib import Path

import pandas as pd

from ear_teacher.diagnosis.causes import CAUSES
from ear_teacher.files import write_atomically
from ear_teacher.stage import run

HERE = Path("studies/diagnosis")
HELD_OUT = "c"
"""Variant that was planted after the rules were written."""
LOOKED_AT = ("weak_decoder-c", "diverged-c", "grey-c")
"""Cases of that variant that were missed at first and for which rules were changed: they count with the bench."""


def main() -> None:
    runs = [json.loads(path.read_text()) for path in sorted((HERE / "runs").glob("*.json"))]
    rows = pd.DataFrame(
        [
            {
                "case": found["case"],
                "planted": found["planted"],
                "first": found["ranking"][0]["cause"],
                "confidence": found["ranking"][0]["confidence"],
                "rank": [entry["cause"] for entry in found["ranking"]].index(found["planted"]) + 1,
                "sentence": found["sentence"],
                "evidence": " ".join(found["evidence"]),
                "command": found["command"],
            }
            for found in runs
        ]
    )
    rows["order"] = rows["planted"].map(list(CAUSES).index)
    rows = rows.sort_values(["order", "case"])
    held_out = rows["case"].str.endswith(f"-{HELD_OUT}") & ~rows["case"].isin(LOOKED_AT)
    write_atomically(Path("docs/diagnosis.md"), page(rows[~held_out], rows[held_out]))


def page(bench: pd.DataFrame, held_out: pd.DataFrame) -> str:
    """Counts first, then the matrix, then case by case."""
    lines = [
        "# Planted faults",
        "",
        "Small models of synthetic ears (64 px, width 16, 500 training pictures, 40 to 500 steps), each with one known "
        "fault, and what `ear-teacher diagnose` says first. 27 dB were wanted of all of them. The faults: "
        "`studies/diagnosis/faults.py`.",
        "",
        "Repeat it with `make diagnosis`.",
        "",
        f"- Bench: {counts(bench)}",
    ]
    if len(held_out):
        lines.append(
            f"- Planted after the rules were written: {counts(held_out)} Of {len(held_out) + len(LOOKED_AT)} such "
            f"cases {len(LOOKED_AT)} ({', '.join(LOOKED_AT)}) were missed at first; the rules were mended for "
            "them, so they count with the bench."
        )
    lines += ["", "## Confusion matrix", "", "Rows: planted; columns: said first; all cases.", ""]
    both = pd.concat([bench, held_out])
    names = [cause for cause in CAUSES if cause in set(both["planted"]) | set(both["first"])]
    lines += ["| planted | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    for cause in names:
        cells = [int(((both["planted"] == cause) & (both["first"] == said)).sum()) for said in names]
        lines.append(f"| {cause} | " + " | ".join(str(cell) if cell else "" for cell in cells) + " |")
    for title, part in (("Bench", bench), ("Held out from the rules", held_out)):
        if part.empty:
            continue
        lines += ["", f"## {title}", "", "| case | rank of the truth | said first | evidence | command |"]
        lines.append("| --- | ---: | --- | --- | --- |")
        for row in part.to_dict("records"):
            said = f"{row['first']} ({row['confidence']:.2f})"
            lines.append(f"| {row['case']} | {row['rank']} | {said} | {row['evidence']} | `{row['command']}` |")
    return "\n".join([*lines, *RULES])


def counts(rows: pd.DataFrame) -> str:
    """How often the truth was first and among the first two, and whether a healthy model was called sick."""
    first, second = int((rows["rank"] == 1).sum()), int((rows["rank"] <= 2).sum())
    healthy = rows[rows["planted"] == "healthy"]
    text = f"the planted cause is first in {first} of {len(rows)} ({100 * first / len(rows):.0f} %), among the first "
    text += f"two in {second}"
    if len(healthy):
        text += f"; {int((healthy['rank'] > 1).sum())} of {len(healthy)} healthy models are called sick"
    return text + "."


RULES = [
    "",
    "## How it decides",
    "",
    "A picture passes through the size of the code, the weight of the KL, encoder, decoder and output. What each step "
    "loses is measured in dB against what it could have kept at best: the best linear code of as many floats, the "
    "forecast at the weight under the model's own loss, a linear map fitted from codes to pictures (the same on a "
    "linear code beside it), the model itself. Confidence is loss / (loss + 1.5 dB); evidence in other units has a "
    "half-way point of its own, named in `src/ear_teacher/diagnosis/suspicion.py`. Strong causes take their symptoms "
    "with them (`verdict.EXPLAINS`); *healthy* is 1 less the strongest suspicion.",
    "",
    "What it cannot tell apart: a decoder that was cut off before training makes the code die, which is a collapse "
    "once it is complete; a short run from random weights hides a weak decoder or encoder until it has run on; "
    "held-out pictures with more noise than the training pictures look like training pictures that lack detail. The "
    "linear lines are those of linear-Gaussian codes: a network may be better than they are, and one that is not is "
    "not always ill. Where history, params or training pictures are missing, less is measured, and the page says so.",
    "",
]


if __name__ == "__main__":
    run(main)
