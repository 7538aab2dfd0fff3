"""python stages/weights.py perceptual

Obtain the pretrained weights of the perceptual metrics, or those one variant needs (v0, v1, current).
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
        variant = config.variant(name)
        wanted = {}
        if variant.model.backbone != NO_BACKBONE:
            wanted["backbone.safetensors"] = variant.model.backbone
        if variant.teach.align_weight:
            wanted["align.safetensors"] = variant.teach.align_backbone
    write_manifest(out, {file: (trunk, obtain(trunk, config.weights, out / file)) for file, trunk in wanted.items()})


if __name__ == "__main__":
    run(main)
