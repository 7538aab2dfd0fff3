"""Are the held-out pictures of the same kind as the training pictures? Effect sizes, without any model.

Each picture is described by a few numbers; the difference of the two sets' means over the standard deviation within
a set (Cohen 1988, *d*) says how far they are apart. The largest d of all numbers counts, less
what the largest would be by chance.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ear_teacher.data import to_tensor
from ear_teacher.diagnosis.subject import grey_pictures
from ear_teacher.linear import fit_pca
from ear_teacher.metrics.detail import HALF_NYQUIST, luminance

COMPONENTS = 8
FEWEST = 16


def describe(pictures: NDArray[np.uint8]) -> pd.DataFrame:
    """One row a picture: brightness, contrast, colour balance, saturation, sharpness, greyness, symmetry of light."""
    pixels = pictures.astype(np.float32) / 255
    light = luminance(to_tensor(pictures)).numpy()
    level = pixels.mean(axis=(1, 2))
    half = light.shape[1] // 2
    return pd.DataFrame(
        {
            "brightness": light.mean(axis=(1, 2)),
            "contrast": light.std(axis=(1, 2)),
            "red balance": level[:, 0] - level.mean(axis=1),
            "blue balance": level[:, 2] - level.mean(axis=1),
            "saturation": (pixels.max(axis=3) - pixels.min(axis=3)).mean(axis=(1, 2)),
            "fine detail": -falloff(pictures),
            "greyscale": grey_pictures(pictures).astype(float),
            "light from above": light[:, :half].mean(axis=(1, 2)) - light[:, half:].mean(axis=(1, 2)),
        }
    )


def falloff(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N,) by how many factors of two the power spectrum falls in the octave up to the Nyquist frequency.

    2 where power goes with 1 / f^2, as in natural scenes (Field 1987); lenses and downscaling add 1 to 3, blur more.
    It does not depend on contrast.
    """
    light = luminance(to_tensor(pictures)).numpy()
    side = light.shape[-1]
    light = (light - light.mean(axis=(1, 2), keepdims=True)) * np.outer(np.hanning(side), np.hanning(side))
    power = np.abs(np.fft.fft2(light)) ** 2
    f = np.fft.fftfreq(side)
    radius = np.hypot(f[:, None], f[None, :])
    octaves = [power[:, (radius > top / 2) & (radius <= top)].mean(axis=1) for top in (HALF_NYQUIST, 2 * HALF_NYQUIST)]
    return np.asarray(np.log2((octaves[0] + 1e-12) / (octaves[1] + 1e-12)), dtype=np.float64)


def shift(train: NDArray[np.uint8], held_out: NDArray[np.uint8]) -> tuple[float, str, pd.DataFrame]:
    """The largest difference of two sets of pictures.

    Beside the numbers of `describe`: the coordinates along the main components of one half of the training pictures,
    and the energy outside them, with the other half as the training side.

    Returns:
        the largest |d|, the name of its quantity, and a table with both means and d of each. 0, "" and an empty
        table where either set has fewer than 16 pictures.
    """
    if min(len(train), len(held_out)) < FEWEST:
        return 0.0, "", pd.DataFrame()
    fitted, compared = train[::2], train[1::2]
    tables = [describe(pictures) for pictures in (train, held_out)]
    code = fit_pca(fitted, np.arange(len(fitted)), COMPONENTS)
    coordinates = []
    for pictures in (compared, held_out):
        signals = 2 * to_tensor(pictures) - 1
        along = code.encode(signals).flatten(1)
        outside = ((signals - code.mean) ** 2).flatten(1).sum(1) - (along**2).sum(1)
        table = pd.DataFrame(along.numpy(), columns=[f"component {i + 1}" for i in range(along.shape[1])])
        table["unlike the training pictures"] = np.log(outside.clamp(min=1e-6).numpy())
        coordinates.append(table)
    count = tables[0].shape[1] + coordinates[0].shape[1]
    rows = []
    for before, after in (tables, coordinates):
        for name in before.columns:
            a, b = before[name].to_numpy(), after[name].to_numpy()
            within = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
            difference = b.mean() - a.mean()
            # Two sets that do not vary at all (all grey, none grey) are as far apart as can be: d = 10.
            size = difference / max(within, abs(difference) / 10, 1e-9)
            # What the largest of so many differences would be by chance: E max z^2 is about 2 ln m.
            chance = 2 * np.log(count) * (1 / len(a) + 1 / len(b))
            size = np.sign(size) * np.sqrt(max(size**2 - chance, 0.0))
            rows.append({"quantity": name, "training": a.mean(), "held_out": b.mean(), "effect": size})
    table = pd.DataFrame(rows)
    worst = int(table["effect"].abs().to_numpy().argmax())
    return float(abs(table["effect"].iloc[worst])), str(table["quantity"].iloc[worst]), table
