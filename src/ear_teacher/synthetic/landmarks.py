"""Ground truth in the picture: named landmarks and region masks.

Pixel coordinates have the centre of the upper left pixel at (0, 0), x to the right, y down.
"""

import numpy as np
from scipy import ndimage

from ear_teacher.synthetic.camera import View
from ear_teacher.synthetic.mesh import REGION_NAMES, ear_mesh

_LANDMARKS = {
    "helix_anterior": 12054, "helix_ascending": 12047, "helix_top_front": 12036, "superaurale": 12034,
    "helix_posterior_superior": 12037, "helix_posterior": 12038, "postaurale": 12040, "helix_posterior_inferior": 12051,
    "lobe_posterior_superior": 12052, "lobe_posterior": 12050, "subaurale": 12019, "otobasion_inferius": 12013,
    "tragus": 12055, "antitragus": 12085, "antihelix": 12193, "antihelix_superior_crus": 12192, "crus_helicis": 12121,
}  # fmt: skip
LANDMARK_NAMES = tuple(_LANDMARKS)
"""17 points fixed to the mesh. Superaurale, postaurale and subaurale are the vertices that are highest, most backward
and lowest on the neutral ear; on a tilted one they keep their place and need not be extreme in the picture."""


def landmark_points(fine: np.ndarray) -> np.ndarray:
    """(17, 3) positions on a (V2, 3) fine mesh."""
    return np.asarray(fine[ear_mesh().vertices(tuple(_LANDMARKS.values()))])


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
    side = owner.shape[0] // supersampling
    blocks = full.reshape(side, supersampling, side, supersampling, 1 + len(REGION_NAMES)).sum((1, 3))
    return blocks.argmax(2).astype(np.uint8)


def mirror_landmarks(landmarks: np.ndarray, side: int) -> np.ndarray:
    """Landmarks of the left-right mirrored picture of `side` pixels."""
    mirrored = landmarks.copy()
    mirrored[:, 0] = side - 1 - landmarks[:, 0]
    return mirrored
