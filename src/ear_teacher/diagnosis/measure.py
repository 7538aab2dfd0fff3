"""All the evidence on one model, each number under one dotted name.

    evidence = measure(subject, wish=27)
    evidence.values["posterior.kl"], evidence.curves["spectrum"]

What could not be measured is absent, and `skipped` says why. Every PSNR of a `chain`, `limit` or `decoder` name is of
the mean squared error over the pictures, unclamped, the forecast's averaging; `quality` has the usual mean of the
pictures' own PSNRs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ear_teacher.data import to_tensor
from ear_teacher.diagnosis.appearance import blur_preference, colour, grey_against_colour, region_detail, spectrum
from ear_teacher.diagnosis.limits import Limits, difficulty, limits_of, noisy_linear_codes
from ear_teacher.diagnosis.objective import gradients
from ear_teacher.diagnosis.posterior import calibration, posterior_health
from ear_teacher.diagnosis.progress import progress
from ear_teacher.diagnosis.readout import readout
from ear_teacher.diagnosis.shift import falloff, shift
from ear_teacher.diagnosis.subject import Numbers, Subject, decode, encode, evenly, grey_pictures, pooled_psnr
from ear_teacher.evaluation import codes_of_size
from ear_teacher.linear import LinearCode, fit_codes
from ear_teacher.losses import Loss, perceptual_trunk
from ear_teacher.metrics.detail import LUMINANCE
from ear_teacher.metrics.quality import Nets, measure_pictures

PICTURES = 48
"""Held-out pictures, and as many training pictures, that go through encoder and decoder."""
FITTED = 256
"""Further training pictures whose codes the linear readout is fitted on."""
COMPARED = 192
"""Pictures of each set that are compared without the model."""
GRADIENT_PICTURES = 12
FEWEST_FITTED = 64


@dataclass
class Evidence:
    """Everything that was measured.

    Attributes:
        values: dotted name -> number.
        curves: name -> table for a plot.
        words: name -> a word that belongs to a number (which quantity differs most).
        skipped: what was not measured, one sentence each.
        limits: the forecast for this model; None where there were too few pictures for it.
    """

    values: dict[str, float] = field(default_factory=dict)
    curves: dict[str, pd.DataFrame] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    limits: Limits | None = None


def measure(subject: Subject, wish: float, seed: int = 0) -> Evidence:
    """Take the evidence.

    Args:
        subject: what is diagnosed.
        wish: wanted PSNR in dB.
        seed: of all samples.
    """
    found = Evidence()
    found.values["wish.psnr"] = wish
    if subject.history is None or subject.history.empty:
        found.skipped.append("How the training went: there is no history.csv.")
    else:
        found.values |= progress(subject.history).values
    backbone = getattr(subject.model.encoder, "backbone", None)
    if isinstance(backbone, nn.Module):
        sizes = [(p.numel(), p.requires_grad) for p in backbone.parameters()]
        found.values["encoder.frozen"] = sum(n for n, learns in sizes if not learns) / sum(n for n, _ in sizes)
    weights = [p.detach() for p in subject.model.decoder.parameters() if p.ndim > 1]
    sizes_of_weights = [float(w.square().mean().sqrt()) for w in weights]
    # A warm start is where it should be already; only what began at random has a way to go.
    if "history.travel" in found.values and subject.model.config.warm_start == "none" and sizes_of_weights:
        found.values["history.reach"] = found.values["history.travel"] / max(float(np.median(sizes_of_weights)), 1e-12)
    held_out = subject.held_out[evenly(len(subject.held_out), PICTURES)]
    _compare_sets(subject, held_out, found)
    mean, logvar = encode(subject.model, held_out)
    originals = to_tensor(held_out)
    recon = decode(subject.model, mean)
    if not (mean.isfinite().all() and logvar.isfinite().all() and recon.isfinite().all()):
        found.values["model.broken"] = 1.0
        found.skipped.append("Everything that needs a reconstruction: the model gives NaN or infinite numbers.")
        return found
    found.values["model.broken"] = 0.0
    _add(found, posterior_health(subject.model, mean, logvar, originals, seed))
    trunk = subject.lpips_net if getattr(subject.lpips_net, "pnet_type", "") == "alex" else None
    table = measure_pictures(originals, recon, Nets(alex=trunk)).mean()
    found.values |= {f"quality.{name}": float(value) for name, value in table.items() if np.isfinite(value)}
    average = originals.mean(0, keepdim=True).expand_as(originals)
    found.values["chain.average_picture"] = pooled_psnr(originals, average)
    found.values["chain.held_out"] = pooled_psnr(originals, recon)
    codes = _codes(subject, found)
    if not codes:
        return found
    line = _limits(subject, held_out, originals, codes, logvar, found)
    _pictures(subject, originals, recon, line, held_out, found)
    _training_side(subject, codes, seed, found)
    return found


def _add(found: Evidence, numbers: Numbers) -> None:
    found.values |= numbers.values
    found.curves |= numbers.curves


def _compare_sets(subject: Subject, held_out: NDArray[np.uint8], found: Evidence) -> None:
    """Held-out against training pictures, without the model."""
    if subject.train is None:
        found.skipped.append("Overfitting, and whether both sets are alike: the training pictures are not at hand.")
        return
    found.values["train.pictures"] = float(subject.train_count or len(subject.train))
    train = subject.train[evenly(len(subject.train), COMPARED)]
    others = subject.held_out[evenly(len(subject.held_out), COMPARED)]
    floats = subject.model.config.latent_dim
    found.values["shift.difficulty"] = difficulty(train, floats) - difficulty(held_out, floats)
    found.values["train.falloff"] = float(np.median(falloff(train)))
    size, name, table = shift(train, others)
    if name:
        found.values["shift.effect"] = size
        found.words["shift.effect"] = name
        found.curves["shift"] = table
        fine = table.set_index("quantity")["effect"].to_dict()["fine detail"]
        found.values["shift.fine_detail"] = float(fine)


def _codes(subject: Subject, found: Evidence) -> dict[str, LinearCode]:
    """The linear codes that stand beside the model, fitted here where none were given."""
    if subject.codes:
        return dict(subject.codes)
    if subject.train is None or len(subject.train) < FEWEST_FITTED:
        found.skipped.append(
            f"Everything beside a linear code: it takes at least {FEWEST_FITTED} training pictures to fit one."
        )
        return {}
    floats = subject.model.config.latent_dim
    longest = min(max(2 * floats, 1024), subject.model.image_size**2)
    fitted = fit_codes(subject.train, np.arange(len(subject.train)), (1, 4, 8), longest)
    return {"pca" if grid == 1 else f"klt_{grid}x{grid}": code for grid, code in fitted.items()}


def final_weight(subject: Subject) -> float | None:
    """The weight of the KL at the end of the run: the loss's, or where a target found it the history's."""
    if subject.loss is not None and subject.loss.kl_weight is not None:
        return subject.loss.kl_weight
    if subject.history is not None and "kl_weight" in subject.history and len(subject.history):
        return float(subject.history["kl_weight"].iloc[-1])
    return None


def _limits(
    subject: Subject,
    held_out: NDArray[np.uint8],
    originals: Tensor,
    codes: dict[str, LinearCode],
    logvar: Tensor,
    found: Evidence,
) -> Tensor:
    """The lines the model is judged by; returns the held-out pictures through the best linear code of its size."""
    floats, values = subject.model.config.latent_dim, found.values
    loss, net = subject.loss, subject.lpips_net
    if loss is not None and perceptual_trunk(loss) is not None and getattr(net, "pnet_type", "") != "alex":
        found.skipped.append("The perceptual term's part in the forecast and in the gradients: only LPIPS-alex is run.")
        loss, net = loss.model_copy(update={"perceptual_weight": 0.0}), None
    weight = final_weight(subject)
    if weight is None:
        found.skipped.append("What the weight of the KL allows: the weight is not known (no params or history).")
    elif loss is None:
        found.skipped.append("The model's own loss: it is not known, so its weight is taken for a squared error's.")
    sample = held_out if subject.train is None else subject.train
    limits = limits_of(codes, held_out, sample, floats, loss, weight, net)
    found.limits = limits
    values["limit.floats"] = limits.equal_floats
    at_rate = limits.at_rate(values["posterior.kl"])
    values["limit.at_measured_kl"] = at_rate.psnr_mean
    needed = limits.needed(values["wish.psnr"])
    if needed is not None:
        values["limit.kl_for_wish"] = needed.kl
    if limits.own is not None and limits.plain is not None and weight is not None:
        own = limits.best(limits.own.theta)
        values |= {"limit.weight": own.psnr_mean, "limit.kl": own.kl, "limit.theta": limits.own.theta}
        values["limit.weight_squared_error"] = limits.best(limits.plain.theta).psnr_mean
        values["limit.kl_weight"] = weight
        pixels = next(iter(limits.sized.values())).pixels
        values |= calibration(values, limits.own.theta, logvar, pixels)
    best = codes_of_size(codes, floats)[limits.code]
    return (best.decode(best.encode(2 * originals - 1)) + 1) / 2


def _pictures(
    subject: Subject,
    originals: Tensor,
    recon: Tensor,
    line: Tensor,
    held_out: NDArray[np.uint8],
    found: Evidence,
) -> None:
    """What the reconstructions of the held-out pictures look like."""
    for part in (spectrum(originals, recon), colour(originals, recon)):
        _add(found, part)
    found.curves["spectrum"]["linear"] = spectrum(originals, line).curves["spectrum"]["reconstruction"]
    grey = grey_pictures(held_out)
    turned = None
    if (~grey).any():
        weights = torch.tensor(LUMINANCE).view(1, 3, 1, 1)
        light = (originals[torch.from_numpy(~grey)] * weights).sum(1, keepdim=True).expand(-1, 3, -1, -1)
        with torch.no_grad():
            made = torch.cat([subject.model.decode(subject.model.encode(x).mode) for x in light.split(16)])
        turned = (light, made)
    found.values |= grey_against_colour(originals, recon, line, grey, turned)
    if subject.regions is not None:
        regions = subject.regions[evenly(len(subject.held_out), PICTURES)]
        found.curves["regions"] = region_detail(originals, recon, line, regions, subject.region_names)


def _training_side(subject: Subject, codes: dict[str, LinearCode], seed: int, found: Evidence) -> None:
    """What only training pictures can tell: the gap, the readout, the gradients, the taught blur."""
    values, model = found.values, subject.model
    if subject.train is None:
        return
    probe = evenly(len(subject.train), PICTURES)
    pictures = subject.train[probe]
    originals = to_tensor(pictures)
    mean, _ = encode(model, pictures)
    recon = decode(model, mean)
    values["chain.train"] = pooled_psnr(originals, recon)
    values["chain.gap"] = values["chain.train"] - values["chain.held_out"] - values["shift.difficulty"]
    sized = codes_of_size(codes, model.config.latent_dim)
    own_layout = [code for code in sized.values() if code.grid == model.config.grid]
    assert found.limits is not None
    code = own_layout[0] if own_layout else sized[found.limits.code]
    rest = np.setdiff1d(np.arange(len(subject.train)), probe)
    rest = rest[evenly(len(rest), FITTED)]
    if len(rest) < FEWEST_FITTED:
        found.skipped.append("What a linear map reads from the code: there are too few training pictures to fit it.")
    else:
        fitted, targets = subject.train[rest], to_tensor(subject.train[rest])
        theta = values.get("limit.theta", 1e-6)
        fit_mean, fit_logvar = encode(model, fitted)
        noise = torch.randn(fit_mean.shape, generator=torch.Generator().manual_seed(seed))
        made = readout(fit_mean + (fit_logvar / 2).exp() * noise, targets, mean)
        values["chain.readout"] = pooled_psnr(originals, made)
        samples, _ = noisy_linear_codes(code, fitted, theta, seed)
        _, means = noisy_linear_codes(code, pictures, theta, seed)
        values["chain.readout_linear"] = pooled_psnr(originals, readout(samples, targets, means))
    as_good = _as_good_as(code, originals, values["chain.train"])
    values |= blur_preference(originals, recon, as_good)
    if subject.loss is not None:
        if perceptual_trunk(subject.loss) is not None and getattr(subject.lpips_net, "pnet_type", "") != "alex":
            return
        weight = final_weight(subject) or 0.0
        loss = Loss(subject.loss.model_copy(update={"kl_weight": weight}), subject.lpips_net)
        values |= gradients(model, loss, originals[:GRADIENT_PICTURES], seed)


def _as_good_as(code: LinearCode, originals: Tensor, psnr: float) -> Tensor:
    """The pictures through the code, cut to the fewest coefficients that reach a PSNR."""
    low, high = 1, len(code.basis)
    while low < high:
        middle = (low + high) // 2
        made = _through(code.truncated(middle * code.grid**2), originals)
        low, high = (low, middle) if pooled_psnr(originals, made) >= psnr else (middle + 1, high)
    return _through(code.truncated(low * code.grid**2), originals)


def _through(code: LinearCode, originals: Tensor) -> Tensor:
    return (code.decode(code.encode(2 * originals - 1)) + 1) / 2
