"""The figures of docs/synthetic.md that are not pictures.

python tools/measure_synthetic.py time          2,000 images at 128 px to files, kernels compiled anew; ms by size
python tools/measure_synthetic.py blur          what blur leaves of the fine detail
python tools/measure_synthetic.py ceiling       the test people of params.yaml with and without the camera's noise
python tools/measure_synthetic.py statistics [--photos <EarVN1.0 folder>]
                                                brightness, contrast, colour, beside those of real photos
"""

import argparse
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from ear_teacher.config import SyntheticConfig, load_config
from ear_teacher.synthetic import render_sample, synthesize
from ear_teacher.synthetic.render import render_scene
from ear_teacher.synthetic.scene import sample_scene


def measure_time() -> None:
    """Wall and processor time of the command as a newcomer runs it: in a new process, every kernel still to compile."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "from ear_teacher.cli import main; main()", "synthesize", "--n", "2000"]
        compiled = {"NUMBA_CACHE_DIR": str(Path(folder) / "kernels")}
        started = time.perf_counter()
        subprocess.run([*command, "--size", "128", "--out", f"{folder}/ears"], env=os.environ | compiled, check=True)
        wall = time.perf_counter() - started
    use = resource.getrusage(resource.RUSAGE_CHILDREN)  # and of their children: they were waited for
    print(f"2,000 images at 128 px: {wall:.0f} s wall, {use.ru_utime + use.ru_stime:.0f} s of processor,")
    print(f"largest process {use.ru_maxrss / 1024:.0f} MB")
    config = SyntheticConfig()
    for size in (64, 128, 256, 512):
        render_sample(config, size, 0)
        started, count = time.process_time(), 60 if size < 256 else 12
        for index in range(count):
            render_sample(config, size, index)
        print(f"{size} px: {(time.process_time() - started) / count * 1000:.0f} ms of processor an image")


def measure_blur() -> None:
    """Medians over 64 images at 128 px."""
    # Here and not above: the processes that render import this file, and torch would only cost them memory.
    import torch

    from ear_teacher.metrics.detail import detail_and_coherence, luminance

    def grey(pictures: np.ndarray) -> torch.Tensor:
        return luminance(torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255)

    pictures = _synthetic(64)
    for sigma in (0.5, 1.0, 2.0):
        blurred = np.stack([ndimage.gaussian_filter(x.astype(np.float32), (sigma, sigma, 0)) for x in pictures])
        detail, coherence = detail_and_coherence(grey(pictures), grey(blurred))
        print(f"sigma {sigma}: detail {float(detail.median()):.3f}, coherence {float(coherence.median()):.3f}")


def measure_ceiling() -> None:
    """What a model would score that rebuilds all but the noise, which nobody can know: mean over the pictures."""
    import torch
    from pytorch_msssim import ssim

    data = load_config().data
    ears, scores = data.synthetic, []
    for index in range(ears.people * ears.images_per_person):
        if index // ears.images_per_person % data.split.modulus not in data.split.test:
            continue
        scene = sample_scene(ears, index)
        pair = [scene, replace(scene, film=replace(scene.film, noise=0.0))]
        images = [np.array(render_scene(each, data.image_size).image) for each in pair]
        noisy, clean = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255 for image in images)
        psnr = -10 * torch.log10((noisy - clean).square().mean())
        scores.append([float(psnr), float(ssim(clean, noisy, data_range=1.0))])
    psnr, structure = np.mean(scores, 0)
    print(f"{len(scores)} pictures without noise against the same with it: {psnr:.1f} dB, SSIM {structure:.3f}")


def measure_statistics(photos: Path | None) -> None:
    """10th, 50th and 90th percentile over pictures of 128 px."""
    sets = {"synthetic": _synthetic(200)}
    if photos is not None:
        paths = sorted(photos.glob("*.jpg"))
        sets["photos"] = np.stack([_photo(path) for path in paths[:: max(1, len(paths) // 200)]])
    for name, pictures in sets.items():
        grey = pictures.mean(3) / 255
        saturation = np.ptp(pictures.astype(float), axis=3).mean((1, 2)) / 255
        fine = np.stack([x - ndimage.gaussian_filter(x, 1.5) for x in grey])
        figures = {"mean": grey.mean((1, 2)), "contrast": grey.std((1, 2)), "saturation": saturation,
                   "fine contrast": fine.std((1, 2))}  # fmt: skip
        for title, values in figures.items():
            print(f"{name:10} {title:14}", *(f"{x:.3f}" for x in np.percentile(values, [10, 50, 90])))


def _synthetic(count: int) -> np.ndarray:
    config = SyntheticConfig(people=count, images_per_person=1)
    return np.stack([sample.image for sample in itertools.islice(synthesize(config, 128, workers=1), count)])


def _photo(path: Path) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    return np.asarray(image.resize((128, 128), Image.Resampling.LANCZOS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=("time", "blur", "ceiling", "statistics"))
    parser.add_argument("--photos", type=Path)
    arguments = parser.parse_args()
    if arguments.figure == "time":
        measure_time()
    elif arguments.figure == "blur":
        measure_blur()
    elif arguments.figure == "ceiling":
        measure_ceiling()
    else:
        measure_statistics(arguments.photos)


if __name__ == "__main__":
    main()
