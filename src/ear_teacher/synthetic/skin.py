"""Skin: tones, the painted texture, scattering of light under the surface, and the shading of every pixel."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit

_TONES_SRGB = np.array(
    [[238, 208, 195], [226, 189, 172], [206, 165, 145], [178, 136, 116], [148, 108, 92], [116, 84, 72], [88, 65, 57],
     [66, 50, 45]]
)  # fmt: skip
"""Diffuse reflectance from the lightest to the darkest tone, as sRGB values; chosen by eye along published skin-tone
scales. A tone in [0, 1] runs along this list."""

_SCATTER_MM = (1.3, 0.65, 0.4)
"""Standard deviation of subsurface scattering for R, G and B: single Gaussians of about the mean free paths in skin
(red light travels farthest; d'Eon and Luebke 2007 give sums of Gaussians of that order)."""

_CELLS = 64


@dataclass(frozen=True)
class Skin:
    """One person's (or image's) skin.

    Attributes:
        tone: 0 = lightest, 1 = darkest, uniform over the data set.
        albedo: (3,) linear RGB reflectance.
        flush: how much redder the ear is than the head, 0..1.
        mottle: contrast of blotches, about 0.04 to 0.16.
        relief: strength of the fine relief (pores, creases) in the shading normal.
        grain: cells of fine relief per model unit.
        oil: strength of the specular reflection.
        gloss: its sharpness (exponent); larger = smaller highlights.
        offset: (3,) shift of the texture volumes, so that no two skins share a pattern.
    """

    tone: float
    albedo: np.ndarray
    flush: float
    mottle: float
    relief: float
    grain: float
    oil: float
    gloss: float
    offset: np.ndarray


def sample_skin(rng: np.random.Generator) -> Skin:
    """Draw a skin; tones are uniform from light to dark."""
    tone = float(rng.uniform())
    tint = np.array([1.0, rng.uniform(0.95, 1.04), rng.uniform(0.90, 1.08)])
    return Skin(
        tone=tone,
        albedo=tone_albedo(tone) * tint * rng.uniform(0.95, 1.05),
        flush=float(rng.uniform(0.1, 1.0)),
        mottle=float(rng.uniform(0.04, 0.16)),
        relief=float(rng.uniform(0.10, 0.30)),
        grain=float(rng.uniform(150, 240)),
        oil=float(rng.uniform(0.015, 0.09)),
        gloss=float(rng.uniform(8, 45)),
        offset=rng.uniform(0, _CELLS, 3),
    )


def tone_albedo(tone: float) -> np.ndarray:
    """(3,) linear RGB reflectance of a tone in [0, 1]."""
    linear = (_TONES_SRGB / 255.0) ** 2.2
    place = tone * (len(linear) - 1)
    return np.array([np.interp(place, np.arange(len(linear)), linear[:, c]) for c in range(3)])


@cache
def texture_volumes() -> tuple[np.ndarray, np.ndarray]:
    """Two periodic (64, 64, 64) float32 noise volumes of unit variance, power spectra k^-3.4 (blotches), k^-1.2."""
    rng = np.random.default_rng(7)
    k = np.fft.fftfreq(_CELLS) * _CELLS
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)
    radius[0, 0, 0] = 1
    volumes = []
    for exponent in (3.4, 1.2):
        spectrum = np.fft.fftn(rng.standard_normal((_CELLS,) * 3)) * radius ** (-exponent / 2)
        spectrum[0, 0, 0] = 0
        volume = np.fft.ifftn(spectrum).real
        volumes.append((volume / volume.std()).astype(np.float32))
    return volumes[0], volumes[1]


@njit(cache=True, fastmath=True)
def look_up(volume, x, y, z):  # type: ignore[no-untyped-def]  # numba types it
    """Trilinear value of a periodic volume whose side is a power of two."""
    i, j, k = math.floor(x), math.floor(y), math.floor(z)
    u, v, w = x - i, y - j, z - k
    last = volume.shape[0] - 1
    i0, i1, j0, j1, k0, k1 = i & last, (i + 1) & last, j & last, (j + 1) & last, k & last, (k + 1) & last
    near = (volume[i0, j0, k0] * (1 - u) + volume[i1, j0, k0] * u) * (1 - v) + (
        volume[i0, j1, k0] * (1 - u) + volume[i1, j1, k0] * u
    ) * v
    far = (volume[i0, j0, k1] * (1 - u) + volume[i1, j0, k1] * u) * (1 - v) + (
        volume[i0, j1, k1] * (1 - u) + volume[i1, j1, k1] * u
    ) * v
    return near * (1 - w) + far * w


def scatter(irradiance: np.ndarray, depth: np.ndarray, owner: np.ndarray, pixels_per_unit: float) -> np.ndarray:
    """Spread irradiance under the skin, on screen: a Gaussian per channel that does not cross steps in depth.

    Working in millimetres on the pixels themselves, rather than in mesh edges, keeps shadow borders free of wide
    coloured fringes at any picture size.

    Args:
        irradiance: (H, W, 3) float32; depth: (H, W) in pixels; owner: (H, W), -1 = no skin.
        pixels_per_unit: pixels a model unit (100 mm) covers.
    """
    sigmas = np.array(_SCATTER_MM) * pixels_per_unit / 100
    reach = int(2.5 * sigmas.max()) + 1
    kernel = np.exp(-0.5 * (np.arange(reach + 1)[:, None] / np.maximum(sigmas, 1e-3)) ** 2).astype(np.float32)
    per_step = np.float32(1 / (0.03 * pixels_per_unit))
    # Along rows, then along columns as rows of the transposed picture: neighbours stay neighbours in memory.
    once = _scatter_rows(irradiance, depth, owner, kernel, per_step)
    once, depth, owner = (np.ascontiguousarray(x.swapaxes(0, 1)) for x in (once, depth, owner))
    return np.ascontiguousarray(_scatter_rows(once, depth, owner, kernel, per_step).swapaxes(0, 1))


@njit(cache=True, fastmath=True)
def _scatter_rows(values, depth, owner, kernel, per_step):  # type: ignore[no-untyped-def]  # numba types it
    height, width = owner.shape
    out = np.zeros_like(values)
    reach = kernel.shape[0] - 1
    one = np.float32(1)
    for j in range(height):
        for i in range(width):
            if owner[j, i] < 0:
                continue
            here = depth[j, i]
            r = g = b = wr = wg = wb = np.float32(0)
            for column in range(max(0, i - reach), min(width, i + reach + 1)):
                joined = one - abs(depth[j, column] - here) * per_step
                if joined <= 0 or owner[j, column] < 0:
                    continue
                d = abs(column - i)
                a0, a1, a2 = kernel[d, 0] * joined, kernel[d, 1] * joined, kernel[d, 2] * joined
                r += a0 * values[j, column, 0]
                g += a1 * values[j, column, 1]
                b += a2 * values[j, column, 2]
                wr += a0
                wg += a1
                wb += a2
            out[j, i, 0], out[j, i, 1], out[j, i, 2] = r / wr, g / wg, b / wb
    return out


@njit(cache=True, fastmath=True)
def shade(owner, texture, normals, auricle, light, key_seen, key, key_colour, albedo, marks, offset, low, high):  # type: ignore[no-untyped-def]  # numba types it
    """Linear RGB of skin.

    Args:
        owner: (H, W), -1 = no skin; texture, normals: (H, W, 3); auricle: (H, W) 0..1.
        light: (H, W, 3) scattered irradiance; key_seen: (H, W) visibility of the key.
        key, key_colour: (3,) direction and colour of the key light.
        albedo: (3,); marks: flush, mottle, relief, grain, oil, gloss of `Skin`; offset: (3,).
        low, high: texture volumes.

    Returns:
        (H, W, 3) float32.
    """
    flush, mottle, relief, grain, oil, gloss = marks
    height, width = owner.shape
    out = np.zeros((height, width, 3), np.float32)
    # The camera looks along -x in view space: the half vector of the specular lobe.
    hx, hy, hz = key[0] + 1, key[1], key[2]
    length = math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
    hx, hy, hz = hx / length, hy / length, hz / length
    for j in range(height):
        for i in range(width):
            if owner[j, i] < 0:
                continue
            px, py, pz = texture[j, i, 0] + offset[0], texture[j, i, 1] + offset[1], texture[j, i, 2] + offset[2]
            nx, ny, nz = normals[j, i, 0], normals[j, i, 1], normals[j, i, 2]
            blotch = look_up(low, px * 40, py * 40, pz * 40)
            spot = look_up(low, px * 110 + 11, py * 110 + 5, pz * 110)
            x, y, z = px * grain, py * grain, pz * grain
            pore = look_up(high, x, y, z)
            gx = look_up(high, x + 0.4, y, z) - pore
            gy = look_up(high, x, y + 0.4, z) - pore
            gz = look_up(high, x, y, z + 0.4) - pore
            mx, my, mz = nx - relief * gx, ny - relief * gy, nz - relief * gz
            length = math.sqrt(mx * mx + my * my + mz * mz) + 1e-9
            mx, my, mz = mx / length, my / length, mz / length
            seen = key_seen[j, i]
            tilt_key = (mx - nx) * key[0] + (my - ny) * key[1] + (mz - nz) * key[2]
            rough = max(0.3, 1 + 0.6 * tilt_key * seen + 0.25 * (mx - nx))
            highlight = 0.0
            # The oily film is smoother than the skin below it.
            facing = (0.6 * nx + 0.4 * mx) * hx + (0.6 * ny + 0.4 * my) * hy + (0.6 * nz + 0.4 * mz) * hz
            if facing > 0 and nx * key[0] + ny * key[1] + nz * key[2] > 0:
                edge = 1 - max(0.0, nx)
                highlight = (
                    oil * seen * math.exp((facing - 1) * gloss) * (1 + 0.3 * pore) * (0.6 + 2 * edge * edge * edge)
                )
            tone = 1 + mottle * (0.5 * blotch + 0.25 * spot + 0.35 * pore)
            red = flush * auricle[j, i] + 0.6 * mottle * 8 * max(0.0, 0.3 * spot)
            for c in range(3):
                colour = albedo[c] * tone * ((1 + 0.05 * red) if c == 0 else (1 - 0.14 * red))
                out[j, i, c] = colour * light[j, i, c] * rough + highlight * key_colour[c]
    return out
