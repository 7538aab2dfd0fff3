"""The ear mesh: what the asset holds, its two subdivision levels and the fixed attributes of its vertices.

Positions are in decimetres in MakeHuman's frame: x to the person's left, y up, z forward. The patch is the left side of
a head within 9.5 cm of the ear. Anatomical features are named by chains of MakeHuman vertex numbers (`FEATURES`).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import dijkstra

from ear_teacher.synthetic.subdivision import catmull_clark, triangles

ASSET = Path(__file__).parent / "asset" / "ear.npz"
UNIT = 1e-4
"""Decimetres of one integer step of the asset."""

REGION_NAMES = ("helix", "antihelix", "concha", "tragus", "lobe")
"""Region i of the label map is REGION_NAMES[i - 1]; 0 is everything else. The scapha, the triangular fossa and the
antitragus count as antihelix, the crus of the helix as helix, the ear canal's mouth as concha."""

RIM = (12054, 12045, 12165, 12048, 12047, 12046, 12036, 12034, 12037, 12043, 12038, 12044, 12040, 12039, 12051, 12166,
       12052, 12053, 12050, 12049, 12041, 12035)  # fmt: skip
"""The crest of helix and lobe, from the helix's root over the top and down to the lobe's front."""

FEATURES: dict[str, tuple[int, ...]] = {
    "antihelix": (12094, 12181, 12180, 12200, 12195, 12193, 12105, 12110, 12185, 12191, 12192, 12198),
    "inferior_crus": (12104, 12142, 12175, 12173),
    "scapha": (12074, 12307, 12319, 12304, 12302, 12314, 12299, 12310, 12302, 12313, 12317),
    "fossa": (12177, 12102, 12100, 12103),
    "concha": (12188, 12107, 12138, 12129, 12115, 12280, 12240, 12246, 12218, 12229, 12228, 12108, 12101),
    "tragus": (12055, 12033, 12077, 12309, 12086, 12064),
    "antitragus": (12085, 12093, 12094, 12187, 12311),
    "lobe": (12035, 12041, 12049, 12050, 12013, 12019, 12027, 12028, 12063, 12071, 12072, 12057),
}

_AURICLE = range(12011, 12368)
"""MakeHuman's numbers of the left auricle and the strip of skin around it."""

# Seeds of the regions on the front of the ear; the other vertices take the label of the nearest seed along the mesh.
_SEEDS: dict[str, tuple[int, ...]] = {
    "helix": (*RIM[:18], 12032, 12023, 12163, 12026, 12025, 12024, 12014, 12012, 12015, 12021, 12016, 12022, 12018,
              12017, 12029, 12164, 12030, 12067, 12167, 12070, 12069, 12068, 12058, 12056, 12059, 12065, 12060, 12066,
              12062, 12061, 12073, 12168, 12074, 12076, 12098, 12121),
    "antihelix": (*FEATURES["antihelix"], *FEATURES["inferior_crus"], *FEATURES["scapha"], *FEATURES["fossa"],
                  *FEATURES["antitragus"], 12112, 12183, 12097, 12206, 12315, 12196),
    "concha": FEATURES["concha"],
    "tragus": FEATURES["tragus"],
    "lobe": FEATURES["lobe"],
    "": (12332, 12360, 12333, 12351, 12342, 12336, 12335, 12338, 12353, 12355, 12324, 12325, 12328, 12349, 12011,
         12356),
}  # fmt: skip


@dataclass(frozen=True)
class EarMesh:
    """The neutral ear and everything about it that no image changes.

    Attributes:
        ids: MakeHuman number of each of the V0 base vertices.
        base: (V0, 3) float64 positions of the neutral mesh.
        names: names of the M morph targets.
        moves: (M, V0, 3) float64 displacements of the targets.
        to_coarse: sparse (V1, V0), one subdivision.
        to_fine: sparse (V2, V1), the second.
        coarse_triangles: (T1, 3) int32.
        fine_triangles: (T2, 3) int32.
        texture: (V2, 3) positions of the neutral fine mesh: the coordinates of everything painted on the skin.
        regions: (V2, 1 + len(REGION_NAMES)) membership in background and the regions, rows sum to 1.
        auricle: (V2,) how much a vertex belongs to the ear rather than the head, 0..1.
    """

    ids: np.ndarray
    base: np.ndarray
    names: tuple[str, ...]
    moves: np.ndarray
    to_coarse: sp.csr_matrix
    to_fine: sp.csr_matrix
    coarse_triangles: np.ndarray
    fine_triangles: np.ndarray
    texture: np.ndarray
    regions: np.ndarray
    auricle: np.ndarray

    def vertices(self, numbers: tuple[int, ...]) -> np.ndarray:
        """Local vertex indices of MakeHuman vertex numbers. Base vertices keep their index at every level."""
        local = np.searchsorted(self.ids, numbers)
        if not np.array_equal(self.ids[local], numbers):
            raise KeyError("vertex number outside the patch")
        return local


@cache
def ear_mesh() -> EarMesh:
    """Load the asset once per process (about half a second)."""
    with np.load(ASSET, allow_pickle=False) as asset:
        ids, quads = asset["ids"], asset["quads"].astype(np.int64)
        base = asset["vertices"] * UNIT
        names = tuple(str(name) for name in asset["names"])
        moves = asset["moves"] * UNIT
    to_coarse, coarse_quads = catmull_clark(len(base), quads)
    to_fine, fine_quads = catmull_clark(to_coarse.shape[0], coarse_quads)
    labels = _region_labels(ids, base, quads)
    regions = to_fine @ (to_coarse @ np.eye(1 + len(REGION_NAMES))[labels])
    # Displacements of the ear's own targets fade out on the head: their size says what is auricle.
    own = [i for i, name in enumerate(names) if name.startswith("ears/") and ("shape" in name or "depth" in name)]
    reach = np.linalg.norm(moves[own], axis=2).max(0)
    return EarMesh(
        ids=ids,
        base=base,
        names=names,
        moves=moves,
        to_coarse=to_coarse,
        to_fine=to_fine,
        coarse_triangles=triangles(coarse_quads),
        fine_triangles=triangles(fine_quads),
        texture=to_fine @ (to_coarse @ base),
        regions=regions,
        # The canal stays put under those targets, yet belongs to the ear.
        auricle=np.clip(to_fine @ (to_coarse @ np.maximum(np.clip((reach - 0.01) / 0.02, 0, 1), labels > 0)), 0, 1),
    )


def _region_labels(ids: np.ndarray, base: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Label of each base vertex: that of the nearest seed, measured along the mesh's edges and quad diagonals."""
    pairs = np.vstack([quads[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3))])
    lengths = np.linalg.norm(base[pairs[:, 0]] - base[pairs[:, 1]], axis=1)
    # Shared edges come twice; a matrix built from pairs would add their lengths up.
    _, first = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
    pairs, lengths = pairs[first], lengths[first]
    graph = sp.csr_matrix((lengths, (pairs[:, 0], pairs[:, 1])), (len(base), len(base)))
    distances = []
    for name in ("", *REGION_NAMES):
        seeds = np.searchsorted(ids, _SEEDS[name])
        if not name:
            seeds = np.union1d(seeds, np.flatnonzero((ids < _AURICLE.start) | (ids >= _AURICLE.stop)))
        distances.append(dijkstra(graph, directed=False, indices=seeds, min_only=True))
    return np.argmin(distances, axis=0)
