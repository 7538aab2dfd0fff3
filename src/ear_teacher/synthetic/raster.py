"""Compiled kernels that turn triangles into pixels: vertex normals, depth maps, visibility buffers, interpolation.

Screen space: x to the right, y down, in pixels, pixel (row j, column i) covers [i, i+1) x [j, j+1); z towards the
camera, so the largest z wins.
"""

import math

import numpy as np
from numba import njit

FAR = -1e9
"""Depth of an empty pixel."""


@njit(cache=True, fastmath=True)
def vertex_normals(points, triangles):  # type: ignore[no-untyped-def]  # numba types it
    """(V, 3) unit normals of (V, 3) float64 points, weighted by triangle area."""
    normals = np.zeros_like(points)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for i in (a, b, c):
            normals[i, 0] += x
            normals[i, 1] += y
            normals[i, 2] += z
    for i in range(normals.shape[0]):
        length = math.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-12
        for k in range(3):
            normals[i, k] /= length
    return normals


@njit(cache=True, fastmath=True)
def draw_depth(points, triangles, depth):  # type: ignore[no-untyped-def]  # numba types it
    """Rasterise (V, 3) screen points into the (H, W) float32 depth map, in place."""
    height, width = depth.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, z0 = points[a, 0], points[a, 1], points[a, 2]
        dx1, dy1, dz1 = points[b, 0] - x0, points[b, 1] - y0, points[b, 2] - z0
        dx2, dy2, dz2 = points[c, 0] - x0, points[c, 1] - y0, points[c, 2] - z0
        area = dx1 * dy2 - dx2 * dy1
        if abs(area) < 1e-9:
            continue
        inverse = 1 / area
        left = max(0, math.ceil(x0 + min(0.0, dx1, dx2) - 0.5))
        right = min(width - 1, math.floor(x0 + max(0.0, dx1, dx2) - 0.5))
        top = max(0, math.ceil(y0 + min(0.0, dy1, dy2) - 0.5))
        bottom = min(height - 1, math.floor(y0 + max(0.0, dy1, dy2) - 0.5))
        for j in range(top, bottom + 1):
            for i in range(left, right + 1):
                px, py = i + 0.5 - x0, j + 0.5 - y0
                u = (px * dy2 - dx2 * py) * inverse
                v = (dx1 * py - px * dy1) * inverse
                if u < -1e-6 or v < -1e-6 or u + v > 1 + 1e-6:
                    continue
                z = z0 + u * dz1 + v * dz2
                if z > depth[j, i]:
                    depth[j, i] = z


@njit(cache=True, fastmath=True)
def draw_visibility(points, triangles, depth, owner, bary):  # type: ignore[no-untyped-def]  # numba types it
    """Like `draw_depth`, and write the visible triangle's number (-1 = none) and its barycentric u, v per pixel.

    Triangles that face away are drawn too: the patch is open, and its inside must not show what is behind it.
    """
    height, width = depth.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, z0 = points[a, 0], points[a, 1], points[a, 2]
        dx1, dy1, dz1 = points[b, 0] - x0, points[b, 1] - y0, points[b, 2] - z0
        dx2, dy2, dz2 = points[c, 0] - x0, points[c, 1] - y0, points[c, 2] - z0
        area = dx1 * dy2 - dx2 * dy1
        if abs(area) < 1e-9:
            continue
        inverse = 1 / area
        left = max(0, math.ceil(x0 + min(0.0, dx1, dx2) - 0.5))
        right = min(width - 1, math.floor(x0 + max(0.0, dx1, dx2) - 0.5))
        top = max(0, math.ceil(y0 + min(0.0, dy1, dy2) - 0.5))
        bottom = min(height - 1, math.floor(y0 + max(0.0, dy1, dy2) - 0.5))
        for j in range(top, bottom + 1):
            for i in range(left, right + 1):
                px, py = i + 0.5 - x0, j + 0.5 - y0
                u = (px * dy2 - dx2 * py) * inverse
                v = (dx1 * py - px * dy1) * inverse
                if u < -1e-6 or v < -1e-6 or u + v > 1 + 1e-6:
                    continue
                z = z0 + u * dz1 + v * dz2
                if z > depth[j, i]:
                    depth[j, i] = z
                    owner[j, i] = t
                    bary[j, i, 0] = u
                    bary[j, i, 1] = v


def shrink(values: np.ndarray, factor: int) -> np.ndarray:
    """Mean over blocks of factor x factor pixels of (H, W, K); far faster than reducing a reshaped array."""
    total = np.zeros((values.shape[0] // factor, values.shape[1] // factor, *values.shape[2:]), values.dtype)
    for row in range(factor):
        for column in range(factor):
            total += values[row::factor, column::factor]
    return total / np.asarray(factor**2, values.dtype)


@njit(cache=True, fastmath=True)
def interpolate(owner, bary, triangles, values):  # type: ignore[no-untyped-def]  # numba types it
    """(H, W, K) float32 picture of (V, K) vertex values; zero where nothing is visible."""
    height, width = owner.shape
    channels = values.shape[1]
    out = np.zeros((height, width, channels), np.float32)
    for j in range(height):
        for i in range(width):
            t = owner[j, i]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            u, v = bary[j, i, 0], bary[j, i, 1]
            w = 1 - u - v
            for k in range(channels):
                out[j, i, k] = values[a, k] * w + values[b, k] * u + values[c, k] * v
    return out
