"""make torture

Every malformed input through the command that reads it, and docs/reliability.md with what came of them.
"""

import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from ear_teacher.files import write_atomically
from tests.torture import params, pictures
from tests.torture.cases import Accepted, Quarantined, Verdict, attempt

PAGE = Path(__file__).parents[2] / "docs/reliability.md"
KINDS = {"params": "`params.yaml`", "image": "pictures in a folder"}


def main() -> None:
    verdicts: list[Verdict] = []
    for case in tqdm([*params.cases(), *pictures.cases()], desc="torture", unit="input", mininterval=1):
        folder = Path(tempfile.mkdtemp())
        (folder / "case").mkdir()
        verdicts.append(attempt(case, folder / "case"))
        shutil.rmtree(folder, ignore_errors=True)
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    for verdict in wrong:
        print(f"{verdict.case.kind}, {verdict.case.name}: {'; '.join(verdict.wrong)}")
    write_atomically(PAGE, page(verdicts))
    print(f"{len(verdicts) - len(wrong)} of {len(verdicts)} inputs had their one right outcome.")
    sys.exit(1 if wrong else 0)


def page(verdicts: list[Verdict]) -> str:
    """The figures as a page; no times, so that equal outcomes are equal bytes."""
    lines = [
        "# Reliability",
        "",
        "`make torture` puts malformed inputs through the command that reads them, each in a folder of its own, within "
        "10 s and 2 GB. The right outcome of each is written down with the input, before the code runs "
        "(`tests/torture/`): accepted with the right value, quarantined with the reason (one bad picture among good "
        "ones), or refused (exit code 1, one sentence that names the file, nothing written).",
        "",
        "| | inputs | to be accepted | to be quarantined | to be refused | right | of these hostile | right |",
        "| --- |" + " ---: |" * 7,
    ]
    for kind, words in KINDS.items():
        of_kind = [verdict for verdict in verdicts if verdict.case.kind == kind]
        hostile = [verdict for verdict in of_kind if verdict.case.hostile]
        wished = Counter(type(verdict.case.outcome) for verdict in of_kind)
        accepted, quarantined = wished[Accepted], wished[Quarantined]
        counts = [len(of_kind), accepted, quarantined, len(of_kind) - accepted - quarantined, _right(of_kind)]
        lines.append(f"| {words} | {' | '.join(map(str, [*counts, len(hostile), _right(hostile)]))} |")
    lines += [
        "",
        "Hostile inputs try to run code, to reach another file or to exhaust the machine: YAML tags and aliases, "
        "links, pipes, pictures of 30,000 x 30,000 pixels, 300 MB of text behind a small one.",
        "",
    ]
    return "\n".join(lines)


def _right(verdicts: list[Verdict]) -> int:
    return sum(not verdict.wrong for verdict in verdicts)


if __name__ == "__main__":
    main()
