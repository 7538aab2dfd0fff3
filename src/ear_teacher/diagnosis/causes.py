"""One rule a cause: what it costs by the evidence, and how sure that is.

The rules share one scale. A picture passes through size of the code, weight of the KL, encoder, decoder and output, and
each of them can lose some of what came in. What is lost is measured in dB against what the step could have kept at
best, and

    confidence = loss / (loss + 1.5 dB)

so that a loss of 1.5 dB, three tenths of the squared error, is as likely a fault as not. Evidence in other units has a
half-way point of its own, named below. Causes that explain others take their part of the loss with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ear_teacher.augmentation import CHANCE
from ear_teacher.config import LossConfig, TrainConfig
from ear_teacher.diagnosis.measure import Evidence

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

HALF_DB = 1.5
"""dB lost that make a fault as likely as not: three tenths of the squared error."""
HALF_INFORMATION = math.log(2)
"""Nats: a code that says less cannot tell two pictures apart."""
HALF_EFFECT = 1.2
"""Standard deviations between training and held-out pictures: a "very large" effect (Sawilowsky 2009)."""
HALF_REACH = 2.0
"""Of its own size: how far Adam could have moved a weight that began at random, by at most the learning rate a step
(Kingma & Ba 2015, section 2.1). A run that cannot have turned its weights over has hardly left its start."""
HALF_SHARE = 0.1
"""Share of the gradient at the reconstruction that the pixel term needs to have a say."""
HALF_HARM = 0.3
"""dB below the linear lines that a loss pulling elsewhere must cost to be blamed: above the noise of 48 pictures."""
HALF_CAST = 0.05
"""Root mean square chroma in [0, 1] of pictures that should have none: about 13 of 255 levels, plainly visible."""
DEAD_USE = 0.5
"""dB that a picture's own code is better than another's: a decoder that listens gains more even from one nat."""
DEGRADED_TARGET = 1 - (1 - CHANCE) ** 3
"""Share of the targets that `augment: degraded_target` blurs, makes noisy or covers."""
SHARP_FALLOFF = 4.0
"""Halvings of power in the last octave that sharp photos have at most (1 / f^2 of natural scenes, and a lens)."""
SOFT_FALLOFF = 5.5
"""The same where pictures are soft beyond doubt: a blur of 0.7 pixels, or an enlargement by a half."""


@dataclass(frozen=True)
class Suspicion:
    """How likely a cause is.

    Attributes:
        confidence: in [0, 1].
        evidence: sentences with the numbers behind it.
    """

    confidence: float
    evidence: tuple[str, ...] = ()


def strength(value: float, half: float = HALF_DB) -> float:
    """0 at and below 0, 1/2 at `half`, towards 1 beyond."""
    return value / (value + half) if value > 0 else 0.0


@dataclass(frozen=True)
class Chain:
    """Where the decibels go, on pictures as hard as the training pictures.

    Attributes:
        wish: wanted PSNR.
        floats: best linear code of the model's size, no limit on the rate.
        weight: best linear-Gaussian code of that size at the weight of the KL.
        plain: the same, were the reconstruction term a plain squared error.
        code: what the code holds: the better of a linear readout and the model itself.
        model: the model.
        encoder, decoder: dB lost there.
        left: dB of the shortfall that longer training would bring.
    """

    wish: float
    floats: float
    weight: float
    plain: float
    code: float
    model: float
    encoder: float
    decoder: float
    left: float

    @property
    def short(self) -> float:
        """dB by which the model stays below what size and weight allow."""
        return max(min(self.floats, self.weight) - self.model, 0.0)

    @property
    def unfinished(self) -> float:
        """Share of the shortfall that longer training would make up."""
        return self.left / self.short if self.short else 0.0


def chain_of(values: Mapping[str, float]) -> Chain | None:
    """The chain, from the evidence; None where no linear code stands beside the model."""
    if "limit.floats" not in values:
        return None
    model = values.get("chain.train", values["chain.held_out"])
    harder = values.get("shift.difficulty", 0.0)
    floats = values["limit.floats"] + harder
    weight = values.get("limit.weight", math.inf) + harder
    plain = values.get("limit.weight_squared_error", math.inf) + harder
    short = max(min(floats, weight) - model, 0.0)
    readout = values.get("chain.readout", model)
    code = max(readout, model)
    encoder = min(max(values.get("chain.readout_linear", code) - code, 0.0), short)
    # A wrong colour is the output's fault; the decoder answers for what a colour matrix does not repair.
    decoder = max(readout - model - max(values.get("colour.repair", 0.0), 0.0), 0.0)
    left = min(values.get("history.left", 0.0), short)
    if "history.reach" in values:
        left = max(left, short * HALF_REACH / (HALF_REACH + values["history.reach"]))
    return Chain(values["wish.psnr"], floats, weight, plain, code, model, encoder, decoder, left)


def suspect(evidence: Evidence, loss: LossConfig | None, training: TrainConfig | None) -> dict[str, Suspicion]:
    """Every cause but `healthy` with its confidence, each by its own rule."""
    if evidence.values.get("model.broken"):
        return {"diverged": Suspicion(1.0, ("The model gives NaN or infinite numbers.",))}
    chain = chain_of(evidence.values)
    rules: dict[str, Callable[[], Suspicion]] = {
        "collapse": lambda: _collapse(evidence.values),
        "diverged": lambda: _diverged(evidence.values, chain),
        "overfitted": lambda: _overfitted(evidence),
        "mismatch": lambda: _mismatch(evidence),
        "blurred_target": lambda: _blurred_target(evidence.values, training),
        "colour": lambda: _colour(evidence.values),
        "grey": lambda: _grey(evidence.values),
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


def _overfitted(e: Evidence) -> Suspicion:
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


def _mismatch(e: Evidence) -> Suspicion:
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


def _duller(v: Mapping[str, float]) -> float:
    """How surely the training pictures are blurred: less fine detail than the others, and soft in themselves."""
    apart = strength(v.get("shift.fine_detail", 0.0), HALF_EFFECT)
    return apart * strength(v.get("train.falloff", 0.0) - SHARP_FALLOFF, (SOFT_FALLOFF - SHARP_FALLOFF) / 3)


def _blurred_target(v: Mapping[str, float], training: TrainConfig | None) -> Suspicion:
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


def _colour(v: Mapping[str, float]) -> Suspicion:
    if "colour.repair" not in v:
        return Suspicion(0.0)
    bias = ", ".join(f"{name} {v[f'colour.bias_{name}']:+.3f}" for name in ("red", "green", "blue"))
    return Suspicion(
        strength(v["colour.repair"]),
        (f"One fixed colour matrix would repair {v['colour.repair']:.1f} dB; bias of the channels: {bias}.",),
    )


def _grey(v: Mapping[str, float]) -> Suspicion:
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
