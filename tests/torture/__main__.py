"""make torture

Every malformed input through the command that reads it, a training killed at every kind of moment, and
docs/reliability.md with what came of them.
"""

import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ear_teacher.files import write_atomically
from tests.torture import arrays, checkpoints, kills, landmarks, metadata, models, params, pictures, requests
from tests.torture.cases import COMMANDS, Accepted, Case, Quarantined, Verdict, attempt, attempt_apart

PAGE = Path(__file__).parents[2] / "docs/reliability.md"
CORPUS = [
    case
    for part in (params, pictures, arrays, metadata, models, landmarks, checkpoints, requests)
    for case in part.cases()
]
KINDS = {
    "params": "`params.yaml`",
    "image": "pictures in a folder",
    "array": "arrays (npy, npz)",
    "metadata": "metadata dicts",
    "model": "folders of models",
    "landmarks": "landmark files",
    "checkpoint": "checkpoints, prepared data",
    "request": "requests to the local server",
}
APART = 60


def main() -> None:
    deaths = start_kills()
    apart = chosen_apart()
    verdicts = [run(case, case in apart) for case in tqdm(CORPUS, desc="torture", unit="input", mininterval=1)]
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    for verdict in wrong:
        print(f"{verdict.case.kind}, {verdict.case.name}: {'; '.join(verdict.wrong)}")
    for kind, words in KINDS.items():
        of_kind = [verdict for verdict in verdicts if verdict.case.kind == kind]
        print(f"{words}: {right(of_kind)} of {len(of_kind)} inputs had their one right outcome.")
    hostile = [verdict for verdict in verdicts if verdict.case.hostile]
    print(f"hostile: {right(hostile)} of {len(hostile)}. All: {right(verdicts)} of {len(verdicts)}.", flush=True)
    killed = finish_kills(deaths)
    survived = sum(not each["wrong"] for each in killed)
    print(f"kills survived: {survived} of {len(killed)}.")
    write_atomically(PAGE, page(verdicts, killed, len(apart)))
    sys.exit(1 if wrong or survived < len(killed) or not killed else 0)


def chosen_apart() -> list[Case]:
    """The inputs that run as processes of their own: of each kind that has a command, as large a share as of all."""
    able = [case for case in CORPUS if case.kind in COMMANDS and not (case.kind == "params" and case.accepted)]
    return random.Random(3).sample(able, APART)


def run(case: Case, apart: bool) -> Verdict:
    folder = Path(tempfile.mkdtemp())
    (folder / "case").mkdir()
    try:
        return (attempt_apart if apart else attempt)(case, folder / "case")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start_kills() -> subprocess.Popen[str]:
    """The kills beside the inputs: they fork, which a process that has computed in threads cannot."""
    folder = tempfile.mkdtemp()
    return subprocess.Popen([sys.executable, "-m", kills.__name__, folder], stdout=subprocess.PIPE, text=True)


def finish_kills(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    said, _ = process.communicate()
    killed = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    for each in killed:
        if each["wrong"]:
            print(f"killed {each['kind']}, {each['place']} {each['when']}: {'; '.join(each['wrong'])}")
    return killed


def page(verdicts: list[Verdict], killed: list[dict[str, Any]], apart: int) -> str:
    """The figures as a page; no times, so that equal outcomes are equal bytes."""
    lines = [
        f"| | inputs | accepted | quarantined | refused | right | of these hostile | right |\n|{' --- |' * 8}",
    ]
    for kind, words in [*KINDS.items(), ("", "**all**")]:
        of_kind = [verdict for verdict in verdicts if verdict.case.kind == kind or not kind]
        hostile = [verdict for verdict in of_kind if verdict.case.hostile]
        wished = Counter(type(verdict.case.outcome) for verdict in of_kind)
        accepted, quarantined = wished[Accepted], wished[Quarantined]
        counts = [len(of_kind), accepted, quarantined, len(of_kind) - accepted - quarantined, right(of_kind)]
        lines.append(f"| {words} | {' | '.join(map(str, [*counts, len(hostile), right(hostile)]))} |")
    deaths = ["| killed | times | of these through `dvc repro` | survived |", "| --- | --- | --- | --- |"]
    for kind in [*kills.KINDS, ""]:
        of_kind = [each for each in killed if each["kind"] == kind or not kind]
        with_dvc = sum(each["with_dvc"] for each in of_kind)
        survived = sum(not each["wrong"] for each in of_kind)
        deaths.append(f"| {kind or '**all**'} | {len(of_kind)} | {with_dvc} | {survived} |")
    text = (Path(__file__).parent / "reliability.md").read_text(encoding="utf-8")
    return text.format(steps=kills.STEPS, kills="\n".join(deaths), inputs="\n".join(lines), apart=apart)


def right(verdicts: list[Verdict]) -> int:
    return sum(not verdict.wrong for verdict in verdicts)


if __name__ == "__main__":
    main()
