"""PYTHONPATH=src python studies/five_fixes/run.py kl_weight 240 0
PYTHONPATH=src python studies/five_fixes/run.py linear

Train v0 with one of the author's five fixes (or v0, v1, the current model, the current model held at 10 nats) on real
photos for so many steps from a seed, and measure every test picture. `linear` measures the linear codes instead.
"""

import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch
from pytorch_msssim import ssim
from torch import Tensor

from ear_teacher.config import LossConfig, Variant, load_config
from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.files import write_atomically
from ear_teacher.linear import fit_codes, spectrum
from ear_teacher.losses import Loss, perceptual_trunk
from ear_teacher.metrics.health import decoder_codes
from ear_teacher.models import EarVAE, new_model
from ear_teacher.perceptual import TRUNK_FILE, load_lpips, lpips_from_features, trunk_features
from ear_teacher.stage import run
from ear_teacher.training.controller import target_start, wished_point
from ear_teacher.training.loop import Pictures, train
from ear_teacher.weights import load_trunk

HERE = Path("studies/five_fixes")
TRUNKS = Path("data/weights/perceptual")
FIXES = {
    "kl_weight": "loss", "latent_dim": "model", "recon": "loss", "perceptual_weight": "loss", "ssim_weight": "loss",
}  # fmt: skip
KL_WISH = 10.0


def main() -> None:
    torch.set_num_threads(1)  # so that the results are the same on any number of cores
    data = PreparedData.load(Path("studies/photos/64"))
    tests = data.rows("test")
    images, people = to_tensor(data.images[tests]), data.index.loc[tests, "person"].to_list()
    judge = load_lpips("alex", TRUNKS / TRUNK_FILE["alex"])
    if sys.argv[1] == "linear":
        for grid, code in fit_codes(data.images, data.rows("train"), (1, 4), 1024).items():
            for floats in (512, 1024):
                recons = code.truncated(floats).reconstruct(images)
                write(quality(recons, images, judge), people, HERE / f"linear/{grid}x{grid}-{floats}.csv")
        return

    name, steps, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    variant = variant_of(name)
    codes = fit_codes(data.images, data.rows("train"), (4,), 1024) if name.startswith("current") else {}
    code = codes.get(variant.model.grid)
    start, weight = None, variant.loss.kl_weight
    if code is not None:
        energies = spectrum(code)
        weight = wished_point(variant.loss, energies, variant.model.latent_dim).kl_weight
        start = target_start(variant.loss, energies, variant.model.latent_dim) if variant.loss.kl_target else None
    assert weight is not None
    model = new_model(
        variant.model, data.image_size, kl_weight=weight, seed=seed, code=code,
        shrink=variant.loss.kl_weight is None, backbone=load_trunk(Path("data/weights/v0/backbone.safetensors")),
    )  # fmt: skip
    trunk = perceptual_trunk(variant.loss)
    loss = Loss(variant.loss, load_lpips(trunk, TRUNKS / TRUNK_FILE[trunk]) if trunk else None)
    budget = {"steps": steps, "validate_every": steps, "select": "last", "seed": seed, "milestones": ()}
    pictures = Pictures(data.images, data.rows("train"), data.rows("val", 64))
    with tempfile.TemporaryDirectory() as folder:
        result = train(model, loss, pictures, variant.train.model_copy(update=budget), Path(folder), kl_start=start)
    terms = {key.rpartition("/")[2]: value for key, value in result.rows[-1].items() if "val/weighted" in key}
    table = measure(model, images, judge)
    # Of the loss at the end of the run, on validation people: the KL's part and everything else.
    table["loss_kl"], table["loss_rest"] = terms["kl"], sum(terms.values()) - terms["kl"]
    write(table, people, HERE / f"runs/{name}-{steps}-{seed}.csv")


def variant_of(name: str) -> Variant:
    """v0, v1, v0 with one fix, or the current model, free or held at a KL."""
    config = load_config("studies/params.yaml")
    if name in FIXES:
        section = FIXES[name]
        value = getattr(getattr(config.v1, section), name)
        part = getattr(config.v0, section).model_copy(update={name: value})
        return config.v0.model_copy(update={section: part})
    variant = config.variant(name.removesuffix("_kl_10"))
    if not name.endswith("_kl_10"):
        return variant
    held = variant.loss.model_dump() | {"kl_weight": None, "kl_target": KL_WISH}
    # Held that low, the linear maps have to follow: the current model's own are fitted without a rate limit.
    free = variant.train.model_copy(update={"linear_lr_scale": 1.0})
    return variant.model_copy(update={"loss": LossConfig.model_validate(held), "train": free})


@torch.no_grad()
def measure(model: EarVAE, images: Tensor, judge: torch.nn.Module) -> pd.DataFrame:
    """Quality of every picture through the posterior's mean, its KL, and PSNR with its own and with another's code."""
    model.eval()
    posteriors = [model.encode(part) for part in images.split(25)]
    mean, logvar = (torch.cat([getattr(p, key) for p in posteriors]) for key in ("mean", "logvar"))

    def decoded(codes: Tensor) -> Tensor:
        return torch.cat([model.decode(part).clamp(0, 1) for part in codes.split(25)])

    codes = decoder_codes(mean, logvar, torch.Generator().manual_seed(0))
    table = quality(decoded(mean), images, judge)
    table["kl"] = torch.cat([p.kl().sum(1) for p in posteriors]).numpy()
    for name in ("sampled", "shuffled"):
        table[f"psnr_{name}"] = psnr(decoded(codes[name]), images).numpy()
    return table


@torch.no_grad()
def quality(recons: Tensor, images: Tensor, judge: torch.nn.Module) -> pd.DataFrame:
    """PSNR, SSIM and LPIPS (alex) of every picture, (N, 3, S, S) in [0, 1]."""
    distances = []
    for recon, image in zip(recons.split(25), images.split(25), strict=True):
        features = [trunk_features(judge, 2 * x - 1) for x in (recon, image)]  # type: ignore[arg-type]  # lpips has no types
        distances.append(lpips_from_features(judge, *features))  # type: ignore[arg-type]  # lpips has no types
    structure = ssim(recons, images, data_range=1.0, size_average=False)
    return pd.DataFrame(
        {"psnr": psnr(recons, images).numpy(), "ssim": structure.numpy(), "lpips": torch.cat(distances).numpy()}
    )


def psnr(recons: Tensor, images: Tensor) -> Tensor:
    return -10 * ((recons - images) ** 2).flatten(1).mean(1).clamp(min=1e-10).log10()


def write(table: pd.DataFrame, people: list[str], path: Path) -> None:
    write_atomically(path, table.assign(person=people).to_csv(index=False, float_format="%.5g"))


if __name__ == "__main__":
    run(main)
