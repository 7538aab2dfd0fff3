"""python stages/train.py current

Train one variant (v0, v1 or current). A run that was cut short goes on from its last checkpoint.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ear_teacher.config import NO_BACKBONE, load_config
from ear_teacher.data import PreparedData, to_uint8
from ear_teacher.files import write_atomically
from ear_teacher.linear import LinearCode, spectrum
from ear_teacher.losses import Loss, perceptual_trunk
from ear_teacher.models import EarVAE, new_model
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.pictures import Example, render, write_jpeg
from ear_teacher.stage import run
from ear_teacher.training.checkpoints import delete_checkpoints, file_hash, run_key
from ear_teacher.training.controller import target_start, wished_point
from ear_teacher.training.history import Row, write_history
from ear_teacher.training.loop import Pictures, train
from ear_teacher.weights import load_trunk

VALIDATION_PICTURES = 128
GRID_PICTURES = 6


def main() -> None:
    name = sys.argv[1]
    config = load_config()
    variant = config.variant(name)
    if variant.train.threads:
        torch.set_num_threads(variant.train.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = PreparedData.load(Path("data/prepared"))
    pictures = Pictures(data.images, data.rows("train"), data.rows("val", VALIDATION_PICTURES))
    code = LinearCode.load(Path("data/linear") / f"{variant.model.latent_layout}.safetensors")
    code = code.truncated(variant.model.latent_dim)
    energies = spectrum(code)
    backbone = None
    if variant.model.backbone != NO_BACKBONE:
        backbone = load_trunk(Path("data/weights") / name / "backbone.safetensors")
    model = new_model(
        variant.model,
        data.image_size,
        kl_weight=wished_point(variant.loss, energies, variant.model.latent_dim).kl_weight,
        seed=variant.train.seed,
        code=code if variant.model.warm_start == "klt" else None,
        shrink=variant.loss.kl_weight is None,
        backbone=backbone,
    ).to(device)
    trunk = perceptual_trunk(variant.loss)
    lpips_net = load_lpips(trunk, Path("data/weights/perceptual") / TRUNK_FILE[trunk]) if trunk else None
    loss = Loss(variant.loss, lpips_net)

    plots = Path("plots/train") / name
    shown = pictures.batch(data.rows("val", GRID_PICTURES), device)

    def watch(rows: list[Row], now: EarVAE) -> None:
        row, before = rows[-1], rows[-2]["epoch"] if len(rows) > 1 else -1.0
        tqdm.write(
            f"{name} step {row['step']:.0f}, epoch {row['epoch']:.2f}: loss {row['val/loss']:.4f}, "
            f"PSNR {row['val/psnr']:.2f} dB, SSIM {row['val/ssim']:.3f}, KL {row['val/kl']:.0f} nats"
        )
        write_history(rows, plots)
        for milestone in (0.0, *variant.train.milestones):
            if before < milestone <= row["epoch"]:
                with torch.no_grad():
                    recons = to_uint8(now.reconstruct(shown))
                sheet = render(
                    [
                        Example(f"validation picture {i + 1}", original, {f"epoch {milestone:g}": recon})
                        for i, (original, recon) in enumerate(zip(to_uint8(shown), recons, strict=True))
                    ]
                )
                write_jpeg(sheet, plots / f"milestone_epoch_{milestone:g}.jpg")

    def progress(steps: range, total: int) -> Iterable[int]:
        return tqdm(steps, desc=f"train {name}", unit="step", initial=steps.start, total=total)

    inputs = [file_hash(path) for path in (Path("data/prepared/images.npy"), Path("data/prepared/index.csv"))]
    key = run_key(variant.model_dump(), inputs, torch.get_num_threads(), str(device))
    checkpoints = Path(".checkpoints") / f"{name}-{key}"
    kl_start = target_start(variant.loss, energies, variant.model.latent_dim)
    result = train(model, loss, pictures, variant.train, checkpoints, watch, progress, kl_start)

    out = Path("models") / name
    columns = [f"step {row['step']:.0f}" for row in result.rows]
    by_rank = pd.DataFrame(-np.sort(-result.kl_per_dim, axis=1).T, columns=columns)
    by_rank.insert(0, "rank", range(1, len(by_rank) + 1))
    write_atomically(plots / "kl_per_dimension.csv", by_rank.to_csv(index=False, float_format="%.4g"))
    model = model.cpu()
    model.load_state_dict(result.last)
    model.save(out / "last")
    model.load_state_dict(result.best)
    model.save(out)
    delete_checkpoints(checkpoints)


if __name__ == "__main__":
    run(main)
