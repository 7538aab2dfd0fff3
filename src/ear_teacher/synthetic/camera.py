"""Camera: where it stands, how it projects, and what it does to the light it catches.

View space has its origin at the ear: x towards the camera, y up, z towards the person's face (left ear).
"""

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from ear_teacher.synthetic.shape import EAR_HEIGHT


@dataclass(frozen=True)
class Pose:
    """Where the camera stands and how the ear lies in the frame.

    Attributes:
        yaw: degrees; positive = the camera stands more towards the face, negative = more behind the head.
        pitch: degrees; positive = the camera looks from above.
        roll: degrees; positive = the head leans forward (the ear's top turns towards the face).
        fill: height of the upright ear over the height of the frame.
        shift: offset of the ear's centre from the frame's, (x, y) as shares of the frame.
        distance: of the camera from the ear, model units (decimetres on an adult).
    """

    yaw: float
    pitch: float
    roll: float
    fill: float
    shift: tuple[float, float]
    distance: float

    def rotation(self) -> np.ndarray:
        """(3, 3) matrix from head to view space."""
        a, b, c = math.radians(self.yaw), math.radians(self.roll), math.radians(self.pitch)
        yaw = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
        pitch = np.array([[math.cos(c), math.sin(c), 0], [-math.sin(c), math.cos(c), 0], [0, 0, 1]])
        roll = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
        return _product(roll, _product(pitch, yaw))


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matrix product without BLAS, whose sums may depend on the number of threads."""
    return np.asarray(np.einsum("ij,...j->...i", a, b.T).T)


def rotate(points: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Apply a (3, 3) matrix to (..., 3) points."""
    return np.asarray(np.einsum("ij,...j->...i", rotation, points))


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose like those of photos cropped around an ear: many portraits from half in front, some profiles."""
    portrait = rng.random() < 0.6
    yaw = rng.normal(34, 12) if portrait else rng.normal(6, 15)
    return Pose(
        yaw=float(np.clip(yaw, -32, 52)),
        pitch=float(np.clip(rng.normal(0, 7), -18, 18)),
        roll=float(np.clip(rng.normal(0, 9), -25, 25)),
        fill=float(rng.uniform(0.65, 1.0)),
        shift=(float(rng.normal(0, 0.03)), float(rng.normal(0, 0.025))),
        distance=float(rng.uniform(4, 14)),
    )


@dataclass(frozen=True)
class View:
    """A perspective projection onto a square frame of `side` pixels.

    Attributes:
        side: pixels.
        scale: pixels per model unit at the ear's depth.
        centre: (x, y) pixels of view space's origin.
        distance: of the camera from the origin, model units.
    """

    side: int
    scale: float
    centre: tuple[float, float]
    distance: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) view space to (..., 3) pixels (x right, y down) and depth (pixels, towards the camera)."""
        shrink = self.distance / np.maximum(self.distance - points[..., 0], 0.05 * self.distance)
        return np.stack(
            [
                self.centre[0] - points[..., 2] * self.scale * shrink,
                self.centre[1] - points[..., 1] * self.scale * shrink,
                points[..., 0] * self.scale,
            ],
            axis=-1,
        )


def fit_view(pose: Pose, landmarks: np.ndarray, side: int, margin: float = 0.02) -> View:
    """A view in which every landmark lies inside the frame, as close to the pose's fill and shift as that allows.

    Args:
        landmarks: (L, 3) view-space points that must be seen.
        side: pixels of the frame.
        margin: share of the frame to keep free on each side.
    """
    scale = pose.fill / EAR_HEIGHT
    centred = View(1, scale, (0.0, 0.0), pose.distance).project(landmarks)
    room = 1 - 2 * margin
    extent = np.ptp(centred[:, :2], axis=0).max()
    if extent > room:
        scale *= room / extent
        centred = View(1, scale, (0.0, 0.0), pose.distance).project(landmarks)
    low, high = centred[:, :2].min(0), centred[:, :2].max(0)
    wanted = 0.5 + np.array(pose.shift) - (low + high) / 2
    centre = np.clip(wanted, margin - low, 1 - margin - high)
    return View(side, scale * side, (float(centre[0] * side), float(centre[1] * side)), pose.distance)


@dataclass(frozen=True)
class Film:
    """What the camera does after the light has arrived.

    Attributes:
        exposure: stops away from what an incident light meter says.
        balance: error of the white balance, log2 of red over blue.
        tint: the same for green.
        contrast: slope of the tone curve in the middle, 1 = none.
        blur: sigma of the lens and demosaicing blur, pixels of the final picture.
        sharpening: strength of the camera's unsharp mask (radius one pixel).
        noise: sensor noise at full scale, standard deviation in [0, 1]; read noise and photon noise share it.
        quality: JPEG quality.
        grey: whether the picture is stored as greyscale.
    """

    exposure: float
    balance: float
    tint: float
    contrast: float
    blur: float
    sharpening: float
    noise: float
    quality: int
    grey: bool


def sample_film(rng: np.random.Generator, grey_fraction: float) -> Film:
    """Draw a camera; noise and JPEG stay low enough for half a pixel of blur to be measurable."""
    cast = rng.random() < 0.2  # coloured lamps, filters, old scans
    return Film(
        exposure=float(np.clip(rng.normal(0, 0.3), -0.6, 0.6)),
        balance=float(rng.normal(0, 0.3 if cast else 0.12)),
        tint=float(rng.normal(0, 0.08 if cast else 0.025)),
        contrast=float(rng.uniform(1.1, 1.7)),
        blur=float(rng.uniform(0.2, 0.45)),
        sharpening=float(rng.uniform(0, 0.8)),
        noise=float(rng.uniform(0.001, 0.006)),
        quality=int(rng.integers(88, 97)),
        grey=bool(rng.random() < grey_fraction),
    )


def develop(linear: np.ndarray, incident: np.ndarray, film: Film, rng: np.random.Generator) -> np.ndarray:
    """Linear light to an 8-bit picture.

    The exposure follows the light that falls in (`incident`), not what the scene reflects: dark skin stays dark.

    Args:
        linear: (S, S, 3) linear RGB.
        incident: (3,) irradiance on the ear.

    Returns:
        (S, S, 3) uint8; its three channels are equal where the film is grey.
    """
    # Metered so that a white surface comes out just below clipping.
    gain = 0.85 * 2**film.exposure / float(incident.mean())
    # Half of the light's own colour survives the camera's automatic white balance.
    neutral = (incident / incident.mean()) ** -0.5
    balance = np.array([2 ** (film.balance / 2), 2**film.tint, 2 ** (-film.balance / 2)])
    exposed = linear * (gain * neutral * balance)
    exposed = np.stack([ndimage.gaussian_filter(exposed[..., c], film.blur, truncate=3) for c in range(3)], -1)
    exposed = exposed + film.noise * (0.3 + np.sqrt(np.clip(exposed, 0, 1))) * rng.standard_normal(exposed.shape)
    # A shoulder above 0.8 keeps highlights from clipping hard.
    bright = np.maximum(exposed - 0.8, 0)
    exposed = np.minimum(np.clip(exposed, 0, None), 0.8) + 0.2 * (1 - np.exp(-bright / 0.2))
    encoded = np.where(exposed <= 0.0031308, 12.92 * exposed, 1.055 * np.maximum(exposed, 1e-6) ** (1 / 2.4) - 0.055)
    # An S-curve through black, 0.38 and white.
    bent, rest = np.clip(encoded, 0, 1) ** film.contrast, np.clip(1 - encoded, 0, 1) ** film.contrast
    encoded = bent / (bent + rest * (0.38 / 0.62) ** (film.contrast - 1))
    soft = np.stack([ndimage.gaussian_filter(encoded[..., c], 1.0, truncate=3) for c in range(3)], -1)
    encoded = np.clip(encoded + film.sharpening * (encoded - soft), 0, 1)
    if film.grey:
        luma = encoded[..., 0] * 0.299 + encoded[..., 1] * 0.587 + encoded[..., 2] * 0.114
        encoded = np.repeat(luma[..., None], 3, axis=2)
    picture = np.rint(encoded * 255).astype(np.uint8)
    stored = io.BytesIO()
    image = Image.fromarray(picture)
    (image.convert("L") if film.grey else image).save(stored, "JPEG", quality=film.quality, subsampling=0)
    return np.asarray(Image.open(stored).convert("RGB"))
