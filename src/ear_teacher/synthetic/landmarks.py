"""Ground truth in the picture: named landmarks and region masks.

Pixel coordinates have the centre of the upper left pixel at (0, 0), x to the right, y down.
"""

from functools import cache

import numpy as np
from scipy import ndimage

from ear_teacher.synthetic.camera import View
from ear_teacher.synthetic.mesh import ear_mesh
from ear_teacher.synthetic.raster import shrink

_LANDMARKS = {
    "helix_anterior": 12054, "helix_ascending": 12047, "helix_top_front": 12036, "superaurale": 12034,
    "helix_posterior_superior": 12037, "helix_posterior": 12038, "postaurale": 12040, "helix_posterior_inferior": 12051,
    "lobe_posterior_superior": 12052, "lobe_posterior": 12050, "subaurale": 12019, "otobasion_inferius": 12013,
    "tragus": 12055, "antitragus": 12085, "antihelix": 12193, "antihelix_superior_crus": 12192, "crus_helicis": 12121,
}  # fmt: skip
LANDMARK_NAMES = tuple(_LANDMARKS)
"""17 points fixed to the mesh. Superaurale, postaurale and subaurale are the vertices that are highest, most backward
and lowest on the neutral ear; on a tilted one they keep their place and need not be extreme in the picture."""


# Chains of vertices that 55 points are spread along: group, chain, points. Order and groups are those of the 55-point
# scheme of Zhou and Zafeiriou 2017 (Deformable Models of Ears In-the-Wild).
_CURVES: tuple[tuple[str, tuple[int, ...], int], ...] = (
    ("ascending helix", (12054, 12045, 12165, 12048, 12047), 4),
    ("descending helix", (12046, 12036, 12034, 12037), 4),
    ("helix", (12043, 12038, 12044, 12040, 12039, 12051, 12166), 6),
    ("ear lobe", (12052, 12053, 12050, 12027, 12019, 12013), 6),
    ("ascending inner helix", (12067, 12167, 12070, 12069, 12068), 5),
    ("descending inner helix", (12058, 12056, 12059, 12065), 4),
    ("inner helix", (12060, 12066, 12062, 12061, 12073, 12168), 6),
    ("tragus", (12077, 12309, 12086, 12270), 4),
    ("canal", (12079,), 1),
    ("antitragus", (12300, 12187, 12196), 3),
    ("concha", (12116, 12118, 12127, 12123, 12122, 12128), 4),
    ("inferior crus", (12135, 12136, 12142, 12175), 3),
    ("superior crus", (12105, 12110, 12185, 12191, 12192, 12198), 5),
)
LANDMARK55_GROUPS = tuple(name for name, _, count in _CURVES for _ in range(count))
"""Group of each of the 55 points, in order."""


def landmark_points(fine: np.ndarray) -> np.ndarray:
    """(17, 3) positions on a (V2, 3) fine mesh."""
    return np.asarray(fine[ear_mesh().vertices(tuple(_LANDMARKS.values()))])


def landmark55_points(fine: np.ndarray) -> np.ndarray:
    """(55, 3) positions on a (V2, 3) fine mesh."""
    start, end, part = _curve_places()
    return np.asarray(fine[start] * (1 - part)[:, None] + fine[end] * part[:, None])


@cache
def _curve_places() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every 55-point as a place between two vertices: evenly spaced along its chain on the neutral ear, ends included,
    then fixed, so that a point means the same place on every ear."""
    mesh = ear_mesh()
    starts, ends, parts = [], [], []
    for _, numbers, count in _CURVES:
        chain = mesh.vertices(numbers)
        steps = np.linalg.norm(np.diff(mesh.texture[chain], axis=0), axis=1)
        along = np.concatenate([[0.0], np.cumsum(steps)])
        wanted = np.linspace(0, along[-1], count) if count > 1 else np.zeros(1)
        index = np.clip(np.searchsorted(along, wanted, side="right") - 1, 0, max(len(chain) - 2, 0))
        after = np.minimum(index + 1, len(chain) - 1)
        length = np.where(after > index, along[after] - along[index], 1.0)
        starts.append(chain[index])
        ends.append(chain[after])
        parts.append((wanted - along[index]) / length)
    return np.concatenate(starts), np.concatenate(ends), np.concatenate(parts)


def place_landmarks(
    points: np.ndarray, view: View, depth: np.ndarray, hidden: np.ndarray, supersampling: int
) -> np.ndarray:
    """Project landmarks and test whether something stands before them.

    Args:
        points: (L, 3) view space.
        view: projection onto the supersampled frame.
        depth: (H, W) depth of the scene in that frame; hidden: (H, W) 0..1, how much hair covers a pixel.
        supersampling: frame pixels per picture pixel.

    Returns:
        (L, 3) float32: x, y in picture pixels, visible 0 or 1.
    """
    screen = view.project(points)
    side = depth.shape[0]
    column = np.clip(screen[:, 0].astype(int), 0, side - 1)
    row = np.clip(screen[:, 1].astype(int), 0, side - 1)
    # A point on the rim may fall on the pixel beside it; the nearest free pixel decides, with 2 mm of tolerance.
    nearest = ndimage.minimum_filter(depth, 3)[row, column]
    visible = (screen[:, 2] > nearest - 0.02 * view.scale) & (hidden[row, column] < 0.6)
    return np.column_stack([screen[:, :2] / supersampling - 0.5, visible]).astype(np.float32)


def region_map(memberships: np.ndarray, owner: np.ndarray, supersampling: int) -> np.ndarray:
    """(S, S) uint8 label map: 0 = elsewhere, i = REGION_NAMES[i - 1].

    The map shows the bare ear: what earrings, glasses or hair cover keeps its label.

    Args:
        memberships: (H, W, 1 + regions) interpolated memberships; owner: (H, W), -1 = no skin.
        supersampling: frame pixels per picture pixel.
    """
    full = memberships.copy()
    full[owner < 0, 0] = 1
    return np.asarray(shrink(full, supersampling).argmax(2).astype(np.uint8))


def mirror_landmarks(landmarks: np.ndarray, side: int) -> np.ndarray:
    """Landmarks of the left-right mirrored picture of `side` pixels."""
    mirrored = landmarks.copy()
    mirrored[:, 0] = side - 1 - landmarks[:, 0]
    return mirrored
