"""For each cause the exact next command, and the effect the forecast expects of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ear_teacher.config import Config

if TYPE_CHECKING:
    from ear_teacher.diagnosis.chain import Chain
    from ear_teacher.diagnosis.measure import Evidence
    from ear_teacher.diagnosis.subject import Subject


def keys_of(params: Mapping[str, Any], prefix: str = "") -> frozenset[str]:
    """The dotted names of every key of a params mapping."""
    found: set[str] = set()
    for key, value in params.items():
        found.add(prefix + key)
        if isinstance(value, dict):
            found |= keys_of(value, f"{prefix}{key}.")
    return frozenset(found)


USUAL_RATE = 3e-4
"""Adam's learning rate below which a run from random weights takes longer than it need to; v0's."""


def _declared(key: str) -> bool:
    """Whether the typed params have such a key."""
    kind: Any = Config
    for part in key.split("."):
        fields = getattr(kind, "model_fields", {})
        if part not in fields:
            return False
        kind = fields[part].annotation
    return True


@dataclass(frozen=True)
class Address:
    """Where the keys of a variant stand in params.yaml.

    Attributes:
        variant: `current`, `v0` or `v1`.
        keys: every dotted key of params.yaml; empty: all keys of the current model stand there.
    """

    variant: str = "current"
    keys: frozenset[str] = frozenset()

    def of(self, key: str) -> str | None:
        """The full name of `loss.kl_weight` and the like for this variant; None: no such key in params.yaml."""
        section = key.split(".")[0]
        own = self.variant != "current" and section in ("model", "loss", "train")
        # v1 is laid over v0, so what v1 does not set is set where v0 stands.
        places = {"v1": ("baselines.v1.", "baselines.v0."), "v0": ("baselines.v0.",)}.get(self.variant, ("",))
        for name in [place + key for place in places] if own else [key]:
            if name in self.keys or (not self.keys and _declared(key)):
                return name
        return None

    def command(self, **changes: object) -> str:
        """`dvc exp run` with each `section__key=value` that this variant has."""
        parts = []
        for name, value in changes.items():
            key = self.of(name.replace("__", "."))
            if key is not None:
                text = "null" if value is None else f"{value:.2g}" if isinstance(value, float) else str(value)
                part = f"{key}={text}"
                parts.append(f"-S '{part}'" if "[" in part else f"-S {part}")
        return " ".join(["dvc exp run", *parts])


def advise(cause: str, subject: Subject, evidence: Evidence, chain: Chain | None, address: Address) -> tuple[str, str]:
    """The command and the expected effect, one sentence, of one cause."""
    v = evidence.values
    if cause == "over_regularised":
        return _lower_weight(subject, evidence, chain, address)
    if cause == "collapse":
        if v.get("limit.kl", math.inf) < 5:
            return _lower_weight(subject, evidence, chain, address)
        if address.of("loss.kl_warmup_epochs"):
            return address.command(loss__kl_warmup_epochs=2), (
                f"The weight allows {v.get('limit.kl', math.nan):.0f} nats: let the code form before the KL acts."
            )
        return address.command(model__warm_start="klt"), "The run starts with a code that is in use."
    if cause == "latent_too_small":
        return _more_floats(subject, evidence, address)
    if cause in ("no_detail_path", "weak_decoder"):
        return _linear_start(subject, evidence, address)
    if cause == "unfinished":
        steps = 10 * (subject.training.steps if subject.training else int(v.get("history.steps", 1000)))
        changes: dict[str, object] = {"train__steps": steps}
        if subject.training is not None and subject.training.lr < USUAL_RATE:
            changes["train__lr"] = USUAL_RATE
        left = chain.left if chain is not None else v.get("history.left", 0.0)
        return address.command(**changes), f"Up to {left:.1f} dB more, by the pace and the length of the run so far."
    if cause == "diverged":
        slower = min(1e-4, subject.training.lr / 3) if subject.training else 1e-4
        weight = min(subject.loss.perceptual_weight, 0.5) if subject.loss else 0.5
        return address.command(train__lr=slower, train__warmup=0.1, loss__perceptual_weight=weight), (
            "Smaller, slower first steps: the loss falls to its level before the divergence and below."
        )
    if cause == "overfitted":
        half = max((subject.training.steps if subject.training else int(v.get("history.steps", 1000))) // 2, 1)
        return address.command(train__augment="clean_target", train__steps=half), (
            f"Up to {max(v.get('chain.gap', 0.0), 0.0):.1f} dB on held-out pictures; photos of more people bring more."
        )
    if cause == "drowned":
        return _louder_pixels(subject, evidence, chain, address)
    if cause == "blurred_target":
        if subject.training is not None and subject.training.augment == "degraded_target":
            return address.command(train__augment="clean_target"), "The model is asked for the clean picture."
        return address.command(data__min_side=max(subject.model.image_size, 64)), (
            "Leaves out photos that had to be enlarged; the rest has detail to teach."
        )
    if cause == "colour":
        return address.command(loss__recon="mse", loss__perceptual_weight=0), (
            f"Up to {v.get('colour.repair', 0.0):.1f} dB, all of it colour: pixels in [0, 1] in and out, the squared "
            "error alone. A higher perceptual or SSIM weight does not see a wrong colour."
        )
    if cause == "grey":
        if address.of("data.normalization"):
            return address.command(data__normalization="per_group"), (
                "Grey pictures get the colour ones' mean and deviation: one code serves both."
            )
        return address.command(
            data__synthetic__grey_fraction=0.5
        ), "As many grey pictures to learn from as colour ones."
    if cause == "mismatch":
        return address.command(data__split__val="[1]"), (
            "Other people validate: if the difference stays, the pictures differ in kind, not in person."
        )
    return _go_on(subject, evidence, address)


def _lower_weight(subject: Subject, evidence: Evidence, chain: Chain | None, address: Address) -> tuple[str, str]:
    limits, v = evidence.limits, evidence.values
    if limits is None:
        return address.command(loss__kl_weight=1e-6), "More information in the code."
    wish = min(v["wish.psnr"], limits.equal_floats - 0.2)
    point = limits.needed(wish)
    assert point is not None
    if limits.own is None or "limit.kl_weight" not in v:
        weight = point.kl_weight
    else:  # both in the units of the model's own loss
        weight = v["limit.kl_weight"] * point.theta / limits.own.theta
    effect = (
        f"The forecast expects KL {v['posterior.kl']:.0f} -> about {point.kl:.0f} nats and {point.psnr_mean:.1f} dB "
        "by mean decoding. A lower weight raises the KL: that is the information a sharp picture needs."
    )
    changes: dict[str, object] = {"loss__kl_weight": float(weight)}
    if subject.loss is not None and subject.loss.kl_weight is None:
        changes |= {"loss__kl_target": None, "loss__psnr_target": None}
    return address.command(**changes), effect


def _more_floats(subject: Subject, evidence: Evidence, address: Address) -> tuple[str, str]:
    limits, v = evidence.limits, evidence.values
    assert limits is not None
    needed = limits.floats_needed(v["wish.psnr"])
    longest = max(len(e.values) for e in limits.full.values())
    size = 64 * -(-(needed or longest) // 64)
    free = max(
        -10
        * math.log10(
            max(float(e.rest) + float(sum(sorted(e.values)[: max(len(e.values) - size, 0)])), 1e-9) / e.pixels / 4
        )
        for e in limits.full.values()
    )
    return address.command(model__latent_dim=size), (
        f"The best linear code of {size} floats gives {free:.1f} dB, that of {v['posterior.floats']:.0f} floats "
        f"{v['limit.floats']:.1f} dB."
    )


def _linear_start(subject: Subject, evidence: Evidence, address: Address) -> tuple[str, str]:
    v = evidence.values
    effect = f"Step 0 is then the best linear code: {v.get('limit.floats', math.nan):.1f} dB before training."
    now = subject.model.config
    changes: dict[str, object] = {}
    if now.encoder != "residual":
        changes |= {"model__encoder": "residual", "model__backbone": "none"}
    if now.decoder != "residual":
        changes["model__decoder"] = "residual"
    if now.latent_layout == "vector":
        changes["model__latent_layout"] = "4x4"
    if now.warm_start == "none":
        changes["model__warm_start"] = "klt"
    if not changes:
        return address.command(train__linear_lr_scale=0.0, model__width=2 * now.width), effect
    return address.command(**changes), effect


def _louder_pixels(subject: Subject, evidence: Evidence, chain: Chain | None, address: Address) -> tuple[str, str]:
    v, loss = evidence.values, subject.loss
    if loss is None:
        return address.command(loss__perceptual_weight=0), "The pixel term is left alone; its loss is not known."
    changes: dict[str, object] = {}
    pixels = max(v.get("gradient.share_recon", 0.0), 1e-3)
    for term, key in (("perceptual", "perceptual_weight"), ("ssim", "ssim_weight"), ("ms_ssim", "ms_ssim_weight"),
                      ("edge", "edge_weight"), ("frequency", "frequency_weight")):  # fmt: skip
        share = v.get(f"gradient.share_{term}", 0.0)
        if share > pixels:
            changes[f"loss__{key}"] = float(getattr(loss, key) * pixels / share)
    if loss.focal:
        changes["loss__focal"] = "false"
    short = chain.short if chain is not None else 0.0
    return address.command(**changes or {"loss__recon_weight": 2 * loss.recon_weight}), (
        f"Every term then pulls no harder than the pixels; up to {short:.1f} dB, what size and weight allow."
    )


def _go_on(subject: Subject, evidence: Evidence, address: Address) -> tuple[str, str]:
    steps = 4 * (subject.training.steps if subject.training else int(evidence.values.get("history.steps", 1000)))
    return address.command(train__steps=steps), (
        "Nothing is wrong; a longer run and more photos are what is left to gain."
    )
