"""PYTHONPATH=src python studies/five_fixes/page.py

The author's claims, each with what was measured: docs/five-fixes.md.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ear_teacher.files import write_atomically
from ear_teacher.metrics.statistics import paired_change, summarise
from ear_teacher.stage import run

HERE = Path("studies/five_fixes")
FIXES = {
    "kl_weight": "lower KL weight",
    "latent_dim": "wider latent",
    "recon": "L1",
    "perceptual_weight": "more perceptual",
    "ssim_weight": "more SSIM",
}
RUNS = {"v0": "v0"} | {key: f"v0 + {name}" for key, name in FIXES.items()} | {
    "v1": "v1 (all five)", "current": "current", "current_kl_10": "current, held at 10 nats",
}  # fmt: skip
METRICS = {"psnr": "PSNR, dB", "ssim": "SSIM", "lpips": "LPIPS alex", "kl": "KL, nats"}
RATIO = 210_000


class Runs:
    """All pictures of all runs."""

    def __init__(self) -> None:
        tables = []
        for path in sorted((HERE / "runs").glob("*.csv")):
            name, steps, seed = path.stem.rsplit("-", 2)
            table = pd.read_csv(path, dtype={"person": str})
            tables.append(table.assign(run=name, steps=int(steps), seed=int(seed), picture=range(len(table))))
        self.all = pd.concat(tables, ignore_index=True)
        self.budgets = sorted(self.all["steps"].unique())
        self.seeds = sorted(self.all["seed"].unique())

    def of(self, name: str, steps: int, seed: int | None = None) -> pd.DataFrame:
        """A run's pictures in order; without a seed, the mean over the seeds."""
        part = self.all[(self.all["run"] == name) & (self.all["steps"] == steps)]
        if seed is not None:
            part = part[part["seed"] == seed]
        return part.groupby("picture").agg(
            lambda column: column.iloc[0] if column.name in ("person", "run") else column.mean()
        )

    def change(self, before: tuple[str, str], after: tuple[str, str], steps: int) -> dict[str, float]:
        """The paired change from one (run, column) to another: seeds averaged, people resampled, and by seed."""
        a, b = self.of(before[0], steps), self.of(after[0], steps)
        found = dict(paired_change(a[before[1]], b[after[1]], a["person"]))
        found["by_seed"] = [  # type: ignore[assignment]  # a summary holds floats and lists
            float((self.of(after[0], steps, s)[after[1]] - self.of(before[0], steps, s)[before[1]]).mean())
            for s in self.seeds
        ]
        return found  # type: ignore[return-value]  # a summary holds floats and lists


def side(change: dict[str, float]) -> int:
    """1 or -1 where the interval and every seed lie on that side of 0, else 0."""
    ends = [change["ci_low"], change["ci_high"], *change["by_seed"]]  # type: ignore[misc]  # a summary holds floats and lists
    return 1 if min(ends) > 0 else -1 if max(ends) < 0 else 0


def verdict(changes: list[dict[str, float]], wanted: int) -> str:
    """`supported` or `refuted` where all budgets agree, else `not separable`."""
    sides = {side(change) * wanted for change in changes}
    return {1: "supported", -1: "refuted"}.get(sides.pop(), "not separable") if len(sides) == 1 else "not separable"


def shown(change: dict[str, float], digits: int = 3) -> str:
    return f"{change['mean']:+.{digits}g} [{change['ci_low']:+.{digits}g}, {change['ci_high']:+.{digits}g}]"


def main() -> None:
    runs = Runs()
    last = runs.budgets[-1]
    people = runs.of("v0", last)["person"]
    lines = [
        "# The five fixes, one by one",
        "",
        f"v0 of `studies/params.yaml` with one fix each, on EarVN1.0 at 64 px: {len(people)} photos of "
        f"{people.nunique()} people no model saw. Budgets of {' and '.join(str(b) for b in runs.budgets)} steps of 8 "
        f"pictures, seeds {', '.join(str(s) for s in runs.seeds)}. These are short runs: they say what a fix does "
        "early on, with the small backbone and LPIPS-alex that stand in for the author's (`studies/params.yaml`), not "
        "where 200 epochs end.",
        "",
        "Changes are paired by picture, seeds averaged; the 95 % interval resamples people. A verdict is given only "
        "where the interval *and* every single seed lie on the same side of 0 at *both* budgets; otherwise *not "
        "separable*. Repeat it with `make five_fixes PHOTOS=<EarVN1.0 folder>`.",
        "",
        *quality_table(runs, last),
        "",
        "## The fixes",
        "",
        "Change against v0. Better is up for PSNR and SSIM, down for LPIPS.",
        "",
        "| v0 + | | " + " | ".join(f"{b} steps" for b in runs.budgets) + " | does it help? |",
        "|---|---|" + "---|" * (len(runs.budgets) + 1),
    ]
    for key, fix in [*FIXES.items(), ("v1", "all five (v1)")]:
        for metric, wanted in (("psnr", 1), ("ssim", 1), ("lpips", -1)):
            changes = [runs.change(("v0", metric), (key, metric), b) for b in runs.budgets]
            cells = " | ".join(shown(change) for change in changes)
            lines.append(
                f"| {fix if metric == 'psnr' else ''} | {METRICS[metric]} | {cells} | {verdict(changes, wanted)} |"
            )
    lines += ["", "## The claims behind them", "", *claims(runs), ""]
    write_atomically(Path("docs/five-fixes.md"), "\n".join(lines))


def quality_table(runs: Runs, steps: int) -> list[str]:
    lines = [f"| {steps} steps | " + " | ".join(METRICS.values()) + " |", "|---|" + "---:|" * len(METRICS)]
    for key, name in RUNS.items():
        mean = runs.of(key, steps)[list(METRICS)].mean()
        lines.append(f"| {name} | {mean['psnr']:.2f} | {mean['ssim']:.3f} | {mean['lpips']:.3f} | {mean['kl']:.1f} |")
    for floats in (512, 1024):
        codes = [pd.read_csv(path) for path in sorted((HERE / "linear").glob(f"*-{floats}.csv"))]
        best = [
            pick(code[metric].mean() for code in codes)
            for metric, pick in (("psnr", max), ("ssim", max), ("lpips", min))
        ]
        lines.append(
            f"| best linear code of {floats} floats, each metric | {best[0]:.2f} | {best[1]:.3f} | {best[2]:.3f} | – |"
        )
    return lines


def claims(runs: Runs) -> list[str]:
    """The claims that are not about a fix's quality, each from a measurement of these runs."""

    def both(text: Callable[[int], str]) -> str:
        return "; ".join(f"{budget} steps: {text(budget)}" for budget in runs.budgets)

    def mean(name: str, column: str, budget: int) -> float:
        return float(runs.of(name, budget)[column].mean())

    # A collapsed posterior's decoder does as well with the code of another picture.
    own = [runs.change(("v0", "psnr_shuffled"), ("v0", "psnr_sampled"), b) for b in runs.budgets]
    lower = [runs.change(("v0", "kl"), ("kl_weight", "kl"), b) for b in runs.budgets]
    held = {b: runs.of("current_kl_10", b) for b in runs.budgets}
    intervals = {b: summarise(table["psnr"], table["person"]) for b, table in held.items()}
    obeyed = all(5 <= table["kl"].mean() <= 15 for table in held.values())
    below = all(summary["ci_high"] < 27 for summary in intervals.values())  # type: ignore[operator]  # a summary holds floats and lists
    above = all(summary["ci_low"] >= 27 for summary in intervals.values())  # type: ignore[operator]  # a summary holds floats and lists
    joint = "not separable" if not obeyed or below == above else "refuted" if below else "supported"
    ratios = {
        b: [runs.of("v1", b, s)["loss_rest"].mean() / runs.of("v1", b, s)["loss_kl"].mean() for s in runs.seeds]
        for b in runs.budgets
    }
    apart = [all(r < RATIO for r in values) or all(r > RATIO for r in values) for values in ratios.values()]
    rows = [
        (
            "v0's KL means that its posterior has collapsed",
            "PSNR with a picture's own code less that with another picture's: "
            + both(lambda b: f"{shown(own[runs.budgets.index(b)])} dB at {mean('v0', 'kl', b):.0f} nats"),
            verdict(own, -1),
        ),
        (
            "a lower KL weight lowers the KL",
            "change of the KL: " + both(lambda b: f"{shown(lower[runs.budgets.index(b)])} nats"),
            verdict(lower, -1),
        ),
        (
            "a KL of 5-15 goes with 27-30 dB",
            "the current model, its KL held at 10 nats: "
            + both(
                lambda b: f"{held[b]['kl'].mean():.1f} nats, {intervals[b]['mean']:.2f} dB "
                f"[{intervals[b]['ci_low']:.2f}, {intervals[b]['ci_high']:.2f}], and left free "
                f"{mean('current', 'kl', b):.0f} nats, {mean('current', 'psnr', b):.2f} dB"
            ),
            joint,
        ),
        (
            f"v1 weighs reconstruction against KL as {RATIO:,} : 1",
            "everything but the KL against the KL in v1's loss, as training sees them: "
            + both(lambda b: " / ".join(f"{r:.0f}" for r in ratios[b]) + " : 1 by seed"),
            "refuted" if all(apart) and np.abs(np.log(np.concatenate(list(ratios.values())) / RATIO)).min() > np.log(2)
            else "not separable",
        ),
    ]  # fmt: skip
    return ["| claim | measured | verdict |", "|---|---|---|", *(f"| {c} | {m} | **{v}** |" for c, m, v in rows)]


if __name__ == "__main__":
    run(main)
