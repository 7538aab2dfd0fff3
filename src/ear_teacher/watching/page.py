"""Verdicts and rules as a table and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ear_teacher.watching.advice import Advice
from ear_teacher.watching.milestones import QUANTITIES, Verdict

REACHED = ("on track", "behind", "ahead")


@dataclass(frozen=True)
class Watched:
    """What is known of one run.

    Attributes:
        verdicts: of the milestones.
        advice: of the rules.
        length: of the run, in words.
        events: what happened out of turn, as sentences.
    """

    verdicts: Sequence[Verdict]
    advice: Sequence[Advice]
    length: str
    events: Sequence[str]


def table(runs: Mapping[str, Watched]) -> pd.DataFrame:
    """A row a milestone: variant, quantity, when, unit, low, high, value, verdict, note."""
    columns = ("quantity", "when", "unit", "low", "high", "value", "verdict", "note")
    rows = [
        {"variant": name} | {column: getattr(verdict, column) for column in columns}
        for name, run in runs.items()
        for verdict in run.verdicts
    ]
    return pd.DataFrame(rows, columns=["variant", *columns])


def page(runs: Mapping[str, Watched]) -> str:
    """The page as Markdown: a sentence a run, then its milestones, then the rules."""
    lines = [
        "# The author's monitoring list, applied",
        "",
        "Milestones (`watch` in the params) and troubleshooting rules of the author's diagnosis, for the runs as they "
        "are. *Ahead* is better than the range, for the KL in their sense: lower. Their epochs are passes over their "
        "photos, these over the photos here.",
    ]
    for name, run in runs.items():
        lines += ["", f"## {name}", "", _summary(run), ""]
        lines += [f"- {event}" for event in run.events] + [""] * bool(run.events)
        lines += ["| milestone | wanted | value | verdict | |", "| --- | ---: | ---: | --- | --- |"]
        lines += [_milestone(verdict) for verdict in run.verdicts if verdict.quantity != "pictures"]
        lines.append("")
        lines += [
            f"- Look at `plots/train/{name}/` and `plots/reconstructions/`: from {verdict.unit} {verdict.when:g} the "
            f"pictures should show {verdict.note} ({'now' if verdict.verdict == 'look' else 'not reached'})."
            for verdict in run.verdicts
            if verdict.quantity == "pictures"
        ]
        for applies, title in ((True, "Rules that apply"), (False, "Rules that do not apply")):
            chosen = [advice for advice in run.advice if advice.applies == applies]
            if chosen:
                lines += ["", f"### {title}", ""]
                lines += [line for advice in chosen for line in _rule(advice)]
    return "\n".join(lines) + "\n"


def _summary(run: Watched) -> str:
    counts = {word: sum(verdict.verdict == word for verdict in run.verdicts) for word in REACHED}
    judged = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "none come to yet"
    troubles = [advice.problem for advice in run.advice if advice.applies]
    return f"{run.length}. Milestones: {judged}. Rules that apply: {'; '.join(troubles) or 'none'}."


def _milestone(verdict: Verdict) -> str:
    quantity = QUANTITIES[verdict.quantity]
    value = "–" if verdict.value is None else f"{verdict.value:.{quantity.digits}f}"
    return (
        f"| {quantity.label}, {verdict.unit} {verdict.when:g} | {verdict.wanted} | {value} | {verdict.verdict} | "
        f"{verdict.note} |"
    )


def _rule(advice: Advice) -> list[str]:
    lines = [f"**{advice.problem[0].upper()}{advice.problem[1:]}** ({advice.found})."]
    lines[0] += f" Their advice: `{advice.theirs}`." if advice.theirs else ""
    lines[0] += f" *{advice.judgement[0].upper()}{advice.judgement[1:]}.* {advice.effect}"
    if advice.instead:
        label = advice.instead_for or ("Or" if advice.judgement == "right" else "Instead")
        lines[0] += f" {label}: `{advice.instead}`."
    return [*lines, ""]
