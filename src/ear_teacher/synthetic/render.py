"""Rendering one scene: mesh, light, skin, hair, camera, ground truth."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ear_teacher.config import SyntheticConfig
from ear_teacher.synthetic.backdrop import paint_backdrop
from ear_teacher.synthetic.camera import View, develop, fit_view, rotate
from ear_teacher.synthetic.hair import draw_strands, grow_strands, growth, paint_scalp, strand_colours
from ear_teacher.synthetic.landmarks import (
    LANDMARK_NAMES,
    landmark55_points,
    landmark_points,
    mirror_landmarks,
    place_landmarks,
    region_map,
)
from ear_teacher.synthetic.light import AMBIENT_MAP, SHADOW_EXTENT, Lighting, ambient_irradiance, key_irradiance
from ear_teacher.synthetic.mesh import RIM, ear_mesh
from ear_teacher.synthetic.occluders import build_beads, draw_beads
from ear_teacher.synthetic.raster import FAR, draw_visibility, interpolate, shrink, vertex_normals
from ear_teacher.synthetic.scene import Scene, sample_scene
from ear_teacher.synthetic.shape import build_geometry
from ear_teacher.synthetic.skin import scatter, shade, texture_volumes

N_LANDMARKS = len(LANDMARK_NAMES)
_GLOW = np.array([0.22, 0.06, 0.03])
"""Share of light from behind that comes through thin parts of the ear: red, since blood takes the rest."""


@dataclass(frozen=True)
class Sample:
    """One synthetic photo and its ground truth.

    Attributes:
        image: (S, S, 3) uint8 RGB; the channels are equal where the record says grey.
        landmarks: (17, 3) float32, rows as `LANDMARK_NAMES`: x, y in pixels (centre of the upper left pixel = 0, 0) and
            visible 0 or 1.
        landmarks55: (55, 3) float32, the same for the benchmarks' 55-point scheme (`LANDMARK55_GROUPS`).
        regions: (S, S) uint8, 0 = elsewhere, i = REGION_NAMES[i - 1].
        record: the index row: numbers and names by column, no nesting.
    """

    image: np.ndarray
    landmarks: np.ndarray
    landmarks55: np.ndarray
    regions: np.ndarray
    record: dict[str, Any]


def render_sample(config: SyntheticConfig, image_size: int, index: int) -> Sample:
    """Render image `index` of the data set; the result depends on nothing but the arguments.

    Args:
        config: the data set; image i shows person i // images_per_person.
        image_size: side of the picture in pixels, 32 to 1024.
        index: 0 to people * images_per_person - 1.
    """
    return render_scene(sample_scene(config, index), image_size)


def render_scene(scene: Scene, image_size: int) -> Sample:
    """Render a scene at a size."""
    mesh = ear_mesh()
    rng = np.random.default_rng(scene.entropy)
    supersampling = 2 if image_size >= 96 else 3
    side = image_size * supersampling
    geometry = build_geometry(scene.shape)
    rotation = scene.pose.rotation()
    coarse, fine = rotate(geometry.coarse, rotation), rotate(geometry.fine, rotation)
    normals = vertex_normals(fine, mesh.fine_triangles)
    marks = np.vstack([landmark_points(fine), landmark55_points(fine)])
    view = fit_view(scene.pose, np.vstack([marks, fine[mesh.vertices(RIM)]]), side)
    screen = view.project(fine)

    depth = np.full((side, side), FAR, np.float32)
    owner = np.full((side, side), -1, np.int32)
    bary = np.zeros((side, side, 2), np.float32)
    draw_visibility(screen, mesh.fine_triangles, depth, owner, bary)

    def paint(values: np.ndarray) -> np.ndarray:
        return np.asarray(interpolate(owner, bary, mesh.fine_triangles, values))

    lighting, skin = scene.lighting, scene.skin
    near = 0.15 * side
    wanted = ((screen[:, :2] > -near) & (screen[:, :2] < side + near)).all(1) & (normals[:, 0] > -0.4)
    ambient = ambient_irradiance(
        coarse, mesh.coarse_triangles, fine, normals, wanted, lighting.ambient_directions, lighting.ambient_radiance,
        SHADOW_EXTENT, AMBIENT_MAP,
    )  # fmt: skip
    attributes = paint(np.column_stack([fine, normals, mesh.texture, mesh.auricle, ambient, mesh.regions]))
    positions, facing, texture = attributes[..., 0:3], attributes[..., 3:6], attributes[..., 6:9]
    auricle, sky, openness, memberships = (
        attributes[..., 9],
        attributes[..., 10:13],
        attributes[..., 13],
        attributes[..., 14:],
    )
    facing = facing / np.sqrt(np.einsum("jic,jic->ji", facing, facing) + 1e-9)[..., None]

    shadow_map = int(np.clip(2 * image_size, 256, 1024))
    key = key_irradiance(
        fine, mesh.fine_triangles, owner, positions, facing, lighting.key_samples, SHADOW_EXTENT, shadow_map
    )
    direct = key[..., :1] * lighting.key_colour
    incident = _meter(lighting, (sky + direct)[auricle > 0.5])
    light = sky * _bounce(openness, skin.albedo) + direct
    light += key[..., 2:] * lighting.key_colour * _GLOW * (1 - memberships[..., :1])
    light = scatter(light.astype(np.float32), depth, owner, view.scale)

    low, high = texture_volumes()
    picture = paint_backdrop(side, lighting.incident(), rng)
    surface = shade(
        owner, texture, facing, auricle, light, key[..., 1], lighting.key_direction, lighting.key_colour, skin.albedo,
        np.array([skin.flush, skin.mottle, skin.relief, skin.grain, skin.oil, skin.gloss]), skin.offset, low, high,
    )  # fmt: skip
    picture[owner >= 0] = surface[owner >= 0]
    hidden = _dress(scene, view, rotation, geometry.fine, picture, depth, owner, texture, auricle, light, key, rng)

    landmarks = place_landmarks(marks, view, depth, hidden, supersampling)
    regions = region_map(memberships, owner, supersampling)
    linear = shrink(picture, supersampling)
    if scene.side == "right":
        linear, regions = linear[:, ::-1], np.ascontiguousarray(regions[:, ::-1])
        landmarks = mirror_landmarks(landmarks, image_size)
    image = develop(linear, incident, scene.film, rng)
    return Sample(image, landmarks[:N_LANDMARKS], landmarks[N_LANDMARKS:], regions, _record(scene, geometry.size))


def _meter(lighting: Lighting, on_ear: np.ndarray) -> np.ndarray:
    """(3,) irradiance the camera exposes for: between the light that reaches the ear, (N, 3), and an incident meter
    held beside it (three tenths, on a log scale). Neither knows the skin, so dark skin is not lifted."""
    beside = lighting.incident()
    at_ear = on_ear.mean(0) if len(on_ear) else beside
    return np.asarray(beside**0.3 * np.maximum(at_ear, 0.1 * beside) ** 0.7)


def _bounce(openness: np.ndarray, albedo: np.ndarray) -> np.ndarray:
    """(H, W, 3) factor on the ambient light: what is lost in a cavity partly comes back from its walls, in their colour
    (one term of the multi-bounce fit of Jimenez et al. 2016: visibility v becomes v / (1 - albedo (1 - v)))."""
    return 1 / (1 - albedo * (1 - openness[..., None]))


def _dress(
    scene: Scene, view: View, rotation: np.ndarray, head: np.ndarray, picture: np.ndarray, depth: np.ndarray,
    owner: np.ndarray, texture: np.ndarray, auricle: np.ndarray, light: np.ndarray, key: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Add scalp, jewellery or glasses and strands to the picture and its depth; return how much hair hides, (H, W)."""
    lighting, hair = scene.lighting, scene.hair
    ambient = lighting.ambient_radiance.sum(0) / 4
    low, high = texture_volumes()
    cover = growth(hair, texture[..., 1], texture[..., 2], auricle)
    paint_scalp(
        picture, owner, texture, cover, light, key[..., 0], lighting.key_colour, hair.colour, hair.density, hair.angle,
        scene.skin.offset, low, high,
    )  # fmt: skip
    normals = vertex_normals(head, ear_mesh().fine_triangles)
    balls, materials = build_beads(scene.occluder, head, normals, rng)
    if len(balls):
        placed = np.column_stack([view.project(rotate(balls[:, :3], rotation)), balls[:, 3] * view.scale])
        draw_beads(picture, depth, placed, materials, lighting.key_direction, lighting.key_colour, ambient)
    hidden = np.zeros(depth.shape, np.float32)
    strands, loose = grow_strands(hair, head, normals, rng, scene.occluder == "hair")
    strands = rotate(strands, rotation)
    if len(strands):
        colours = strand_colours(hair, strands, lighting.key_direction, lighting.key_colour, 2 * ambient, rng)
        radii = rng.uniform(0.0009, 0.0022, len(strands)) * view.scale
        draw_strands(picture, hidden, depth, auricle > 0.6, view.project(strands), loose, colours, radii, 0.85)
    return hidden


def _record(scene: Scene, size: float) -> dict[str, Any]:
    pose = scene.pose
    return {
        "index": scene.index,
        "person": scene.person,
        "side": scene.side,
        "yaw": round(pose.yaw, 2),
        "pitch": round(pose.pitch, 2),
        "roll": round(pose.roll, 2),
        "light": scene.lighting.name,
        "skin": round(scene.skin.tone, 4),
        "grey": scene.film.grey,
        "hair": scene.hair.style,
        "hair_colour": scene.hair.colour_name,
        "occluder": scene.occluder,
        "exposure": round(scene.film.exposure, 3),
        "age": round(scene.shape.age, 1),
        "outline": scene.shape.outline,
        "size": round(size, 3),
        **{f"shape_{name}": round(value, 4) for name, value in scene.shape.sliders.items()},
    }
