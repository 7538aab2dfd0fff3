"""Causes in the pictures: too few, unlike the others, blurred, wrongly coloured or grey."""

from __future__ import annotations

from collections.abc import Mapping

from ear_teacher.config import TrainConfig
from ear_teacher.diagnosis.measure import Evidence
from ear_teacher.diagnosis.suspicion import (
    DEGRADED_TARGET,
    HALF_CAST,
    HALF_EFFECT,
    SHARP_FALLOFF,
    SOFT_FALLOFF,
    Suspicion,
    strength,
)


def overfitted(e: Evidence) -> Suspicion:
    v = e.values
    if "chain.gap" not in v:
        return Suspicion(0.0)
    alike = 1 - strength(v.get("shift.effect", 0.0), HALF_EFFECT)
    sentences = [
        f"{v['chain.train']:.1f} dB on training pictures, {v['chain.held_out']:.1f} dB on others; the pictures' own "
        f"difficulty explains {v['shift.difficulty']:+.1f} dB of that. {v['train.pictures']:.0f} training pictures."
    ]
    if v.get("history.parting", 0.0) > 0.1:
        sentences.append(
            f"The validation loss ended {v['history.parting']:.1f} dB above its lowest while training went on falling."
        )
    # Where the run's best model was kept, its gap is small; how far the run went on past it tells.
    marks = [v.get(f"history.psnr_{name}", 0.0) for name in ("last", "best")]
    kept_best = abs(v["quality.psnr"] - marks[1]) < abs(v["quality.psnr"] - marks[0])
    lost = max(v["chain.gap"], v.get("history.parting", 0.0) * kept_best)
    return Suspicion(strength(lost) * min(1.0, 2 * alike), tuple(sentences))


def mismatch(e: Evidence) -> Suspicion:
    v = e.values
    effect = v.get("shift.effect", 0.0)
    if not effect:
        return Suspicion(0.0)
    apart = strength(effect, HALF_EFFECT)
    harm = strength(abs(v.get("chain.gap", 0.0)))
    return Suspicion(
        (1 - (1 - apart) * (1 - apart * harm)) * (1 - _duller(v)),
        (
            f"{e.words['shift.effect'].capitalize()}: held-out pictures lie {effect:.1f} standard deviations from "
            "training pictures.",
            f"Beyond the pictures' own difficulty the model loses {v.get('chain.gap', 0.0):+.1f} dB on them.",
        ),
    )


def _duller(v: Mapping[str, float]) -> float:
    """How surely the training pictures are blurred: less fine detail than the others, and soft in themselves."""
    apart = strength(v.get("shift.fine_detail", 0.0), HALF_EFFECT)
    return apart * strength(v.get("train.falloff", 0.0) - SHARP_FALLOFF, (SOFT_FALLOFF - SHARP_FALLOFF) / 3)


def blurred_target(v: Mapping[str, float], training: TrainConfig | None) -> Suspicion:
    sentences = []
    taught = max(v.get("blur.preference", 0.0) - v.get("blur.preference_linear", 0.0), 0.0)
    repair = v.get("filter.repair", 0.0)
    duller, soft = v.get("shift.fine_detail", 0.0), v.get("train.falloff", 0.0)
    confidence = max(strength(taught), strength(repair), _duller(v), strength(soft - SOFT_FALLOFF))
    if taught > 0.1:
        sentences.append(
            f"The model matches originals blurred by {v['blur.sigma']:g} px {v['blur.preference']:.1f} dB better than "
            f"sharp ones; a linear code as good as it, {v['blur.preference_linear']:.1f} dB."
        )
    if repair > 0.1:
        sentences.append(f"One fixed sharpening filter would repair {repair:.1f} dB: the detail is there, too weak.")
    if soft > SOFT_FALLOFF:
        sentences.append(
            f"The power of the training pictures falls {soft:.1f} times by half in the last octave; sharp photos, "
            f"at most {SHARP_FALLOFF:g} times."
        )
    if duller > 0.3:
        sentences.append(f"The training pictures have less fine detail than the others ({duller:.1f} std. deviations).")
    if training is not None and training.augment == "degraded_target":
        confidence = max(confidence, DEGRADED_TARGET)
        sentences.append("train.augment = degraded_target: two thirds of the targets were blurred, noisy or covered.")
    return Suspicion(confidence, tuple(sentences))


def colour(v: Mapping[str, float]) -> Suspicion:
    if "colour.repair" not in v:
        return Suspicion(0.0)
    bias = ", ".join(f"{name} {v[f'colour.bias_{name}']:+.3f}" for name in ("red", "green", "blue"))
    return Suspicion(
        strength(v["colour.repair"]),
        (f"One fixed colour matrix would repair {v['colour.repair']:.1f} dB; bias of the channels: {bias}.",),
    )


def grey(v: Mapping[str, float]) -> Suspicion:
    losses = [v[name] for name in ("grey.loss", "grey.matched_loss") if name in v]
    if not losses:
        return Suspicion(0.0)
    # A model that is poor in all colours tints grey pictures no more than it errs in the colour of others.
    cast = v.get("grey.cast", 0.0) - v.get("grey.cast_colour", 0.0)
    everywhere = max(v.get("colour.repair", 0.0), 0.0)  # a colour that is wrong in all pictures is not the grey ones'
    sentences = []
    if "grey.loss" in v:
        sentences.append(f"Grey pictures lose {v['grey.loss']:+.1f} dB more than a linear code explains.")
    if "grey.matched_loss" in v:
        sentences.append(f"The same pictures turned grey lose {v['grey.matched_loss']:+.1f} dB.")
    if "grey.cast" in v:
        sentences.append(f"Grey pictures come back with a chroma of {255 * v['grey.cast']:.1f} of 255 levels.")
    tinted = strength(cast, HALF_CAST) * (1 - strength(everywhere))
    return Suspicion(max(strength(max(losses) - everywhere), tinted), tuple(sentences))
