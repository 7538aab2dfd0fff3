"""Draw the contact sheets of docs/synthetic.md.

    python tools/draw_synthetic_sheets.py [--out docs/images] [--only annotations]

Every sheet is a function of this file and the renderer; nothing is chosen by hand.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ear_teacher.config import SyntheticConfig
from ear_teacher.synthetic.render import Sample, render_scene
from ear_teacher.synthetic.scene import Scene, sample_scene
from ear_teacher.synthetic.skin import tone_albedo

REPOSITORY = Path(__file__).parents[1]
REGION_COLOURS = np.array(
    [[0, 0, 0], [230, 80, 70], [80, 200, 90], [80, 120, 250], [240, 200, 50], [210, 90, 230]], float
)  # fmt: skip
CONFIG = SyntheticConfig(people=1000, images_per_person=1, seed=20)


def scenes(numbers: Iterable[int], **film: object) -> list[Scene]:
    """Scenes of the data set, with some of the film's settings replaced."""
    drawn = [sample_scene(CONFIG, i) for i in numbers]
    return [replace(scene, film=replace(scene.film, **film)) for scene in drawn]  # type: ignore[arg-type]  # fields of several types


def grid(images: list[np.ndarray], columns: int) -> Image.Image:
    rows = [np.hstack(images[i : i + columns]) for i in range(0, len(images), columns)]
    return Image.fromarray(np.vstack(rows))


def colour() -> Image.Image:
    """The first 48 scenes in colour."""
    return grid([render_scene(scene, 128).image for scene in scenes(range(48), grey=False)], 8)


def grey() -> Image.Image:
    """Sixteen scenes as greyscale."""
    return grid([render_scene(scene, 128).image for scene in scenes(range(48, 64), grey=True)], 8)


def tones() -> Image.Image:
    """Two scenes, eight skin tones from light to dark, same light and same exposure."""
    images = []
    for scene in scenes((65, 68), grey=False):
        for tone in np.linspace(0, 1, 8):
            skin = replace(scene.skin, tone=float(tone), albedo=tone_albedo(float(tone)))
            images.append(render_scene(replace(scene, skin=skin, occluder="none"), 128).image)
    return grid(images, 8)


def sides() -> Image.Image:
    """Four people: left ear above, right ear below."""
    chosen = scenes(range(70, 78), grey=False)
    return grid([render_scene(replace(s, side=side), 128).image for side in ("left", "right") for s in chosen], 8)


def occluders() -> Image.Image:
    """Earrings, locks of hair, glasses."""
    kinds = ["earring"] * 4 + ["hair"] * 2 + ["glasses"] * 2
    chosen = scenes(range(80, 88), grey=False)
    chosen = [replace(s, occluder=kind) for s, kind in zip(chosen, kinds, strict=True)]
    hairy = [replace(s, hair=replace(s.hair, style="long", strands=2400, length=0.7)) for s in chosen[4:6]]
    return grid([render_scene(s, 128).image for s in chosen[:4] + hairy + chosen[6:]], 8)


def lights() -> Image.Image:
    """One person in eight scenes' light."""
    person = sample_scene(CONFIG, 90)
    chosen = scenes(range(100, 108), grey=False)
    return grid([render_scene(replace(person, lighting=s.lighting, film=s.film), 128).image for s in chosen], 8)


def people() -> Image.Image:
    """Sixteen shapes under one light, head-on, upright, without hair."""
    stage = sample_scene(CONFIG, 110)
    pose = replace(stage.pose, yaw=8.0, pitch=0.0, roll=0.0, fill=0.8, shift=(0.0, 0.0))
    hair = replace(stage.hair, style="bald", strands=0)
    chosen = [replace(s, skin=stage.skin, hair=hair, pose=pose, lighting=stage.lighting, film=stage.film, side="left",
                      occluder="none") for s in scenes(range(120, 136), grey=False)]  # fmt: skip
    return grid([render_scene(s, 128).image for s in chosen], 8)


def annotations() -> Image.Image:
    """Regions, the 17 named landmarks and the 55, on four scenes (red = hidden)."""
    size = 256
    samples = [render_scene(scene, size) for scene in scenes((140, 141, 142, 143), grey=False)]
    return grid([f(s) for f in (with_regions, with_landmarks, with_landmarks55) for s in samples], 4)


def with_regions(sample: Sample) -> np.ndarray:
    tint = REGION_COLOURS[sample.regions]
    mixed = np.where(sample.regions[..., None] > 0, 0.55 * sample.image + 0.45 * tint, sample.image)
    return np.asarray(mixed, np.uint8)


def with_landmarks(sample: Sample) -> np.ndarray:
    return _dots(sample.image, sample.landmarks, 3)


def with_landmarks55(sample: Sample) -> np.ndarray:
    return _dots(sample.image, sample.landmarks55, 2)


def _dots(picture: np.ndarray, landmarks: np.ndarray, radius: int) -> np.ndarray:
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for x, y, visible in landmarks:
        fill = (60, 255, 60) if visible else (255, 40, 40)
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill, outline=(0, 0, 0))
    return np.asarray(image)


def sizes() -> Image.Image:
    """Two scenes at 64, 128, 256 and 512 pixels, all enlarged to 384 without smoothing."""
    images = []
    for scene in scenes((151, 156), grey=False):
        for size in (64, 128, 256, 512):
            image = Image.fromarray(render_scene(scene, size).image)
            images.append(
                np.asarray(image.resize((384, 384), Image.Resampling.NEAREST if size < 384 else Image.Resampling.BOX))
            )
    return grid(images, 4)


SHEETS: dict[str, Callable[[], Image.Image]] = {
    sheet.__name__: sheet for sheet in (colour, grey, tones, sides, occluders, lights, people, annotations, sizes)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "images")
    parser.add_argument("--only", choices=SHEETS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in [arguments.only] if arguments.only else SHEETS:
        SHEETS[name]().save(arguments.out / f"synthetic_{name}.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    main()
