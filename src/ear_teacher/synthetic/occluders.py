"""Things people wear: earrings and the temple of a pair of glasses, built from small shiny balls."""

import math

import numpy as np
from numba import njit

from ear_teacher.synthetic.mesh import ear_mesh

OCCLUDERS = ("earring", "hair", "glasses")
"""Kinds of occluder; "hair" is a lock over the upper ear and drawn by `hair`."""
_SHARES = (0.55, 0.25, 0.2)

_METALS = {
    "gold": (0.95, 0.66, 0.28),
    "silver": (0.85, 0.86, 0.88),
    "dark": (0.05, 0.05, 0.055),
    "pearl": (0.85, 0.80, 0.74),
}
_LOBE = (12041, 12049, 12063, 12071)
_TEMPLE = (7036, 11846, 7575, 12001, 12366, 12336, 12335)


def sample_occluder(rng: np.random.Generator, fraction: float) -> str:
    """ "none" or one of `OCCLUDERS`."""
    kind = str(rng.choice(OCCLUDERS, p=_SHARES))
    return kind if rng.random() < fraction else "none"


def build_beads(
    kind: str, fine: np.ndarray, normals: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Balls in head space that make up an occluder.

    Args:
        kind: "earring" or "glasses"; anything else gives no balls.
        fine, normals: (V2, 3) of the head, model units.

    Returns:
        (B, 4) centre and radius, model units; (B, 4) linear RGB and metalness 0..1.
    """
    if kind == "earring":
        return _earring(fine, normals, rng)
    if kind == "glasses":
        return _temple(fine, normals, rng)
    return np.zeros((0, 4)), np.zeros((0, 4))


def _earring(fine: np.ndarray, normals: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    lobe = ear_mesh().vertices(_LOBE)
    outward = normals[lobe].mean(0)
    outward /= np.linalg.norm(outward)
    hole = fine[lobe].mean(0) + np.array([0.0, -0.01, 0.0])
    material = str(rng.choice(list(_METALS), p=[0.3, 0.45, 0.05, 0.2]))
    form = str(rng.choice(["stud", "cluster", "hoop", "drop"], p=[0.4, 0.15, 0.25, 0.2]))
    metal = 0.25 if material == "pearl" else 1.0
    if form == "stud":
        radius = rng.uniform(0.018, 0.045)
        balls = np.array([[*(hole + outward * 0.6 * radius), radius]])
    elif form == "cluster":
        turns = np.linspace(0, 2 * np.pi, 7)[:-1]
        ring = 0.03 * np.stack([np.zeros(6), np.cos(turns), np.sin(turns)], 1)
        centres = hole + outward * 0.012 + np.vstack([np.zeros(3), ring])
        balls = np.column_stack([centres, np.full(7, 0.017)])
    elif form == "hoop":
        size, wire, twist = rng.uniform(0.05, 0.17), rng.uniform(0.006, 0.014), rng.uniform(0.3, 1.2)
        turns = np.linspace(0, 2 * np.pi, 220)
        across = np.array([math.cos(twist), 0, math.sin(twist)])
        ring = np.outer(np.sin(turns), across) - np.outer(1 - np.cos(turns), [0, 1.0, 0])
        balls = np.column_stack([hole + size * ring, np.full(220, wire)])
    else:
        n, radius = int(rng.integers(3, 12)), rng.uniform(0.02, 0.05)
        chain = hole + outward * 0.02 - np.outer(np.arange(n) * 0.02, [0, 1.0, 0])
        pendant = chain[-1] - np.array([0, radius, 0])
        balls = np.vstack([np.column_stack([chain, np.full(n, 0.009)]), [*pendant, radius]])
    return balls, np.tile([*_METALS[material], metal], (len(balls), 1))


def _temple(fine: np.ndarray, normals: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    chain = ear_mesh().vertices(_TEMPLE)
    thickness = rng.uniform(0.012, 0.028)
    knots = fine[chain] + normals[chain] * 1.5 * thickness
    # The arm is a straight bar to the ear's root and goes on behind the helix.
    start, end = knots[0], knots[-1] + np.array([0.0, 0.02, 0.0])
    straight = start + np.linspace(0, 1, 120)[:, None] * (end - start)
    straight[:, 0] = np.maximum(straight[:, 0], np.interp(straight[:, 2], knots[::-1, 2], knots[::-1, 0]))
    behind = end + np.linspace(0, 1, 30)[:, None] * np.array([-0.02, 0.0, -0.15])
    material = str(rng.choice(["dark", "gold", "silver"], p=[0.6, 0.2, 0.2]))
    path = np.vstack([straight, behind])
    colour = np.array(_METALS[material]) if material != "dark" else rng.uniform(0.01, 0.15, 3)
    shine = 0.15 if material == "dark" else 0.8
    return np.column_stack([path, np.full(len(path), thickness)]), np.tile([*colour, shine], (len(path), 1))


@njit(cache=True, fastmath=True)
def draw_beads(picture, depth, balls, materials, key, key_colour, ambient):  # type: ignore[no-untyped-def]  # numba types it
    """Draw shaded balls with a depth test, in place (picture and depth).

    Args:
        picture: (H, W, 3) linear; depth: (H, W).
        balls: (B, 4) screen x, y, depth and radius, pixels; materials: (B, 4) RGB and metalness.
        key, key_colour, ambient: (3,) each.
    """
    height, width = depth.shape
    for b in range(balls.shape[0]):
        cx, cy, cz, radius = balls[b, 0], balls[b, 1], balls[b, 2], balls[b, 3]
        metal = materials[b, 3]
        for j in range(max(0, int(cy - radius)), min(height, int(cy + radius) + 2)):
            for i in range(max(0, int(cx - radius)), min(width, int(cx + radius) + 2)):
                dx, dy = (i + 0.5 - cx) / radius, (j + 0.5 - cy) / radius
                rest = 1 - dx * dx - dy * dy
                if rest <= 0:
                    continue
                nx = math.sqrt(rest)
                z = cz + radius * nx
                if z <= depth[j, i]:
                    continue
                depth[j, i] = z
                ny, nz = -dy, -dx
                diffuse = max(0.0, nx * key[0] + ny * key[1] + nz * key[2])
                # Mirror direction of the view ray (camera along +x): a bright upper, dark lower hemisphere around.
                mx, my, mz = 2 * nx * nx - 1, 2 * nx * ny, 2 * nx * nz
                sky = 0.25 + 0.75 / (1 + math.exp(-4 * my)) + 0.25 * math.sin(5 * mz + 3 * my)
                lobe = max(0.0, mx * key[0] + my * key[1] + mz * key[2])
                flash = lobe**30
                for c in range(3):
                    matt = materials[b, c] * (0.8 * ambient[c] + key_colour[c] * diffuse)
                    mirror = materials[b, c] * max(0.05, sky) * ambient[c] * 1.1 + 2.0 * flash * key_colour[c]
                    picture[j, i, c] = (1 - metal) * matt + metal * mirror + (1 - metal) * 0.3 * flash * key_colour[c]
