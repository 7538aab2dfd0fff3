"""PYTHONPATH=src python -m benchmarks.epoch <prepared folder> <floats> <steps>

Train the current model for some steps on prepared pictures; its last line is JSON: seconds of a step (median), and how
many steps an epoch has. A process of its own, so that its memory can be watched.
"""

import json
import sys
import time
from pathlib import Path

from benchmarks.subjects import Subject, any_code, made_ready, run_own
from benchmarks.throughput import gap


def main() -> None:
    folder, floats, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    subject = Subject.load(folder)
    variant = subject.variants["current"]
    variant = variant.model_copy(update={"model": variant.model.model_copy(update={"latent_dim": floats})})
    side = subject.data.image_size
    ready = made_ready(variant, side, any_code(variant, side))
    pictures = subject.pictures()
    stamps: list[float] = []
    whole = max(1, len(pictures.train) // variant.train.batch_size)
    run_own(variant, ready, pictures, min(steps, whole) + 1, lambda step, rebuild: stamps.append(time.perf_counter()))
    print(json.dumps({"step_s": gap(stamps[1:-1]), "steps_of_epoch": whole}))


if __name__ == "__main__":
    main()
