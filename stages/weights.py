"""python stages/weights.py perceptual

Obtain the pretrained weights of the perceptual metrics, or of one variant's encoder (v0, v1, current).
"""

import sys
from pathlib import Path

from ear_teacher.config import NO_BACKBONE, load_config
from ear_teacher.stage import run
from ear_teacher.weights import obtain, write_manifest
from ear_teacher.weights.trunks import IMAGENET_TRUNKS


def main() -> None:
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    config = load_config("params.yaml")
    out = Path("data/weights") / name
    if name == "perceptual":
        wanted = {f"{trunk}.safetensors": trunk for trunk in IMAGENET_TRUNKS}
    else:
        backbone = config.variant(name).model.backbone
        wanted = {} if backbone == NO_BACKBONE else {"backbone.safetensors": backbone}
    write_manifest(out, {file: (trunk, obtain(trunk, config.weights, out / file)) for file, trunk in wanted.items()})


if __name__ == "__main__":
    run(main)
