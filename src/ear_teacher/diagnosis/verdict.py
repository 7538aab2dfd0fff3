"""The ranked list of causes: what explains what, how healthy the rest is, and the command for each."""

from __future__ import annotations

from dataclasses import dataclass

from ear_teacher.diagnosis.advice import Address, advise
from ear_teacher.diagnosis.causes import CAUSES, suspect
from ear_teacher.diagnosis.chain import Chain, chain_of
from ear_teacher.diagnosis.measure import Evidence, measure
from ear_teacher.diagnosis.subject import Subject
from ear_teacher.diagnosis.suspicion import Suspicion

EXPLAINS: dict[str, tuple[str, ...]] = {
    "diverged": (
        "collapse", "blurred_target", "mismatch", "colour", "grey", "drowned", "unfinished", "overfitted",
        "over_regularised", "latent_too_small", "weak_decoder", "no_detail_path",
    ),
    "collapse": (
        "colour", "grey", "drowned", "unfinished", "over_regularised", "weak_decoder", "no_detail_path",
    ),
    "mismatch": ("colour", "grey"),
    "colour": ("blurred_target", "drowned", "unfinished"),
    "grey": ("weak_decoder", "no_detail_path"),
    "blurred_target": ("weak_decoder", "no_detail_path"),
    "drowned": ("blurred_target", "unfinished", "over_regularised", "weak_decoder", "no_detail_path"),
    "unfinished": ("grey",),
    "over_regularised": ("grey",),
    "latent_too_small": ("grey",),
    "weak_decoder": ("no_detail_path", "grey"),
}  # fmt: skip
"""Cause -> causes whose symptoms it brings with it: these keep only the share it leaves unexplained. In this order, so
that what is explained explains nothing in its turn."""


@dataclass(frozen=True)
class Finding:
    """One cause of the ranked list.

    Attributes:
        cause: key of `causes.CAUSES`.
        confidence: in [0, 1].
        evidence: sentences.
        command: what to run next.
        effect: what the forecast expects of it.
    """

    cause: str
    confidence: float
    evidence: tuple[str, ...]
    command: str
    effect: str


@dataclass(frozen=True)
class Diagnosis:
    """The verdict and what it rests on.

    Attributes:
        findings: all causes, the likeliest first.
        sentence: the verdict in one sentence.
        evidence: the measurements.
        chain: where the decibels go; None where no linear code stands beside the model.
    """

    findings: tuple[Finding, ...]
    sentence: str
    evidence: Evidence
    chain: Chain | None


def diagnose(subject: Subject, wish: float = 27.0, address: Address | None = None, seed: int = 0) -> Diagnosis:
    """Measure a model and rank the causes.

    Args:
        subject: what is diagnosed.
        wish: wanted PSNR in dB.
        address: where the keys of its params stand; None: those of the current model.
        seed: of all samples.
    """
    evidence = measure(subject, wish, seed)
    suspicions = explain(suspect(evidence, subject.loss, subject.training))
    chain = None if evidence.values.get("model.broken") else chain_of(evidence.values)
    ranked = sorted(suspicions.items(), key=lambda item: -item[1].confidence)
    findings = []
    for cause, suspicion in ranked:
        command, effect = advise(cause, subject, evidence, chain, address or Address())
        findings.append(Finding(cause, suspicion.confidence, suspicion.evidence, command, effect))
    return Diagnosis(tuple(findings), _sentence(findings, evidence, chain), evidence, chain)


def explain(suspicions: dict[str, Suspicion]) -> dict[str, Suspicion]:
    """Take from each suspicion what stronger ones explain, and add `healthy`: 1 less the strongest."""
    left = dict(suspicions)
    for stronger, symptoms in EXPLAINS.items():
        share = left[stronger].confidence if stronger in left else 0.0
        for cause in symptoms:
            if cause in left and share >= min(left[cause].confidence, 0.5):
                left[cause] = Suspicion(left[cause].confidence * (1 - share), left[cause].evidence)
    worst = max((s.confidence for s in suspicions.values()), default=0.0)  # what is explained is no health
    left["healthy"] = Suspicion(1 - worst, ("No cause has evidence of weight.",))
    return left


def _sentence(findings: list[Finding], evidence: Evidence, chain: Chain | None) -> str:
    first = findings[0]
    v = evidence.values
    if v.get("model.broken"):
        return "The training diverged: the model gives NaN or infinite numbers."
    quality = f"{v['quality.psnr']:.1f} dB at {v['posterior.kl']:.0f} nats"
    if first.cause == "healthy":
        line = f", and the best linear code of its size {v['limit.floats']:.1f} dB" if chain is not None else ""
        return f"Healthy: {quality}{line}."
    word = "Most likely" if first.confidence >= 0.5 else "Perhaps"
    return f"{word}: {CAUSES[first.cause]} ({quality})."
