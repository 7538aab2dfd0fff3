"""A diagnosis in plain words: one sentence, one chart, one command first; the evidence below."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from ear_teacher.diagnosis.author import points
from ear_teacher.diagnosis.causes import CAUSES
from ear_teacher.diagnosis.verdict import Diagnosis

WORTH_TELLING = 0.15
"""Confidence from which a cause's evidence is written out."""


def section(name: str, diagnosis: Diagnosis, chart: str | None = None) -> str:
    """One model's part of the page, as Markdown.

    Args:
        name: of the model.
        diagnosis: the verdict.
        chart: address of its chart; None: no chart.
    """
    first = diagnosis.findings[0]
    lines = [f"## {name}", "", f"**{diagnosis.sentence}**", ""]
    if chart:
        lines += [f"![Where the decibels of {name} go]({chart})", ""]
    lines += ["```bash", first.command, "```", "", first.effect, ""]
    lines += ["### Causes, the likeliest first", "", "| cause | confidence | evidence |", "| --- | ---: | --- |"]
    told = [f for f in diagnosis.findings if f.confidence >= WORTH_TELLING or f is first]
    for finding in told:
        evidence = " ".join(finding.evidence) or "–"
        lines.append(f"| {CAUSES[finding.cause]} | {finding.confidence:.2f} | {evidence} |")
    rest = [CAUSES[f.cause] for f in diagnosis.findings if f not in told]
    if rest:
        lines += ["", f"Below {WORTH_TELLING}: {'; '.join(rest)}."]
    others = [f for f in told[1:] if f.cause != "healthy"]
    if others:
        lines += ["", "If the first is mended already:", ""]
        lines += [f"- {CAUSES[f.cause]}: `{f.command}`. {f.effect}" for f in others[:3]]
    if not diagnosis.evidence.values.get("model.broken"):
        lines += [
            "",
            "### The author's reading, point by point",
            "",
            "| in their text | measured here |",
            "| --- | --- |",
        ]
        lines += [f"| {text} | {answer} |" for text, answer in points(diagnosis)]
        lines += ["", "### Evidence", "", *_evidence(diagnosis.evidence.values, diagnosis.evidence.curves)]
    if diagnosis.evidence.skipped:
        lines += ["", "Not measured:", "", *[f"- {sentence}" for sentence in diagnosis.evidence.skipped]]
    return "\n".join(lines) + "\n"


def page(sections: Mapping[str, str], pictures: str) -> str:
    """The whole page: what it stands on, then each model."""
    head = [
        "# Diagnosis",
        "",
        f"{pictures} Confidence is loss / (loss + 1.5 dB) or the like: 0.5 is as likely a fault as not. PSNRs in the "
        "chart and in the causes are of the mean squared error over the pictures, decoding means; the forecast is the "
        "best linear-Gaussian code, not a bound on every code.",
        "",
        "",
    ]
    return "\n".join(head) + "\n".join(sections.values())


def _evidence(v: Mapping[str, float], curves: Mapping[str, pd.DataFrame]) -> list[str]:
    """Sentences that hold for every model, each group in the order a reader asks."""
    lines = [
        f"- **Is the code alive?** KL {v['posterior.kl']:.1f} nats; {v['posterior.active_units']:.0f} of "
        f"{v['posterior.floats']:.0f} units active; {100 * v['posterior.collapsed']:.0f} % of them (0.01, 0.01)-"
        f"collapsed. It says at least {v['posterior.information']:.2f} nats about which picture it came from (so many "
        f"pictures can show at most {v['posterior.information_cap']:.2f}).",
        f"- **Does the decoder use it?** Its mean {v['decoder.mean']:.2f} dB, a sample {v['decoder.sampled']:.2f}, "
        f"another picture's sample {v['decoder.shuffled']:.2f}, the prior {v['decoder.prior']:.2f}.",
    ]
    if "calibration.ratio" in v:
        ratio = v["calibration.ratio"]
        said = (
            f"Sampling costs {ratio:.2f} times what it costs at the optimum (1 = calibrated, above: too noisy)."
            if ratio >= 0
            else "A sample is decoded better than the mean: noise is not what limits this decoder."
        )
        lines.append(f"- **Is its noise as large as the weight pays for?** {said}")
    if "limit.at_measured_kl" in v:
        lines.append(
            f"- **Is the rate well used?** {v['chain.held_out']:.1f} dB at {v['posterior.kl']:.0f} nats; the best "
            f"linear-Gaussian code of that rate gives {v['limit.at_measured_kl']:.1f} dB."
        )
    if "filter.repair" in v:
        lines.append(
            f"- **Detail?** Above half the Nyquist frequency the reconstructions have "
            f"{100 * v['detail.survives']:.0f} % of the originals' energy, with a coherence of "
            f"{v['quality.coherence']:.2f}; the best fixed filter would repair {v['filter.repair']:.2f} dB."
        )
    if "colour.repair" in v:
        lines.append(
            f"- **Colour?** CIEDE2000 {v['colour.ciede2000']:.1f}; the best fixed colour matrix would repair "
            f"{max(v['colour.repair'], 0):.2f} dB; gains red {v['colour.gain_red']:.2f}, green "
            f"{v['colour.gain_green']:.2f}, blue {v['colour.gain_blue']:.2f}."
        )
    if "grey.matched_loss" in v:
        real = f"; against a linear code grey pictures lose {v['grey.loss']:+.2f} dB" if "grey.loss" in v else ""
        lines.append(
            f"- **Greyscale?** A colour picture turned grey loses {v['grey.matched_loss']:+.2f} dB of luminance{real}."
        )
    shares = {k.removeprefix("gradient.share_"): x for k, x in v.items() if k.startswith("gradient.share_")}
    if shares:
        lines.append(
            "- **Which term has the say?** At the reconstruction "
            + ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
            + f" (cosine with the squared error {v['gradient.cosine']:.2f}); at the code the KL has "
            f"{100 * v['gradient.kl_share']:.0f} %."
        )
    if "history.psnr_last" in v:
        lines.append(
            f"- **How did it train?** {v['history.steps']:.0f} steps, {v.get('history.epochs', math.nan):.1f} epochs; "
            f"validation PSNR {v['history.psnr_first']:.1f} -> {v['history.psnr_last']:.1f} dB; ended "
            f"{v.get('history.rise', 0):.2f} dB above its lowest loss, worst spike {v.get('history.spike', 0):.2f} dB."
        )
    if "chain.gap" in v:
        lines.append(
            f"- **Does it hold for others?** {v['chain.train']:.1f} dB on training pictures, {v['chain.held_out']:.1f} "
            f"dB on held-out ones, of which {v['shift.difficulty']:+.1f} dB are the pictures' own difficulty."
        )
    if "regions" in curves:
        lines += [
            "",
            "| region | PSNR, dB | linear code | surviving detail | linear code |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {row['region']} | {row['psnr']:.1f} | {row['psnr_linear']:.1f} | {row['detail']:.2f} | "
            f"{row['detail_linear']:.2f} |"
            for row in curves["regions"].to_dict("records")
        ]
    return lines
