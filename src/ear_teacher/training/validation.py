"""The measurement of a run on its validation pictures: a row of the history."""

from __future__ import annotations

import torch
from pytorch_msssim import ssim

from ear_teacher.augmentation import Draws
from ear_teacher.config import TrainConfig
from ear_teacher.losses import Loss
from ear_teacher.models import EarVAE
from ear_teacher.training.distributed import ALONE, Processes
from ear_teacher.training.history import Row
from ear_teacher.training.pictures import Pictures, seed_of
from ear_teacher.training.teach import Teaching


@torch.no_grad()
def validate(
    model: EarVAE,
    loss: Loss,
    teaching: Teaching,
    pictures: Pictures,
    config: TrainConfig,
    processes: Processes = ALONE,
) -> tuple[Row, list[float]]:
    """Every term of the loss through a sample, PSNR and SSIM through the mean, and the KL of each latent dimension.

    No picture is masked. Processes take whole batches by turns, so each batch is what it is in one process.
    """
    model.eval()
    device = next(model.parameters()).device
    names = ("loss", *loss.weights, *teaching.weights, "psnr", "kl_nats", "ssim_index")
    starts = range(0, len(pictures.val), config.batch_size)
    table = torch.zeros(len(starts), len(names) + model.config.latent_dim, dtype=torch.float64)
    for number in range(processes.rank, len(starts), processes.count):
        rows = pictures.val[starts[number] : starts[number] + config.batch_size]
        images = pictures.batch(rows, device)
        known = pictures.known(rows, device)
        posterior, deepest = teaching.encode(model, images, known)
        draws = Draws(torch.Generator().manual_seed(seed_of(config.seed, starts[number], 2**31)))
        noise = draws.normal(*posterior.mean.shape).to(device)
        sampled = model.decode(posterior.mean + torch.exp(posterior.logvar / 2) * noise)
        total, raw = loss(sampled, images, posterior.kl())
        extra, taught = teaching(model, deepest, images, draws, known)
        recon = model.decode(posterior.mode).clamp(0, 1)
        psnr = -10 * torch.log10(((recon - images) ** 2).flatten(1).mean(1).clamp(min=1e-10))
        values = {"loss": total + extra, **raw, **taught}
        values |= {"psnr": psnr.mean(), "kl_nats": posterior.kl().sum(1).mean()}
        values["ssim_index"] = ssim(recon, images, data_range=1.0)
        table[number, : len(names)] = torch.tensor([float(values[name]) for name in names], dtype=torch.float64)
        table[number, len(names) :] = posterior.kl().double().sum(0).cpu()
    sums = dict.fromkeys(names, 0.0)
    kl_per_dim = torch.zeros(model.config.latent_dim, dtype=torch.float64)
    for start, line in zip(starts, processes.sum(table), strict=True):
        for name, value in zip(names, line.tolist(), strict=False):
            sums[name] += value * min(config.batch_size, len(pictures.val) - start)
        kl_per_dim += line[len(names) :]
    means = {name: value / len(pictures.val) for name, value in sums.items()}
    quality = {"val/psnr": means["psnr"], "val/ssim": means["ssim_index"], "val/kl": means["kl_nats"]}
    row = {"val/loss": means["loss"]} | quality | terms("val", means, loss.weights | teaching.weights)
    return row, (kl_per_dim / len(pictures.val)).tolist()


def terms(split: str, means: dict[str, float], weights: dict[str, float]) -> Row:
    """The terms of a row, raw and weighted."""
    raw = {f"{split}/raw/{name}": means[name] for name in weights}
    return raw | {f"{split}/weighted/{name}": weight * means[name] for name, weight in weights.items()}
