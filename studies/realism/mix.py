"""What 2,000 synthetic pictures gain or lose in the training on real ones, equal steps.

    python studies/realism/mix.py --photos <EarVN1.0 folder> --trunks data/weights/perceptual

Trains the current model of params.yaml on the training people's photos, on those and 2,000 synthetic pictures together,
and on the synthetic ones alone: same steps, same seeds, batches drawn uniformly from the union, the linear code fitted
on what each arm trains on. Every arm chooses its checkpoint on the same validation people's photos and is measured on
all photos of the test people. Prints one JSON line: per arm the means over photos and seeds, and the change against
photos alone, of the same photos, with its 95 % interval over people.

`--work` keeps the prepared photos and the finished runs for the next call; keep that folder out of the repository.
"""

import argparse
import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ear_teacher.config import DataConfig, SyntheticConfig, Variant, load_config
from ear_teacher.data import PreparedData, prepare, to_tensor
from ear_teacher.evaluation import Rebuild, measure
from ear_teacher.files import write_atomically
from ear_teacher.linear import LinearCode, fit_klt, spectrum
from ear_teacher.losses import Loss
from ear_teacher.metrics.quality import Nets
from ear_teacher.metrics.statistics import paired_change
from ear_teacher.models import EarVAE, new_model
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.stage import run
from ear_teacher.synthetic import synthesize
from ear_teacher.training.checkpoints import delete_checkpoints, run_key
from ear_teacher.training.controller import target_start, wished_point
from ear_teacher.training.history import Row
from ear_teacher.training.loop import Pictures, train

ARMS = {"real": ("real",), "mixed": ("real", "synthetic"), "synthetic": ("synthetic",)}
SYNTHETIC = SyntheticConfig(people=400, images_per_person=5)
METRICS = ("psnr", "ssim", "lpips_alex")
VALIDATION_PICTURES = 128
BATCH = 25


def photos(config: DataConfig, folder: Path, work: Path) -> PreparedData:
    """The photos as stage prepare makes them; the person is the number in `earvn1_<person>_<photo>.jpg`."""
    if not (work / "prepared").exists():
        found = {"source": "folder", "path": str(folder), "person_regex": r"earvn1_(\d+)_"}
        prepare(config.model_copy(update=found), work / "prepared")
    return PreparedData.load(work / "prepared")


def rendered(size: int, work: Path) -> np.ndarray:
    """(2000, S, S, 3) uint8."""
    path = work / "synthetic.npy"
    if not path.exists():
        pictures = np.stack([sample.image for sample in synthesize(SYNTHETIC, size)])
        with path.with_suffix(".part").open("wb") as file:
            np.save(file, pictures)
        path.with_suffix(".part").replace(path)
    return np.load(path)


def run_arm(
    variant: Variant, code: LinearCode, pictures: Pictures, lpips: torch.nn.Module, checkpoints: Path
) -> EarVAE:
    """Train one arm with one seed, as stage train does, up to its best checkpoint."""
    energies, floats = spectrum(code), variant.model.latent_dim
    model = new_model(
        variant.model,
        pictures.images.shape[1],
        kl_weight=wished_point(variant.loss, energies, floats).kl_weight,
        seed=variant.train.seed,
        code=code,
        shrink=variant.loss.kl_weight is None,
    )

    def watch(rows: list[Row], model: EarVAE) -> None:
        row = rows[-1]
        print(f"  step {row['step']:.0f}: loss {row['val/loss']:.5f}, PSNR {row['val/psnr']:.2f} dB", flush=True)

    kl_start = target_start(variant.loss, energies, floats)
    loss = Loss(variant.loss, lpips)
    result = train(model, loss, pictures, variant.train, checkpoints, watch, kl_start=kl_start)
    model.load_state_dict(result.best)
    delete_checkpoints(checkpoints)
    return model.eval()


def summary(tables: dict[str, list[pd.DataFrame]], people: pd.Series) -> dict[str, object]:
    """Means of each arm over photos and seeds, and the change against the arm `real` with its interval over people."""
    means = {arm: pd.concat(runs).groupby(level=0).mean() for arm, runs in tables.items()}
    result: dict[str, object] = {}
    for arm, table in means.items():
        figures: dict[str, object] = {name: round(float(table[name].mean()), 4) for name in METRICS}
        if arm != "real" and "real" in means:
            for name in METRICS:
                change = paired_change(means["real"][name], table[name], people)
                figures[f"{name}_change"] = [round(float(change[key] or 0), 4) for key in ("mean", "ci_low", "ci_high")]
                pairs = zip(tables["real"], tables[arm], strict=True)
                figures[f"{name}_by_seed"] = [round(float((b[name] - a[name]).mean()), 4) for a, b in pairs]
        result[arm] = figures
    return result


def study(arguments: argparse.Namespace, work: Path) -> dict[str, object]:
    """Train and measure every arm with every seed; finished ones are read back from `work`."""
    config = load_config("studies/params.yaml")
    real = photos(config.data, arguments.photos, work)
    synthetic = rendered(real.image_size, work)
    images = np.concatenate([real.images, synthetic])
    rows_of = {"real": real.rows("train"), "synthetic": len(real.images) + np.arange(len(synthetic))}
    val, test = real.rows("val", VALIDATION_PICTURES), real.rows("test")
    lpips = load_lpips("alex", arguments.trunks / TRUNK_FILE["alex"])
    variant = config.variant("current")
    steps = arguments.steps or variant.train.steps

    def batches() -> Iterator[Tensor]:
        for start in range(0, len(test), BATCH):
            yield to_tensor(images[test[start : start + BATCH]])

    def measured(rebuild: Rebuild) -> pd.DataFrame:
        return measure(batches, {"": rebuild}, Nets(alex=lpips))[""][list(METRICS)]

    grid = variant.model.grid
    rows = {arm: np.concatenate([rows_of[kind] for kind in ARMS[arm]]) for arm in arguments.arms}
    codes = {arm: fit_klt(images, rows[arm], grid, variant.model.latent_dim // grid**2) for arm in arguments.arms}
    lines = {arm: [measured(code.reconstruct)] for arm, code in codes.items()}
    models: dict[str, list[pd.DataFrame]] = {arm: [] for arm in arguments.arms}
    for seed in arguments.seeds:
        now = variant.model_copy(update={"train": variant.train.model_copy(update={"steps": steps, "seed": seed})})
        for arm, code in codes.items():
            key = run_key(now.model_dump(), SYNTHETIC.model_dump(), len(images), arm, torch.get_num_threads())
            done = work / f"{arm}_{seed}_{key}.csv"
            if not done.exists():
                print(f"{arm}, seed {seed}, {len(rows[arm])} pictures, {steps} steps", flush=True)
                model = run_arm(now, code, Pictures(images, rows[arm], val), lpips, work / f"run_{key}")
                write_atomically(done, measured(model.reconstruct).to_csv(index=False))
            models[arm].append(pd.read_csv(done))
    people = real.index["person"].iloc[test].reset_index(drop=True)
    return {
        "steps": steps,
        "seeds": len(arguments.seeds),
        "photos": len(test),
        "people": int(people.nunique()),
        "models": summary(models, people) if arguments.seeds else {},
        "linear_codes": summary(lines, people),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--trunks", type=Path, required=True, help="folder that holds alexnet.safetensors")
    parser.add_argument("--work", type=Path, help="default: a temporary folder that is deleted at the end")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2], help="none: the linear codes only")
    parser.add_argument("--steps", type=int, default=0, help="default: as params.yaml says")
    parser.add_argument("--threads", type=int, default=0, help="default: all cores")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    with contextlib.ExitStack() as stack:
        work = arguments.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        print(json.dumps(study(arguments, work)))


if __name__ == "__main__":
    run(main)
