"""One rule a cause: what it costs by the evidence, and how sure that is (`suspicion`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ear_teacher.config import LossConfig, TrainConfig
from ear_teacher.diagnosis.chain import Chain, chain_of
from ear_teacher.diagnosis.measure import Evidence
from ear_teacher.diagnosis.picture_causes import blurred_target, colour, grey, mismatch, overfitted
from ear_teacher.diagnosis.suspicion import (
    DEAD_USE,
    HALF_DB,
    HALF_HARM,
    HALF_INFORMATION,
    HALF_SHARE,
    Suspicion,
    strength,
)

CAUSES = {
    "healthy": "healthy",
    "collapse": "true posterior collapse",
    "over_regularised": "over-regularised: the weight of the KL is too high for the wanted sharpness",
    "latent_too_small": "the latent is too small",
    "no_detail_path": "the encoder has no path for detail",
    "weak_decoder": "the decoder is too weak or dead",
    "unfinished": "the optimisation is unfinished",
    "diverged": "the training diverged",
    "overfitted": "overfitted",
    "drowned": "the perceptual, structural or focal term drowns the pixels",
    "blurred_target": "the training target itself is blurred or degraded",
    "colour": "the colour normalisation is wrong",
    "grey": "greyscale is handled differently from colour",
    "mismatch": "training and held-out pictures do not match",
}
"""Key of each cause -> its name."""


def suspect(evidence: Evidence, loss: LossConfig | None, training: TrainConfig | None) -> dict[str, Suspicion]:
    """Every cause but `healthy` with its confidence, each by its own rule."""
    if evidence.values.get("model.broken"):
        return {"diverged": Suspicion(1.0, ("The model gives NaN or infinite numbers.",))}
    chain = chain_of(evidence.values)
    rules: dict[str, Callable[[], Suspicion]] = {
        "collapse": lambda: _collapse(evidence.values),
        "diverged": lambda: _diverged(evidence.values, chain),
        "overfitted": lambda: overfitted(evidence),
        "mismatch": lambda: mismatch(evidence),
        "blurred_target": lambda: blurred_target(evidence.values, training),
        "colour": lambda: colour(evidence.values),
        "grey": lambda: grey(evidence.values),
    }
    if chain is not None:
        rules |= {
            "over_regularised": lambda: _over_regularised(evidence.values, chain),
            "latent_too_small": lambda: _latent_too_small(evidence.values, chain),
            "no_detail_path": lambda: _no_detail_path(evidence.values, chain),
            "weak_decoder": lambda: _weak_decoder(evidence.values, chain),
            "unfinished": lambda: _unfinished(evidence.values, chain),
            "drowned": lambda: _drowned(evidence.values, chain, loss),
        }
    return {cause: rule() for cause, rule in rules.items()}


def _collapse(v: Mapping[str, float]) -> Suspicion:
    told = v["posterior.information"]
    confidence = HALF_INFORMATION / (HALF_INFORMATION + told)
    # A code still on its way out: the weight leaves no room for one, and the decoder has stopped listening.
    room = v.get("limit.kl", math.inf)
    leaving = HALF_INFORMATION / (HALF_INFORMATION + room) * DEAD_USE / (DEAD_USE + max(v["decoder.use"], 0.0))
    return Suspicion(
        max(confidence if v["posterior.kl"] < v["posterior.information_cap"] else 0.0, leaving),
        (
            f"KL {v['posterior.kl']:.2f} nats; a code that tells pictures apart has at least ln 2 = 0.69, and this one "
            f"says {told:.2f} nats about which picture it came from.",
            f"With its own code a picture is decoded {v['decoder.use']:+.2f} dB better than with another picture's; "
            f"{100 * v['posterior.collapsed']:.0f} % of the dimensions carry less than 0.01 nats.",
        ),
    )


def _over_regularised(v: Mapping[str, float], c: Chain) -> Suspicion:
    allowed = max(min(c.plain, c.floats), c.model)
    lost = min(c.wish, c.floats) - allowed
    sentences = []
    if math.isfinite(c.weight):
        sentences.append(
            f"At kl_weight {v['limit.kl_weight']:g} the best linear-Gaussian code gives KL {v['limit.kl']:.0f} nats "
            f"and {c.weight:.1f} dB under this loss; this model has KL {v['posterior.kl']:.0f} and {c.model:.1f} dB."
        )
    else:  # the weight is not known: the measured rate has to stand for it, as far as the model makes use of it
        harder = c.floats - v["limit.floats"]
        at_rate = v["limit.at_measured_kl"] + harder
        lost = min(c.wish, c.floats) - max(at_rate, c.model) - max(at_rate - c.model, 0)
        sentences.append(
            f"At the measured KL of {v['posterior.kl']:.0f} nats the best linear-Gaussian code gives {at_rate:.1f} dB; "
            f"this model gives {c.model:.1f} dB."
        )
    if "limit.kl_for_wish" in v:
        sentences.append(f"{c.wish:g} dB need about {v['limit.kl_for_wish']:.0f} nats.")
    return Suspicion(strength(lost), tuple(sentences))


def _latent_too_small(v: Mapping[str, float], c: Chain) -> Suspicion:
    lost = c.wish - max(c.floats, c.model)
    active = v["posterior.active_units"] / v["posterior.floats"]
    return Suspicion(
        strength(lost),
        (
            f"The best linear code of {v['posterior.floats']:.0f} floats gives {c.floats:.1f} dB, whatever its rate; "
            f"{c.wish:g} dB are wanted.",
            f"{100 * active:.0f} % of the dimensions are active.",
        ),
    )


def _no_detail_path(v: Mapping[str, float], c: Chain) -> Suspicion:
    if "chain.readout_linear" not in v:
        return Suspicion(0.0)
    frozen = v.get("encoder.frozen", 0.0)
    rest = 1 - (1 - frozen) * c.unfinished if c.short else 0.0
    allowed = f" where the weight allows {v['limit.kl']:.0f}" if "limit.kl" in v else ""
    return Suspicion(
        strength(c.encoder * rest),
        (
            f"The best picture found in the code has {c.code:.1f} dB; a map fitted in the same way reads "
            f"{v['chain.readout_linear']:.1f} dB from a linear code of as many floats: the encoder left "
            f"{c.encoder:.1f} dB behind. Its KL is {v['posterior.kl']:.0f} nats{allowed}.",
            *(
                [f"{100 * frozen:.0f} % of its backbone's weights are frozen: training cannot mend them."]
                if frozen
                else []
            ),
        ),
    )


def _weak_decoder(v: Mapping[str, float], c: Chain) -> Suspicion:
    rest = 1 - c.unfinished
    sentences = [
        f"A linear map reads {v.get('chain.readout', c.model):.1f} dB from the code; the decoder makes "
        f"{c.model:.1f} dB of it."
    ]
    # Deaf: there is something to hear, the weight leaves room for it, and the decoder does not listen.
    told, room = v["posterior.information"], v.get("limit.kl", math.inf)
    deaf = DEAD_USE / (DEAD_USE + max(v["decoder.use"], 0.0))
    deaf *= (1 - HALF_INFORMATION / (HALF_INFORMATION + told)) * (1 - HALF_INFORMATION / (HALF_INFORMATION + room))
    if deaf > 0.5:
        sentences.append(
            f"The code knows its picture ({v['posterior.information']:.1f} of {v['posterior.information_cap']:.1f} "
            f"measurable nats), and the decoder does not listen: own against another's code {v['decoder.use']:+.2f} dB."
        )
    return Suspicion(max(strength(c.decoder * rest), deaf * rest), tuple(sentences))


def _unfinished(v: Mapping[str, float], c: Chain) -> Suspicion:
    sentences = [
        f"The model is {c.short:.1f} dB below what its size and weight allow, after {v.get('history.steps', 0):.0f} "
        f"steps, {v.get('history.epochs', math.nan):.1f} epochs."
    ]
    if "history.left" in v:
        sentences.append(
            f"The last doubling of the run brought {v['history.doubling']:+.2f} dB; at that pace ten times as many "
            f"steps would bring {v['history.left']:.1f} dB more."
        )
    if "history.reach" in v:
        sentences.append(
            "From random weights its learning rates could have moved a weight by at most "
            f"{v['history.reach']:.1f} times its size."
        )
    return Suspicion(strength(c.left), tuple(sentences))


def _diverged(v: Mapping[str, float], c: Chain | None) -> Suspicion:
    sentences = []
    rise = v.get("history.rise", 0.0)
    confidence = strength(rise)
    if v.get("history.broken"):
        confidence = 1.0
        sentences.append("The history holds NaN or infinite numbers.")
    spike = min(v.get("history.spike", 0.0), c.short if c is not None else math.inf)
    if spike > HALF_DB:
        confidence = max(confidence, strength(spike))
        sentences.append(f"The loss rose by {v['history.spike']:.1f} dB on the way, and the model has not come back.")
    if rise > 0.05:
        sentences.append(f"Training and validation loss ended {rise:.1f} dB above their lowest.")
    worse = v.get("chain.average_picture", -math.inf) - v.get("chain.train", v.get("chain.held_out", 0.0))
    if worse > 0:
        sentences.append(f"The model is {worse:.1f} dB worse than the average picture, which needs no code at all.")
        # One colour matrix may be all that is wrong; and a run that never began is worse than the average as well.
        worse = (worse - max(v.get("colour.repair", 0.0), 0.0)) * (1 - (c.unfinished if c is not None else 0.0))
        confidence = max(confidence, strength(worse, 2 * HALF_DB))
    return Suspicion(confidence, tuple(sentences))


def _drowned(v: Mapping[str, float], c: Chain, loss: LossConfig | None) -> Suspicion:
    if loss is None or "gradient.cosine" not in v:
        return Suspicion(0.0)
    shares = {name.removeprefix("gradient.share_"): x for name, x in v.items() if name.startswith("gradient.share_")}
    pixels = shares.get("recon", 0.0)
    others = {name: share for name, share in shares.items() if name != "recon"}
    name = max(others, key=lambda key: others[key], default="focal")
    drowned = max(HALF_SHARE / (HALF_SHARE + pixels), 1 - v["gradient.cosine"]) if others else 0.0
    by_gradient = drowned * strength(c.short, HALF_HARM)  # what does no harm to the pixels is a matter of taste
    # Focal weighting weakens small errors against the KL; that shows in the forecast for the loss as it is.
    focal = max(min(c.plain, c.wish, c.floats) - max(c.weight, c.model), 0.0) if loss.focal else 0.0
    sentences = [
        f"At the reconstruction the pixel term has {100 * pixels:.0f} % of the gradient"
        + (f", {name} {100 * others[name]:.0f} %" if others else "")
        + f"; the whole pull has a cosine of {v['gradient.cosine']:.2f} with that of the squared error. "
        f"The model is {c.short:.1f} dB below what its size and weight allow."
    ]
    if focal > 0:
        sentences.append(
            f"With focal weighting the weight of the KL allows {c.weight:.1f} dB, without it {c.plain:.1f} dB."
        )
    return Suspicion(max(by_gradient, strength(focal)), tuple(sentences))
