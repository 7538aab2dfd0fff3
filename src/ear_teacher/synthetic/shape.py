"""Identity: the shape of a person's ear, drawn within anatomical bounds.

A shape is a handful of signed sliders in [-1, 1] (`SLIDERS`), an age, and small asymmetries. The sliders drive the
MakeHuman morph targets and a set of own, finer reliefs (tragus, antitragus, antihelix with its crura, scapha, concha,
helix roll), which the base mesh carries only faintly.
"""

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np

from ear_teacher.synthetic.mesh import FEATURES, RIM, EarMesh, ear_mesh

EAR_HEIGHT = 0.65
"""Height of every ear after normalisation, in model units: a photo tells nothing of the absolute size, and light, hair
and bump scales can then be constants. One unit is a decimetre on an adult's ear of 65 mm."""

# Slider: (target where positive, target where negative, standard deviation, bound).
_TARGETS: dict[str, tuple[str, str, float, float]] = {
    "flap": ("ears/l-ear-flap-incr", "ears/l-ear-flap-decr", 0.30, 0.65),
    "lobe": ("ears/l-ear-lobe-incr", "ears/l-ear-lobe-decr", 0.40, 0.80),
    "tilt": ("ears/l-ear-rot-forward", "ears/l-ear-rot-backward", 0.35, 0.90),
    "size": ("ears/l-ear-scale-incr", "ears/l-ear-scale-decr", 0.30, 0.80),
    "depth": ("ears/l-ear-scale-depth-incr", "ears/l-ear-scale-depth-decr", 0.40, 0.90),
    "height": ("ears/l-ear-scale-vert-incr", "ears/l-ear-scale-vert-decr", 0.40, 0.90),
    "wing": ("ears/l-ear-wing-incr", "ears/l-ear-wing-decr", 0.40, 0.90),
}
_OUTLINES = {"pointed": 0.15, "round": 0.8, "square": 0.55, "triangle": 0.25}
"""Largest weight of the outline targets, one of which a person may have; pointed ears stay human up to there."""

# Own reliefs: slider -> (polyline of vertices, push direction, width, amount at -1, amount at +1), model units.
_RELIEFS: dict[str, tuple[tuple[int, ...], tuple[float, float, float], float, float, float]] = {
    "tragus": ((12033, 12055, 12011), (0.25, 0.05, -1.0), 0.045, 0.02, 0.075),
    "antitragus": ((12085, 12093), (0.75, 0.60, 0.25), 0.035, 0.01, 0.05),
    "notch": ((12057, 12252), (-1.0, -0.15, 0.20), 0.030, 0.0, 0.05),
    "antihelix": (FEATURES["antihelix"][1:8], (1.0, 0.0, 0.0), 0.030, 0.02, 0.060),
    "superior_crus": ((12191, 12192, 12198), (1.0, 0.0, 0.0), 0.026, 0.0, 0.025),
    "inferior_crus": (FEATURES["inferior_crus"][1:], (1.0, 0.0, 0.0), 0.022, 0.0, 0.040),
    "scapha": ((12307, 12319, 12304, 12302, 12314, 12299, 12310, 12302), (-1.0, 0.0, 0.0), 0.024, 0.01, 0.05),
    "concha": ((12188, 12107, 12138), (-1.0, 0.0, 0.0), 0.055, 0.0, 0.045),
    "cymba": ((12246, 12218, 12239), (-1.0, 0.0, 0.0), 0.030, 0.0, 0.03),
    "free_lobe": ((12019, 12027), (0.1, -1.0, 0.0), 0.060, -0.02, 0.04),
    "lobe_body": ((12053, 12050, 12049), (0.0, -0.4, -0.9), 0.060, 0.0, 0.05),
    "darwin": ((12043, 12038), (0.3, 0.15, -0.8), 0.028, -0.01, 0.02),
    "helix_roll": ((12058, 12056, 12059, 12065, 12060, 12066, 12062, 12061), (0.9, 0.0, 0.25), 0.026, -0.005, 0.04),
}
_TRIES = 5
_SHRINK = (0.8, 0.6, 0.4, 0.2, 0.0)
SLIDERS = (*_TARGETS, *_RELIEFS)


@dataclass(frozen=True)
class Shape:
    """The shape of one person's left ear (the right one is its mirror image).

    Attributes:
        sliders: value of every name in `SLIDERS`, in [-1, 1].
        weights: (M,) weight of every morph target of the mesh.
        age: years, 4 to 85; chooses between child, young and old targets.
        outline: name of the outline target, or "plain".
    """

    sliders: dict[str, float]
    weights: np.ndarray
    age: float
    outline: str


@dataclass(frozen=True)
class Geometry:
    """A shape as surfaces, centred on the ear and scaled to `EAR_HEIGHT`.

    Attributes:
        coarse: (V1, 3) float64 positions after one subdivision, model units.
        fine: (V2, 3) float64 positions after two.
        size: height of the ear before normalisation, relative to the neutral adult's.
    """

    coarse: np.ndarray
    fine: np.ndarray
    size: float


def sample_shape(rng: np.random.Generator) -> Shape:
    """Draw a shape. One outside the anatomical bounds is drawn again; after a few tries, drawn in towards the mean."""
    age = float(rng.choice([rng.uniform(4, 18), rng.uniform(18, 60), rng.uniform(60, 85)], p=[0.15, 0.6, 0.25]))
    head = _head_weights(rng, age)
    for attempt in range(_TRIES + len(_SHRINK)):
        if attempt < _TRIES:
            sliders, outline, own = _draw(rng)
        shrink = 1.0 if attempt < _TRIES else _SHRINK[attempt - _TRIES]
        calm = {name: value * shrink for name, value in sliders.items()}
        weights = (head + own) * shrink
        for name, (positive, negative, _, bound) in _TARGETS.items():
            weights[_index(positive if calm[name] > 0 else negative)] = abs(calm[name]) * bound
        shape = Shape(calm, weights, age, outline)
        if within_bounds(shape):
            break
    return shape


def _draw(rng: np.random.Generator) -> tuple[dict[str, float], str, np.ndarray]:
    """Sliders, outline, and the weights of outline and asymmetry targets."""
    sliders = {name: float(np.clip(rng.normal(0, sd / bound), -1, 1)) for name, (_, _, sd, bound) in _TARGETS.items()}
    sliders |= {name: float(rng.uniform(-1, 1)) for name in _RELIEFS}
    own = np.zeros(len(ear_mesh().names))
    outline = str(rng.choice(["plain", *_OUTLINES], p=[0.4, 0.12, 0.18, 0.15, 0.15]))
    if outline != "plain":
        own[_index(f"ears/l-ear-shape-{outline}")] = rng.uniform(0.1, 1) * _OUTLINES[outline]
    for k in range(1, 5):
        for side in "lr":
            own[_index(f"asym/asym-ear-{k}-{side}")] = float(np.clip(rng.normal(0, 0.2), -0.4, 0.4))
    return sliders, outline, own


def build_geometry(shape: Shape) -> Geometry:
    """Morph, sculpt, subdivide and normalise the mesh."""
    mesh = ear_mesh()
    amounts = np.array(
        [low + (high - low) * (shape.sliders[n] + 1) / 2 for n, (_, _, _, low, high) in _RELIEFS.items()]
    )
    # einsum without optimisation does not call BLAS, whose sums depend on the number of threads.
    morphed = mesh.base + np.einsum("m,mvc->vc", shape.weights, mesh.moves)
    coarse = mesh.to_coarse @ morphed + np.einsum("r,rvc->vc", amounts, _reliefs())
    fine = mesh.to_fine @ coarse
    rim = fine[mesh.vertices(RIM)]
    low, high = rim.min(0), rim.max(0)
    height = high[1] - low[1]
    scale = EAR_HEIGHT / height
    centre = (low + high) / 2
    return Geometry((coarse - centre) * scale, (fine - centre) * scale, float(height / _neutral_height()))


def within_bounds(shape: Shape) -> bool:
    """Whether the ear is one that people have: proportions, protrusion, depth of the concha, and a lobe that neither
    folds nor comes to a point."""
    mesh = ear_mesh()
    fine = build_geometry(shape).fine
    width = np.ptp(fine[mesh.vertices(RIM)][:, 2]) / EAR_HEIGHT
    protrusion = np.ptp(fine[mesh.vertices(RIM)][:, 0]) / EAR_HEIGHT
    rim_x = fine[mesh.vertices((12044, 12040, 12193))][:, 0].mean()
    concha_depth = (rim_x - fine[mesh.vertices((12107, 12138))][:, 0].mean()) / EAR_HEIGHT
    return (
        0.46 < width < 0.74
        and 0.20 < protrusion < 0.52
        and 0.15 < concha_depth < 0.46
        and lobe_width(fine) > 0.24
        and not lobe_folds(fine)
    )


def lobe_width(fine: np.ndarray) -> float:
    """Width of the lobe 8 % of the ear's height above its lowest point, over the ear's height. Pointed lobes < 0.24."""
    mesh = ear_mesh()
    outline = fine[mesh.vertices((*RIM[12:], 12013))]
    bottom = outline[:, 1].min()
    level = bottom + 0.08 * EAR_HEIGHT
    crossings = []
    for a, b in itertools.pairwise(outline):
        if (a[1] - level) * (b[1] - level) < 0:
            crossings.append(a[2] + (b[2] - a[2]) * (level - a[1]) / (b[1] - a[1]))
    return float(np.ptp(crossings) / EAR_HEIGHT) if len(crossings) > 1 else 1.0


def lobe_folds(fine: np.ndarray) -> bool:
    """Whether any face on the front of the lobe that looks sideways in the neutral ear looks inwards in this one."""
    corners = fine[_lobe_front()]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return bool((normals[:, 0] < -0.1 * np.linalg.norm(normals, axis=1)).any())


@cache
def _neutral_height() -> float:
    mesh = ear_mesh()
    return float(np.ptp(mesh.texture[mesh.vertices(RIM)][:, 1]))


@cache
def _lobe_front() -> np.ndarray:
    """Triangles of the lobe's front side: those that clearly face +x in the neutral mesh."""
    mesh = ear_mesh()
    tris = mesh.fine_triangles
    in_lobe = (mesh.regions[tris].argmax(2) == 5).all(1)
    corners = mesh.texture[tris]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return tris[in_lobe & (normals[:, 0] > 0.8 * np.linalg.norm(normals, axis=1))]


@cache
def _reliefs() -> np.ndarray:
    """(len(_RELIEFS), V1, 3) displacement of every own relief at amount 1: a Gaussian around its polyline."""
    mesh = ear_mesh()
    coarse = mesh.to_coarse @ mesh.base
    return np.stack([_relief(mesh, coarse, *relief[:3]) for relief in _RELIEFS.values()])


def _relief(
    mesh: EarMesh, coarse: np.ndarray, line: tuple[int, ...], push: tuple[float, float, float], width: float
) -> np.ndarray:
    knots = mesh.base[mesh.vertices(line)]
    steps = np.linspace(0, 1, 9)[:, None]
    points = np.concatenate([a + (b - a) * steps for a, b in itertools.pairwise(knots)])
    distance = np.linalg.norm(coarse[:, None] - points[None], axis=2).min(1)
    return np.exp(-0.5 * (distance / width) ** 2)[:, None] * np.asarray(push)


def _head_weights(rng: np.random.Generator, age: float) -> np.ndarray:
    """Weights of the head: sex, origin and age mixed, as MakeHuman's macro targets do, and a little of its own form."""
    weights = np.zeros(len(ear_mesh().names))
    old = np.clip((age - 45) / 40, 0, 1)
    # The child target is a pre-schooler with a quite different head; half of it already reads as a child's ear.
    child = 0.7 * np.clip((16 - age) / 12, 0, 1)
    male = float(np.clip(rng.normal(rng.integers(0, 2), 0.2), 0, 1))
    for origin, share in zip(("african", "asian", "caucasian"), rng.dirichlet([0.8, 0.8, 0.8]), strict=True):
        for sex, part in (("male", male), ("female", 1 - male)):
            for stage, amount in (("child", child), ("young", 1 - child - old), ("old", old)):
                weights[_index(f"macrodetails/{origin}-{sex}-{stage}")] = share * part * amount
    for i, name in enumerate(ear_mesh().names):
        if name.startswith("head/") and rng.random() < 0.15:
            weights[i] = rng.uniform(0, 0.4)
    return weights


@cache
def _index(name: str) -> int:
    return ear_mesh().names.index(name)
