"""How well a linear classifier tells synthetic ears from real photos.

    python studies/realism/measure.py --photos <EarVN1.0 folder> --trunk data/weights/tf_efficientnet_lite0.safetensors

Both sides are matched first, so that ears are judged and not files: the same tight crop stretched to a square, the same
small size by the same filter (which takes away most traces of earlier compression and enlargement), the same JPEG, the
same share of greyscale pictures and of earrings. Features are the pooled
maps of an ImageNet network after three of its stages; the classifier is a logistic regression trained on some people
and read on others, on both sides, once with all features and once with their few main directions. Prints one JSON line:
balanced accuracy and area under the ROC curve (0.5 = cannot tell) with intervals over people, and the Frechet distance.
"""

import argparse
import io
import json
import re
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image, ImageOps
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from ear_teacher.config import SyntheticConfig
from ear_teacher.synthetic import synthesize
from ear_teacher.weights import load_trunk

SIZE = 64
RENDERED = 192
PER_PERSON = 4
DIRECTIONS = (4, 16, 0)
"""How many main directions of the features the classifier sees; 0 = all features."""
HELD_OUT = {"validation": 5, "test": 3}
"""People whose number leaves this remainder mod 7: neither trains the classifier. Neither was untouched either: both
scores were printed on every run, and the renderer was changed by looking at side-by-side sheets and picture statistics
that took in photos of all people."""


def matched(image: Image.Image) -> np.ndarray:
    """(SIZE, SIZE, 3) uint8: stretched to a square, stored as JPEG of quality 75."""
    stored = io.BytesIO()
    image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(stored, "JPEG", quality=75)
    return np.asarray(Image.open(stored))


def real_photos(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Up to PER_PERSON photos of every person, evenly spaced; (N, S, S, 3) and (N,) person numbers."""
    by_person: dict[int, list[Path]] = {}
    for path in sorted(folder.glob("*.jpg")):
        found = re.match(r"earvn1_(\d+)_", path.name)
        if found:
            by_person.setdefault(int(found[1]), []).append(path)
    pictures, people = [], []
    for person, paths in by_person.items():
        for k in np.unique(np.linspace(0, len(paths) - 1, PER_PERSON).astype(int)):
            pictures.append(matched(ImageOps.exif_transpose(Image.open(paths[k]))))
            people.append(person)
    return np.stack(pictures), np.array(people)


def synthetic_photos(people: int) -> tuple[np.ndarray, np.ndarray]:
    """As many from the renderer, cropped around the ear as the photos are (3 to 20 % of margin on each side)."""
    config = SyntheticConfig(
        people=people, images_per_person=PER_PERSON, seed=77, grey_fraction=0.03, occluder_fraction=0.35
    )
    rng = np.random.default_rng(0)
    pictures, owners = [], []
    for sample in synthesize(config, RENDERED, workers=1):
        points = sample.landmarks[:, :2]
        low, high = points.min(0), points.max(0)
        margins = rng.uniform(0.03, 0.20, (2, 2)) * (high - low)
        left, top = np.maximum(low - margins[0], 0)
        right, bottom = np.minimum(high + margins[1], RENDERED - 1)
        box = (int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom)))
        pictures.append(matched(Image.fromarray(sample.image).crop(box)))
        owners.append(sample.record["person"])
    return np.stack(pictures), np.array(owners)


@torch.inference_mode()
def features(pictures: np.ndarray, trunk: Path) -> np.ndarray:
    """(N, F) mean of the feature maps after the third, fourth and last stage of EfficientNet-Lite0."""
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True, out_indices=(2, 3, 4))
    missing = network.load_state_dict(load_trunk(trunk), strict=False).missing_keys
    assert not missing, missing
    network.eval()
    mean, std = (torch.tensor([0.5, 0.5, 0.5]).view(3, 1, 1) for _ in range(2))
    rows = []
    for start in range(0, len(pictures), 32):
        batch = torch.from_numpy(pictures[start : start + 32].copy()).permute(0, 3, 1, 2).float() / 255
        batch = torch.nn.functional.interpolate((batch - mean) / std, size=160, mode="bilinear", antialias=True)
        rows.append(torch.cat([maps.mean((2, 3)) for maps in network(batch)], 1).numpy())
    return np.concatenate(rows)


def frechet(a: np.ndarray, b: np.ndarray, dimensions: int = 64) -> float:
    """Frechet distance of two sets of features in the `dimensions` main directions of both, unit variance."""
    both = np.vstack([a, b])
    _, _, axes = np.linalg.svd(both - both.mean(0), full_matrices=False)
    a, b = (x @ axes[:dimensions].T for x in (a, b))
    scale = np.vstack([a, b]).std(0)
    a, b = a / scale, b / scale
    first, second = np.cov(a.T), np.cov(b.T)
    values, vectors = np.linalg.eigh(first)
    root = vectors @ np.diag(np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * cross)


def judge(real: np.ndarray, people: np.ndarray, synthetic: np.ndarray, owners: np.ndarray) -> dict[str, object]:
    """Train on the other people, read on the held-out ones; with all features and with their main directions only."""
    held = np.isin(people % 7, list(HELD_OUT.values())), np.isin(owners % 7, list(HELD_OUT.values()))
    scaler = StandardScaler().fit(np.vstack([real[~held[0]], synthetic[~held[1]]]))
    real, synthetic = scaler.transform(real), scaler.transform(synthetic)
    labels = np.repeat([0, 1], [(~held[0]).sum(), (~held[1]).sum()])
    training = np.vstack([real[~held[0]], synthetic[~held[1]]])
    result: dict[str, object] = {"frechet": round(frechet(real, synthetic), 2)}
    for directions in DIRECTIONS:
        axes = PCA(directions, random_state=0).fit(training) if directions else None
        reduce = axes.transform if axes else np.asarray
        classifier = LogisticRegression(C=0.01, max_iter=2000, class_weight="balanced").fit(reduce(training), labels)
        for name, remainder in HELD_OUT.items():
            groups = [
                (x[ids % 7 == remainder], ids[ids % 7 == remainder]) for x, ids in ((real, people), (synthetic, owners))
            ]
            scores = [classifier.decision_function(reduce(x)) for x, _ in groups]
            result[f"{name}_{directions or 'all'}"] = _summary(scores, [ids for _, ids in groups])
    return result


def _summary(scores: list[np.ndarray], people: list[np.ndarray]) -> dict[str, object]:
    """Balanced accuracy with its 95 % interval over people, and the area under the ROC curve."""
    right = scores[0] < 0, scores[1] > 0
    rng = np.random.default_rng(0)
    draws = [
        np.mean([hit[_resample(ids, rng)].mean() for hit, ids in zip(right, people, strict=True)]) for _ in range(500)
    ]
    labels = np.repeat([0, 1], [len(s) for s in scores])
    return {
        "accuracy": round(float((right[0].mean() + right[1].mean()) / 2), 3),
        "interval": [round(float(x), 3) for x in np.percentile(draws, [2.5, 97.5])],
        "auc": round(float(roc_auc_score(labels, np.concatenate(scores))), 4),
    }


def _resample(people: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of as many people as there are, drawn with replacement."""
    names = np.unique(people)
    return np.concatenate([np.flatnonzero(people == name) for name in rng.choice(names, len(names))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--trunk", type=Path, required=True)
    arguments = parser.parse_args()
    real, people = real_photos(arguments.photos)
    synthetic, owners = synthetic_photos(len(np.unique(people)))
    both = features(np.concatenate([real, synthetic]), arguments.trunk)
    print(json.dumps(judge(both[: len(real)], people, both[len(real) :], owners)))


if __name__ == "__main__":
    main()
