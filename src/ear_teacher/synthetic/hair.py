"""Hair: where it grows on the head, its colour, and single strands drawn over the picture.

The scalp is painted per pixel in the neutral mesh's coordinates with a texture combed along the hair, so that the
hairline stays fine at any picture size; strands grow from the same region in head space and are drawn with a depth
test, so the ear hides what falls behind it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from ear_teacher.synthetic.mesh import ear_mesh
from ear_teacher.synthetic.skin import look_up

STYLES = {"bald": 0.05, "cropped": 0.20, "short": 0.28, "tucked": 0.32, "long": 0.15}
"""Share of people by style. "tucked": long and combed behind the ear; "long": long and loose above it."""

_COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (0.022, 0.018, 0.016),
    "dark brown": (0.05, 0.032, 0.022),
    "brown": (0.12, 0.07, 0.04),
    "red": (0.22, 0.085, 0.035),
    "blond": (0.30, 0.20, 0.11),
    "grey": (0.30, 0.29, 0.28),
}
"""Linear RGB reflectance."""

_SEGMENTS = 12


@dataclass(frozen=True)
class Hair:
    """One person's (or image's) hair.

    Attributes:
        style: a key of `STYLES`.
        colour: name and reflectance (3,) of the hair.
        top, back, sideburn: hairline in the neutral mesh's frame (dm): height above the ear, depth behind it, lower end
            of the sideburn.
        strands: how many are drawn.
        length: of a strand, model units.
        angle: combing direction in the head's side plane, radians; 0 = forward, pi/2 = up.
        curl: standard deviation of the turn per segment, radians.
        density: how opaque the painted scalp is, 0..1.
    """

    style: str
    colour_name: str
    colour: np.ndarray
    top: float
    back: float
    sideburn: float
    strands: int
    length: float
    angle: float
    curl: float
    density: float


def sample_hair(rng: np.random.Generator, tone: float, age: float) -> Hair:
    """Draw a style and a colour that goes with the skin tone and the age (years)."""
    style = str(rng.choice(list(STYLES), p=list(STYLES.values())))
    fair = [0.15, 0.25, 0.25, 0.10, 0.25] if tone < 0.45 else [0.70, 0.25, 0.05, 0.0, 0.0]
    colour_name = str(rng.choice(list(_COLOURS)[:5], p=fair))
    if age > 45 and rng.random() < (age - 40) / 50:
        colour_name = "grey"
    long = rng.uniform(0.5, 0.9)
    length = {"bald": 0.0, "cropped": 0.04, "short": rng.uniform(0.1, 0.25), "tucked": long, "long": long}
    angle = {"tucked": rng.normal(-2.6, 0.2), "long": rng.normal(-2.0, 0.2)}.get(style, rng.normal(-2.2, 0.35))
    strands = {"bald": 0, "cropped": 1200, "short": 2600, "tucked": 3600, "long": 3400}[style]
    return Hair(
        style=style,
        colour_name="none" if style == "bald" else colour_name,
        colour=np.array(_COLOURS[colour_name]) * rng.uniform(0.8, 1.25),
        top=float(rng.uniform(7.16, 7.40)),
        back=float(rng.uniform(0.36, 0.48) if style in ("tucked", "long") else rng.uniform(0.26, 0.42)),
        sideburn=float(rng.uniform(6.95, 7.40)),
        strands=int(strands * rng.uniform(0.8, 1.2)),
        length=float(length[style] * rng.uniform(0.8, 1.2)),
        angle=float(angle),
        curl=float(rng.uniform(0.01, 0.14)),
        density=float(rng.uniform(0.45, 0.75) if style == "cropped" else rng.uniform(0.85, 1.0)),
    )


def growth(hair: Hair, y: np.ndarray, z: np.ndarray, auricle: np.ndarray) -> np.ndarray:
    """How much hair grows, 0..1, at places given in the neutral mesh's frame (dm).

    Args:
        y, z, auricle: arrays of one shape; `auricle` as in `EarMesh`.
    """
    if hair.style == "bald":
        return np.zeros_like(y)
    above = _rise(hair.top - 0.06, hair.top + 0.10, y + 0.10 * np.sin(5 * z))
    behind = _rise(hair.back + 0.06, hair.back - 0.06, z) * _rise(6.75, 6.95, y + 0.25 * (z - 0.2))
    sideburn = _rise(0.70, 0.78, z) * _rise(0.98, 0.90, z) * _rise(hair.sideburn, hair.sideburn + 0.12, y)
    cover = np.maximum(np.maximum(above, behind), sideburn)
    if hair.style in ("tucked", "long"):
        # Long hair hangs in front of the neck behind the ear.
        cover = np.maximum(cover, _rise(0.42, 0.30, z - 0.12 * np.clip(7.0 - y, 0, 0.6)) * _rise(7.3, 7.1, y))
    return cover * np.clip(1 - 3 * auricle, 0, 1)


def _rise(start: float, end: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


@njit(cache=True, fastmath=True)
def paint_scalp(picture, owner, texture, cover, light, key_seen, key_colour, colour, density, angle, offset, low, high):  # type: ignore[no-untyped-def]  # numba types it
    """Blend hair-coloured scalp into the linear (H, W, 3) picture, in place.

    Args:
        owner: (H, W), -1 = no skin; texture: (H, W, 3); cover: (H, W) from `growth`.
        light: (H, W, 3) irradiance; key_seen: (H, W) key cosine times visibility; key_colour, colour: (3,).
        density: opacity of full growth; angle: combing direction; offset: (3,); low, high: texture volumes.
    """
    height, width = owner.shape
    along_y, along_z = math.sin(angle), math.cos(angle)
    for j in range(height):
        for i in range(width):
            if owner[j, i] < 0 or cover[j, i] <= 0:
                continue
            y, z = texture[j, i, 1] + offset[1], texture[j, i, 2] + offset[2]
            bend = 0.02 * look_up(low, y * 30, z * 30, offset[0])
            along, across = y * along_y + z * along_z, z * along_y - y * along_z + bend
            strand = look_up(high, across * 260, along * 14, offset[0])
            clump = look_up(high, across * 70, along * 6, offset[0] + 9)
            opacity = 1.6 * cover[j, i] - 0.3 + 0.25 * strand + 0.15 * clump
            opacity = density * min(1.0, max(0.0, opacity)) * min(1.0, 4 * cover[j, i])
            tone = max(0.15, 1 + 0.35 * strand + 0.3 * clump)
            for c in range(3):
                hair = tone * (colour[c] * light[j, i, c] + 0.015 * key_colour[c] * key_seen[j, i] * max(0.0, strand))
                picture[j, i, c] = picture[j, i, c] * (1 - opacity) + opacity * hair


def grow_strands(
    hair: Hair, fine: np.ndarray, normals: np.ndarray, rng: np.random.Generator, over_ear: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Strands in head space.

    Args:
        fine, normals: (V2, 3) of the head, model units.
        over_ear: comb a lock of hair down over the upper ear.

    Returns:
        (N, _SEGMENTS, 3) points, and (N,) bool: loose strands, which may fall over the ear. The others lie against the
        head and pass behind it.
    """
    mesh = ear_mesh()
    cover = growth(hair, mesh.texture[:, 1], mesh.texture[:, 2], mesh.auricle)
    corners = mesh.fine_triangles
    roots = np.flatnonzero((cover[corners] > 0.3).all(1))
    n = hair.strands
    if n == 0 or len(roots) == 0:
        return np.zeros((0, _SEGMENTS, 3)), np.zeros(0, bool)
    a, b, c = (fine[corners[roots, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = corners[roots[np.searchsorted(np.cumsum(area / area.sum()), rng.uniform(0, 0.999999, n))]]
    mix = rng.dirichlet([1, 1, 1], n)
    position = np.einsum("nk,nkc->nc", mix, fine[chosen])
    normal = normals[chosen[:, 0]]
    neutral = np.einsum("nk,nkc->nc", mix, mesh.texture[chosen])
    heading = hair.angle + rng.normal(0, 0.15, n) + 0.3 * np.sin(9 * neutral[:, 1] + rng.uniform(0, 6))
    bend = rng.normal(0, hair.curl, n)
    length = hair.length * rng.uniform(0.5, 1.2, n)
    lift = rng.uniform(0.004, 0.02, n)
    if hair.style in ("tucked", "long"):
        # Long hair stands off the head behind the ear, where portraits see it beyond the ear's rim.
        lift = np.where(neutral[:, 2] < 0.45, rng.uniform(0.0, 0.25, n), lift)
    # Below the ear's top, hair behind the ear hangs down instead of following the comb.
    hanging = np.clip((7.35 - neutral[:, 1]) / 0.25, 0, 1) * (hair.style in ("tucked", "long"))
    # A sideburn is short whatever hangs behind the ear.
    length = np.where(neutral[:, 2] > 0.68, np.minimum(length, 0.12), length)
    above = (neutral[:, 1] > hair.top - 0.05) & (neutral[:, 2] > 0.25)
    stray = 0.02 if hair.style in ("tucked", "long") else 0.0
    loose = (rng.random(n) < (0.35 if over_ear else stray)) & above
    heading = np.where(loose, rng.normal(-1.7, 0.15, n), heading)
    lift = np.where(loose, rng.uniform(0.15, 0.4, n), lift)
    length = np.where(loose, rng.uniform(0.35, 0.9, n), length)
    strands = np.empty((n, _SEGMENTS, 3))
    for k in range(_SEGMENTS):
        strands[:, k] = position
        heading = heading + bend + hanging * 0.25 * np.sin(-1.6 - heading)
        course = np.stack([np.zeros(n), np.sin(heading), np.cos(heading)], 1)
        course -= (course * normal).sum(1, keepdims=True) * normal
        position = position + course * (length / _SEGMENTS)[:, None] + normal * (lift / _SEGMENTS * 1.2)[:, None]
    return strands, loose


def strand_colours(
    hair: Hair,
    strands: np.ndarray,
    key: np.ndarray,
    key_colour: np.ndarray,
    ambient: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """(N, S, 3) linear RGB along view-space strands, by Kajiya and Kay's (1989) cylinder shading."""
    tangent = np.diff(strands, axis=1, append=strands[:, -1:])
    tangent[:, -1] = tangent[:, -2]
    tangent /= np.linalg.norm(tangent, axis=2, keepdims=True) + 1e-9
    along_key = (tangent * key).sum(2)
    half = key + np.array([1.0, 0.0, 0.0])
    half /= np.linalg.norm(half) + 1e-9
    along_half = (tangent * half).sum(2)
    diffuse = np.sqrt(np.clip(1 - along_key**2, 0, 1)) * (0.35 + 0.65 * np.clip(key[0] + 0.3, 0, 1))
    shine = np.clip(1 - along_half**2, 0, 1) ** 25
    # Strands shade each other at the roots.
    depth = np.linspace(0.45, 1.0, strands.shape[1])[None, :, None]
    varied = hair.colour * (1 + 0.3 * rng.standard_normal((len(strands), 1, 1))).clip(0.2, 2)
    gloss = 0.05 * shine[..., None] * rng.random((len(strands), 1, 1))
    return depth * (varied * (0.6 * ambient + 0.8 * key_colour * diffuse[..., None]) + gloss * key_colour)


@njit(cache=True, fastmath=True)
def draw_strands(picture, coverage, depth, ear, strands, loose, colours, radii, opacity):  # type: ignore[no-untyped-def]  # numba types it  # fmt: skip
    """Draw screen-space strands with a depth test, in place.

    Args:
        picture: (H, W, 3) linear; coverage: (H, W), how much strands hide; depth: (H, W) of the scene;
            ear: (H, W) bool, pixels that only loose strands may cover.
        strands: (N, S, 3) pixels and depth; loose: (N,) bool; colours: (N, S, 3).
        radii: (N,) pixels at the root, tapering; opacity: of a strand's core.
    """
    height, width = depth.shape
    segments = strands.shape[1]
    for s in range(strands.shape[0]):
        for k in range(segments - 1):
            x0, y0 = strands[s, k, 0], strands[s, k, 1]
            dx, dy = strands[s, k + 1, 0] - x0, strands[s, k + 1, 1] - y0
            length = math.hypot(dx, dy)
            if length < 1e-6:
                continue
            ux, uy = dx / length, dy / length
            steps = int(length) + 1
            for q in range(steps):
                t = q / steps
                x, y = x0 + t * dx, y0 + t * dy
                z = strands[s, k, 2] + t * (strands[s, k + 1, 2] - strands[s, k, 2])
                radius = radii[s] * (1 - 0.6 * (k + t) / segments)
                # Thinner than a pixel: keep half a pixel and give up opacity instead, or it breaks into dots.
                drawn, alpha = radius, opacity
                if radius < 0.5:
                    drawn, alpha = 0.5, opacity * radius / 0.5
                around = int(drawn + 1.0)
                for side in range(-around, around + 1):
                    i, j = math.floor(x - uy * side), math.floor(y + ux * side)
                    if i < 0 or j < 0 or i >= width or j >= height or depth[j, i] > z or (ear[j, i] and not loose[s]):
                        continue
                    away = abs((i + 0.5 - x) * -uy + (j + 0.5 - y) * ux)
                    a = alpha * min(1.0, max(0.0, drawn + 0.5 - away))
                    if a <= 0:
                        continue
                    coverage[j, i] += (1 - coverage[j, i]) * a
                    for c in range(3):
                        picture[j, i, c] += a * (colours[s, k, c] - picture[j, i, c])
