"""The author's own diagnosis of their first model, claim by claim, beside what this model shows.

Their text reads a high KL as posterior collapse and prescribes a lower weight to bring it down. Each claim gets the
number it stands or falls with; the claims that are right are said to be right.
"""

from __future__ import annotations

import math

from ear_teacher.diagnosis.verdict import Diagnosis

WISHED_KL = (5.0, 15.0)
LOW_USE = 0.5  # dB


def points(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """Pairs of a claim and its answer, each with this model's numbers."""
    v, limits = diagnosis.evidence.values, diagnosis.evidence.limits
    kl, told, cap = v["posterior.kl"], v["posterior.information"], v["posterior.information_cap"]
    used = v["decoder.use"]
    if told < math.log(2):
        collapse = f"It is: KL {kl:.2f} nats, and the code says {told:.2f} nats about its picture."
    else:
        collapse = (
            f"It is not. Collapse is KL near 0; here it is {kl:.0f} nats, and the code tells the pictures apart "
            f"({told:.2f} of {cap:.2f} measurable nats). "
        )
        collapse += (
            f"The decoder makes use of it: with another picture's code it is {used:.1f} dB worse."
            if used > LOW_USE
            else f"But the decoder hardly listens: with another picture's code it is {used:.1f} dB worse."
        )
    found = [('"KL 160-180: posterior collapse, codes are essentially noise"', collapse)]
    if limits is None:
        return found
    low, high = (limits.at_rate(level) for level in WISHED_KL)
    found.append(
        (
            '"KL should be 5-15"',
            f"{WISHED_KL[0]:g} nats allow {low.psnr_mean:.1f} dB, {WISHED_KL[1]:g} nats {high.psnr_mean:.1f} dB by the "
            f"best linear-Gaussian code on these pictures: that is a blurred picture, not a healthy one.",
        )
    )
    if limits.own is not None:
        now, lower = limits.best(limits.own.theta), limits.best(limits.own.theta / 10)
        found.append(
            (
                '"A tenth of the KL weight brings the KL down"',
                f"It raises it: from {now.kl:.0f} to {lower.kl:.0f} nats at the optimum, and the picture from "
                f"{now.psnr_mean:.1f} to {lower.psnr_mean:.1f} dB. Lowering the weight helps, for the opposite reason.",
            )
        )
        found.append(
            (
                '"KL still above 50: reduce the weight further"',
                f"That raises the KL again. {v['wish.psnr']:g} dB "
                + (
                    f"need about {v['limit.kl_for_wish']:.0f} nats; "
                    if "limit.kl_for_wish" in v
                    else "are out of reach of so many floats at any KL; "
                )
                + f"this model has {kl:.0f}.",
            )
        )
    doubled = limits.best(0.0 if limits.own is None else limits.own.theta, more_floats=True)
    sized = limits.best(0.0 if limits.own is None else limits.own.theta)
    found.append(
        (
            '"A wider latent gives finer detail"',
            f"At this weight {limits.floats} floats allow {sized.psnr_mean:.1f} dB and the longest linear code "
            f"{doubled.psnr_mean:.1f} dB; without a limit on the rate {limits.floats} floats allow "
            f"{limits.equal_floats:.1f} dB.",
        )
    )
    if "gradient.share_recon" in v:
        others = 100 * (1 - v["gradient.share_recon"])
        found.append(
            (
                '"More perceptual and SSIM weight"',
                f"At the reconstruction they already have {others:.0f} % of the gradient, whose cosine with that of "
                f"the squared error is {v['gradient.cosine']:.2f}.",
            )
        )
    if "colour.repair" in v:
        found.append(
            (
                '"Colours wrong: perceptual 1.0, SSIM 0.5"',
                f"A fixed colour matrix would repair {max(v['colour.repair'], 0):.2f} dB; SSIM and features of a "
                "pretrained network hardly see a colour that is wrong everywhere, the pixel term does.",
            )
        )
    if "grey.matched_loss" in v:
        loss = v.get("grey.loss", v["grey.matched_loss"])
        found.append(
            (
                '"Greyscale images especially poor"',
                f"Grey pictures are {abs(loss):.1f} dB {'worse' if loss > 0 else 'better'} than colour ones, beyond "
                f"what the pictures explain; the same picture turned grey loses {v['grey.matched_loss']:+.1f} dB.",
            )
        )
    return found
