"""Light set-ups and the irradiance they leave on the skin.

A set-up is one key light (a small disc of directions) and an ambient sphere. Directions are in view space: x towards
the camera, y up, z towards the person's face; radiance is relative, since the camera meters the light anyway.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from ear_teacher.synthetic.raster import FAR, draw_depth

AMBIENT_DIRECTIONS = 18
AMBIENT_MAP = 96
KEY_SAMPLES = 3
SHADOW_EXTENT = 2.0
"""Side of the square a shadow map covers, model units (decimetres): the ear and what can shade it."""

SETUPS: dict[str, dict[str, tuple[float, float]]] = {
    # key: strength; ambient: strength; spread: radius of the key's disc in radians; elevation, azimuth of the key in
    # degrees (azimuth 0 = from the camera, positive = from the face's side); warmth: + is warm; top: ambient gradient.
    "overcast": {"key": (0.2, 0.8), "ambient": (0.6, 0.9), "spread": (0.3, 0.5), "elevation": (30, 80),
                 "azimuth": (-80, 80), "warmth": (-0.12, 0.02), "top": (0.4, 1.0)},
    "window": {"key": (1.0, 2.0), "ambient": (0.2, 0.45), "spread": (0.15, 0.4), "elevation": (0, 45),
               "azimuth": (-75, 75), "warmth": (-0.08, 0.08), "top": (0.0, 0.5)},
    "sun": {"key": (1.6, 2.8), "ambient": (0.2, 0.4), "spread": (0.01, 0.03), "elevation": (20, 70),
            "azimuth": (-85, 85), "warmth": (0.0, 0.15), "top": (0.3, 1.0)},
    "flash": {"key": (1.2, 2.2), "ambient": (0.12, 0.4), "spread": (0.02, 0.08), "elevation": (0, 25),
              "azimuth": (-20, 20), "warmth": (-0.05, 0.05), "top": (0.0, 0.5)},
    "indoor": {"key": (0.8, 1.8), "ambient": (0.25, 0.5), "spread": (0.1, 0.3), "elevation": (40, 85),
               "azimuth": (-70, 70), "warmth": (0.0, 0.3), "top": (0.2, 0.9)},
    "backlit": {"key": (1.0, 2.2), "ambient": (0.35, 0.6), "spread": (0.03, 0.2), "elevation": (5, 50),
                "azimuth": (100, 150), "warmth": (-0.05, 0.2), "top": (0.0, 0.6)},
}  # fmt: skip
SETUP_SHARES = {"overcast": 0.22, "window": 0.22, "sun": 0.14, "flash": 0.14, "indoor": 0.24, "backlit": 0.04}


@dataclass(frozen=True)
class Lighting:
    """One image's light.

    Attributes:
        name: the set-up, a key of `SETUPS`.
        key_direction: (3,) unit vector towards the key light.
        key_samples: (KEY_SAMPLES, 3) unit vectors spread over its disc.
        key_colour: (3,) RGB irradiance of the key on a surface that faces it.
        ambient_directions: (AMBIENT_DIRECTIONS, 3) unit vectors over the sphere.
        ambient_radiance: (AMBIENT_DIRECTIONS, 3) RGB irradiance each adds to a surface that faces it.
    """

    name: str
    key_direction: np.ndarray
    key_samples: np.ndarray
    key_colour: np.ndarray
    ambient_directions: np.ndarray
    ambient_radiance: np.ndarray

    def incident(self) -> np.ndarray:
        """(3,) mean unshaded irradiance on surfaces facing the camera and facing halfway to the key: what a hand-held
        incident light meter at the ear reads, whatever the skin."""
        half = self.key_direction + np.array([1.0, 0.0, 0.0])
        half /= np.linalg.norm(half)
        total = np.zeros(3)
        for normal in (np.array([1.0, 0.0, 0.0]), half):
            facing = np.maximum(self.ambient_directions @ normal, 0)
            total += (self.ambient_radiance * facing[:, None]).sum(0)
            total += self.key_colour * max(float(self.key_direction @ normal), 0.0)
        return total / 2


def sample_lighting(rng: np.random.Generator) -> Lighting:
    """Draw a set-up and its free parameters."""
    name = str(rng.choice(list(SETUP_SHARES), p=list(SETUP_SHARES.values())))
    draw = {key: rng.uniform(*bounds) for key, bounds in SETUPS[name].items()}
    elevation, azimuth = math.radians(draw["elevation"]), math.radians(draw["azimuth"])
    if name == "backlit" and rng.random() < 0.5:
        azimuth = -azimuth
    key = np.array(
        [math.cos(elevation) * math.cos(azimuth), math.sin(elevation), math.cos(elevation) * math.sin(azimuth)]
    )
    warm = np.array([1.0, 0.0, -1.0])
    key_colour = draw["key"] * (1 + draw["warmth"] * warm)
    i = np.arange(AMBIENT_DIRECTIONS) + 0.5
    polar, around = np.arccos(1 - 2 * i / AMBIENT_DIRECTIONS), np.pi * (1 + 5**0.5) * i + rng.uniform(0, 2 * np.pi)
    sphere = np.stack([np.sin(around) * np.sin(polar), np.cos(polar), np.cos(around) * np.sin(polar)], 1)
    up = np.array([0.0, 1.0, 0.0]) + rng.normal(0, 0.35, 3)
    up /= np.linalg.norm(up)
    gradient = np.maximum(1 + draw["top"] * (sphere @ up), 0)
    # The other half of the head stands between the ear and most of the light from its far side.
    open_sky = 0.15 + 0.85 * np.clip((sphere[:, 0] + 0.6) / 0.5, 0, 1)
    tint = 1 + rng.normal(0, 0.05) * warm
    radiance = draw["ambient"] * 3.2 / AMBIENT_DIRECTIONS * (gradient * open_sky)[:, None] * tint
    samples = _disc(key, draw["spread"])
    return Lighting(name, key, samples, key_colour, sphere, radiance)


def _disc(direction: np.ndarray, spread: float) -> np.ndarray:
    """KEY_SAMPLES unit vectors evenly around a circle of 0.7 times the spread, where a disc has its mean radius."""
    side = np.cross(direction, [0.3, 0.5, 0.8])
    side /= np.linalg.norm(side)
    other = np.cross(direction, side)
    turns = (np.arange(KEY_SAMPLES) + 0.25) * (2 * np.pi / KEY_SAMPLES)
    samples = direction + 0.7 * spread * (np.cos(turns)[:, None] * side + np.sin(turns)[:, None] * other)
    return samples / np.linalg.norm(samples, axis=1, keepdims=True)


@njit(cache=True, fastmath=True)
def _frame(direction):  # type: ignore[no-untyped-def]  # numba types it
    """(2, 3) unit vectors that span the plane a directional light looks at."""
    frame = np.empty((2, 3))
    x, y, z = direction
    if abs(y) < 0.9:
        length = math.sqrt(z * z + x * x)
        frame[0] = np.array((z / length, 0.0, -x / length))
    else:
        length = math.sqrt(z * z + y * y)
        frame[0] = np.array((0.0, z / length, -y / length))
    frame[1] = np.array(
        (y * frame[0, 2] - z * frame[0, 1], z * frame[0, 0] - x * frame[0, 2], x * frame[0, 1] - y * frame[0, 0])
    )
    return frame


@njit(cache=True, fastmath=True)
def _light_space(points, direction, frame, scale, offset, out):  # type: ignore[no-untyped-def]  # numba types it
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        out[i, 0] = offset + scale * (x * frame[0, 0] + y * frame[0, 1] + z * frame[0, 2])
        out[i, 1] = offset + scale * (x * frame[1, 0] + y * frame[1, 1] + z * frame[1, 2])
        out[i, 2] = x * direction[0] + y * direction[1] + z * direction[2]


@njit(cache=True, fastmath=True)
def _visible(depth, x, y, z):  # type: ignore[no-untyped-def]  # numba types it
    """Share 0..1 of the four texels around (x, y) that hold nothing nearer to the light than z, bilinear."""
    i, j = math.floor(x - 0.5), math.floor(y - 0.5)
    if i < 0 or j < 0 or i >= depth.shape[1] - 1 or j >= depth.shape[0] - 1:
        return 1.0
    tx, ty = x - 0.5 - i, y - 0.5 - j
    top = (1 - tx) * (depth[j, i] < z) + tx * (depth[j, i + 1] < z)
    bottom = (1 - tx) * (depth[j + 1, i] < z) + tx * (depth[j + 1, i + 1] < z)
    return top * (1 - ty) + bottom * ty


@njit(cache=True, fastmath=True)
def ambient_irradiance(coarse, triangles, points, normals, wanted, directions, radiance, extent, size):  # type: ignore[no-untyped-def]  # numba types it
    """Irradiance of the ambient sphere on vertices, with shadow maps of the coarse mesh.

    Args:
        coarse: (V1, 3) view-space positions of the occluder; triangles: (T1, 3).
        points, normals: (V2, 3) receivers; wanted: (V2,) bool, which of them to compute.
        directions, radiance: (D, 3) each; extent: side covered by a map; size: its texels.

    Returns:
        (V2, 4): RGB irradiance and, last, the share 0..1 of the light in front of the surface that reaches it.
    """
    out = np.zeros((points.shape[0], 4))
    unshaded = np.full(points.shape[0], 1e-6)
    projected = np.empty_like(coarse)
    depth = np.empty((size, size), np.float32)
    scale, offset, bias = size / extent, size / 2, 0.014
    for k in range(directions.shape[0]):
        direction = directions[k]
        frame = _frame(direction)
        _light_space(coarse, direction, frame, scale, offset, projected)
        depth[:] = FAR
        draw_depth(projected, triangles, depth)
        strength = radiance[k, 0] + radiance[k, 1] + radiance[k, 2]
        for i in range(points.shape[0]):
            if not wanted[i]:
                continue
            facing = normals[i, 0] * direction[0] + normals[i, 1] * direction[1] + normals[i, 2] * direction[2]
            # A little wrap: directions are few, and a hard terminator for each would show as facets.
            weight = (facing + 0.15) / 1.15
            if weight <= 0:
                continue
            x = points[i, 0] + normals[i, 0] * bias
            y = points[i, 1] + normals[i, 1] * bias
            z = points[i, 2] + normals[i, 2] * bias
            u = offset + scale * (x * frame[0, 0] + y * frame[0, 1] + z * frame[0, 2])
            v = offset + scale * (x * frame[1, 0] + y * frame[1, 1] + z * frame[1, 2])
            seen = _visible(depth, u, v, x * direction[0] + y * direction[1] + z * direction[2] + bias)
            for c in range(3):
                out[i, c] += radiance[k, c] * weight * seen
            out[i, 3] += strength * weight * seen
            unshaded[i] += strength * weight
    for i in range(points.shape[0]):
        out[i, 3] /= unshaded[i]
    return out


@njit(cache=True, fastmath=True)
def key_irradiance(points, triangles, owner, positions, normals, samples, extent, size):  # type: ignore[no-untyped-def]  # numba types it
    """Light of the key on every pixel, with shadow maps of the fine mesh.

    Args:
        points: (V2, 3) view-space occluder; triangles: (T2, 3).
        owner: (H, W) visible triangle, -1 = none; positions, normals: (H, W, 3) view space.
        samples: (K, 3) directions; extent, size: of the shadow maps.

    Returns:
        (H, W, 3) float32: cosine times visibility; visibility alone; and light that comes through from behind, which
        falls off with the thickness of the flesh (e-folding length 2.5 mm, about that of red light in skin).
    """
    height, width = owner.shape
    out = np.zeros((height, width, 3), np.float32)
    projected = np.empty_like(points)
    depth = np.empty((size, size), np.float32)
    scale, offset, bias = size / extent, size / 2, 0.006
    share = 1.0 / samples.shape[0]
    for k in range(samples.shape[0]):
        direction = samples[k]
        frame = _frame(direction)
        _light_space(points, direction, frame, scale, offset, projected)
        depth[:] = FAR
        draw_depth(projected, triangles, depth)
        for j in range(height):
            for i in range(width):
                if owner[j, i] < 0:
                    continue
                nx, ny, nz = normals[j, i, 0], normals[j, i, 1], normals[j, i, 2]
                facing = nx * direction[0] + ny * direction[1] + nz * direction[2]
                x, y, z = positions[j, i, 0] + nx * bias, positions[j, i, 1] + ny * bias, positions[j, i, 2] + nz * bias
                u = offset + scale * (x * frame[0, 0] + y * frame[0, 1] + z * frame[0, 2])
                v = offset + scale * (x * frame[1, 0] + y * frame[1, 1] + z * frame[1, 2])
                along = x * direction[0] + y * direction[1] + z * direction[2]
                if facing > 0:
                    seen = _visible(depth, u, v, along + bias)
                    out[j, i, 0] += share * facing * seen
                    out[j, i, 1] += share * seen
                else:
                    column, row = int(u), int(v)
                    if 0 <= column < size and 0 <= row < size:
                        thickness = max(0.0, depth[row, column] - along)
                        out[j, i, 2] += share * -facing * math.exp(-thickness / 0.025)
    return out
