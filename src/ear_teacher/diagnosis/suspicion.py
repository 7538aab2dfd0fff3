"""How sure a cause is: the scale that all rules share.

They share one scale. A picture passes through size of the code, weight of the KL, encoder, decoder and output, and
each of them can lose some of what came in. What is lost is measured in dB against what the step could have kept at
best, and

    confidence = loss / (loss + 1.5 dB)

so that a loss of 1.5 dB, three tenths of the squared error, is as likely a fault as not. Evidence in other units has a
half-way point of its own, named below. Causes that explain others take their part of the loss with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ear_teacher.augmentation import CHANCE

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
