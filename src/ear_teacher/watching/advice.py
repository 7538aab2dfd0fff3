"""The author's troubleshooting section as rules: when each applies, its command, and what will really happen.

    advice = blurry(run, params)
    advice.applies, advice.theirs, advice.effect, advice.instead

Conditions and effects are computed from the run, the forecast and the loss; none is taken on trust, theirs or ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ear_teacher.config import Variant, WatchConfig
from ear_teacher.forecast import at_kl, at_weight
from ear_teacher.linear import Energies
from ear_teacher.watching.commands import experiment

BLURRY_FROM = 30  # epochs
BLURRY = ((100.0, 1e-6), (50.0, 5e-6))  # nats above which they lower the weight, and to what
SHARP = 28.0  # dB, their target
WISHED_KL = 15.0  # nats, the upper end of what they call healthy
NOTABLE = 0.5  # dB below which nobody sees a picture get sharper
LIMITED = 1.0  # dB below the forecast at equal rate from which the rate is not what limits the pictures
CALMER = {"lr": 1e-4, "warmup_epochs": 10.0, "perceptual_weight": 0.5}
THEIR_EPOCHS = 100  # the run their warm-up of ten epochs belongs to
CLEAR = 1.05  # a smaller factor is no difference
COLOURS = {"loss.perceptual_weight": 1.0, "loss.ssim_weight": 0.5}

Judgement = Literal["right", "partly right", "wrong", "checked"]


@dataclass(frozen=True)
class Run:
    """A finished run, as far as the rules look.

    Attributes:
        variant: its params.
        epochs: its length.
        kl: nats, mean over the test pictures.
        psnr: dB of the mean squared error over the set, mean decoding.
        energies: along the linear code of the model's layout, held-out pictures.
        equivalent_weight: weight of a plain squared error that the forecast takes this loss for.
    """

    variant: Variant
    epochs: float
    kl: float
    psnr: float
    energies: Energies
    equivalent_weight: float


@dataclass(frozen=True)
class Advice:
    """One rule, applied.

    Attributes:
        problem: in their words.
        applies: whether the run has it.
        found: what was measured.
        theirs: their advice as a command; empty where there is nothing to run.
        judgement: whether their advice does what they say.
        effect: what will happen, and why.
        instead: another command; empty where none is needed.
        instead_for: what that one is for, where not for the same.
    """

    problem: str
    applies: bool
    found: str
    theirs: str
    judgement: Judgement
    effect: str
    instead: str = ""
    instead_for: str = ""


def blurry(run: Run, params: Mapping[str, Any]) -> Advice:
    """Still blurred after 30 epochs and the KL above 50 (100): lower the weight to 5e-6 (1e-6).

    The KL is the information in the code, so a lower weight raises it. Sharper it does make the pictures, unless
    they are blurred for another reason than the rate.
    """
    name, size, weight = run.variant.name, run.variant.model.latent_dim, run.variant.loss.kl_weight
    problem = f"still blurred after {BLURRY_FROM} epochs, KL still above {BLURRY[-1][0]:g}"
    found = f"KL {run.kl:.0f} nats and {run.psnr:.1f} dB after {run.epochs:.1f} epochs; sharp from {SHARP:g} dB"
    applies = run.kl > BLURRY[-1][0] and run.psnr < SHARP and run.epochs >= BLURRY_FROM
    advised = next((value for above, value in BLURRY if run.kl > above), BLURRY[-1][1])
    theirs = experiment(name, {"loss.kl_weight": advised}, params)
    wish = at_kl(run.energies, WISHED_KL, size)
    instead = experiment(name, {"loss.kl_weight": None, "loss.kl_target": WISHED_KL}, params)
    if name == "v0":  # v1 is laid over v0 and has a weight of its own, which a target excludes
        instead += " -S +baselines.v1.loss.kl_target=null"
    wish_for = f"For a KL of {WISHED_KL:g}"
    price = f"a KL of {WISHED_KL:g} is a blurred picture, {wish.psnr_sampled:.1f} dB by the forecast"
    if weight is None:
        effect = f"The weight follows loss.kl_target or loss.psnr_target here: lower the wished KL instead; {price}."
        return Advice(problem, applies, found, "", "wrong", effect, instead, wish_for)
    if weight == 0:
        return Advice(
            problem, applies, found, "", "wrong", f"The KL has no weight here, so it is free; {price}.", instead
        )
    now = at_weight(run.energies, run.equivalent_weight, size)
    then = at_weight(run.energies, run.equivalent_weight * advised / weight, size)
    change = (
        f"the forecast goes from {now.kl:.0f} to {then.kl:.0f} nats, and from {now.psnr_sampled:.1f} to "
        f"{then.psnr_sampled:.1f} dB of a sampled code"
    )
    if advised >= weight:
        effect = (
            f"The weight is {weight:g} already: theirs would not lower it. It lowers the KL and blurs the pictures: "
            f"{change}."
        )
        return Advice(problem, applies, found, theirs, "wrong", effect, instead, wish_for)
    sharper = then.psnr_sampled - now.psnr_sampled >= NOTABLE
    judgement: Judgement = "partly right" if sharper else "wrong"
    effect = (
        f"A lower weight raises the KL, which counts the information in the code: {change}. "
        f"{'Right for sharpness, wrong' if sharper else 'It hardly sharpens, and is wrong'} for the KL; {price}."
    )
    level = at_kl(run.energies, run.kl, size).psnr_mean
    if level - run.psnr > LIMITED:
        judgement = "wrong"
        effect += (
            f" And the rate is not what blurs this model: with these {run.kl:.0f} nats a linear code has "
            f"{level:.1f} dB, the model {run.psnr:.1f}."
        )
    return Advice(problem, applies, found, theirs, judgement, effect, instead, wish_for)


def diverged(variant: Variant, epochs: float, params: Mapping[str, Any], found: str = "") -> Advice:
    """The loss spikes: learning rate 1e-4, warm-up 10 epochs, perceptual weight 0.5.

    Each part is taken over where it calms this run. Theirs were changes of lr 3e-4 and a perceptual weight of 0.8 in
    a run of 100 epochs; from other starting points the same numbers could do the opposite.

    Args:
        variant: its params.
        epochs: length of the run, as planned.
        params: the content of params.yaml.
        found: what was seen; empty: no divergence.
    """
    train, loss = variant.train, variant.loss
    changes: dict[str, Any] = {}
    notes = []
    if train.lr > CALMER["lr"]:
        changes["train.lr"] = CALMER["lr"]
    else:
        changes["train.lr"] = float(f"{train.lr / 3:.2g}")
        notes.append(f"the learning rate is {train.lr:g} already, so it goes to a third")
    share = CALMER["warmup_epochs"] / epochs
    if share > 0.5:
        share = CALMER["warmup_epochs"] / THEIR_EPOCHS
        notes.append(f"ten epochs of warm-up do not fit {epochs:.1f}, so it is a tenth of the run, as in theirs")
    if share > train.warmup:
        changes["train.warmup"] = float(f"{share:.2g}")
    if loss.perceptual_weight > CALMER["perceptual_weight"]:
        changes["loss.perceptual_weight"] = CALMER["perceptual_weight"]
    elif loss.perceptual_weight > 0:
        notes.append(f"the perceptual weight stays {loss.perceptual_weight:g}: 0.5 would raise it")
    effect = "Smaller and slower first steps: right" + (f"; {'; '.join(notes)}" if notes else "") + "."
    again = experiment(variant.name, {"train.on_divergence": "recover"}, params)
    command = experiment(variant.name, changes, params)
    return Advice("training diverges", bool(found), found or "no divergence", command, "right", effect, again)


def wrong_colours(
    variant: Variant, colour_error: float, emphasis: Mapping[str, float], watch: WatchConfig, params: Mapping[str, Any]
) -> Advice:
    """Details improve but colours are wrong: perceptual weight 1.0, SSIM weight 0.5.

    Args:
        variant: its params.
        colour_error: CIEDE2000, mean over the test pictures.
        emphasis: `watching.colour.emphasis` of the loss as it is (`now`), with their weights (`theirs`), with twice
            the pixel weight (`pixel`) and without focal weighting (`plain`): what a colour cast costs, as a multiple of
            what a blur of equal size costs.
        watch: the threshold.
        params: the content of params.yaml.
    """
    found = f"CIEDE2000 {colour_error:.1f}, wrong above {watch.colour_error:g}"
    now, theirs, pixel, plain = (emphasis[key] for key in ("now", "theirs", "pixel", "plain"))
    helps, hurts = theirs > now * CLEAR, theirs < now / CLEAR
    effect = (
        f"In this loss a colour cast costs {now:.2f} times what a blur of the same squared error costs; with their "
        f"weights {theirs:.2f} times, with twice the pixel weight {pixel:.2f} times"
        + (f", without focal weighting {plain:.2f} times. " if variant.loss.focal else ". ")
    )
    if helps:
        effect += "So their change does turn the loss towards colour."
    else:
        effect += "Perceptual and structural terms see shape first: " + (
            "their change turns the loss away from colour." if hurts else "their change hardly matters for colour."
        )
    changes: dict[str, Any] = {}
    if not helps and plain > max(pixel, now * CLEAR):
        changes = {"loss.focal": "false"}
    elif not helps and pixel > now * CLEAR:
        changes = {"loss.recon_weight": 2 * variant.loss.recon_weight}
    return Advice(
        "details improve but colours are wrong",
        colour_error > watch.colour_error,
        found,
        experiment(variant.name, COLOURS, params),
        "right" if helps else "wrong",
        effect,
        experiment(variant.name, changes, params) if changes else "",
    )


def bad_grey(
    normalization: str,
    psnr: Mapping[str, float],
    colour_error: Mapping[str, float],
    watch: WatchConfig,
    backbone_statistics: str,
) -> Advice:
    """Greyscale pictures are bad: check the normalisation, or normalise colour and greyscale apart.

    Bad is a PSNR below that of the colour pictures, or a colour that greyscale pictures should not have.

    Args:
        normalization: `data.normalization`.
        psnr, colour_error: dB and CIEDE2000, means over the `colour` and the `grey` test pictures.
        watch: the thresholds.
        backbone_statistics: what the check of the backbone's input said.
    """
    gap = psnr["colour"] - psnr["grey"]
    tinted = colour_error["grey"] > watch.colour_error
    found = (
        f"greyscale {psnr['grey']:.2f} dB, {abs(gap):.2f} dB {'worse' if gap > 0 else 'better'} than colour; CIEDE2000 "
        f"{colour_error['grey']:.1f}, of colour pictures {colour_error['colour']:.1f}"
    )
    theirs = "dvc exp run -S data.normalization=per_group" if normalization == "shared" else ""
    effect = (
        "Normalisation is one and the same for all pictures, [0, 1] on the way in and out. "
        if normalization == "shared"
        else "Greyscale pictures are normalised apart already, so their errors count in their new contrast. "
    )
    effect += f"{backbone_statistics} "
    if tinted and colour_error["colour"] > watch.colour_error:
        effect += "Colour pictures are as far off, so the model knows too little of colour altogether: not a matter of "
        effect += "greyscale. "
    effect += "What separate normalisation does is measured in docs/greyscale.md."
    applies = gap > watch.grey_gap or tinted
    return Advice("greyscale pictures are bad", applies, found, theirs, "checked", effect)
