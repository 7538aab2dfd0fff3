"""python stages/train.py current

Train one variant (v0, v1 or current). A run that was cut short goes on from its last checkpoint. Several processes:
`torchrun --nproc-per-node 8 stages/train.py current`, or EAR_TEACHER_PROCESSES=8 (docs/scale.md).
"""

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
import yaml
from tqdm import tqdm

import ear_teacher
from ear_teacher.config import NO_BACKBONE, UserError, Variant, load_config
from ear_teacher.data import PreparedData, to_uint8
from ear_teacher.data.normalization import GreyNormalization
from ear_teacher.files import write_atomically
from ear_teacher.linear import LinearCode, spectrum
from ear_teacher.models import EarVAE
from ear_teacher.models.encoders import BackboneEncoder
from ear_teacher.pictures import Example, render, write_jpeg
from ear_teacher.stage import patiently, run
from ear_teacher.teacher.card import FILE, CardFacts, write_card
from ear_teacher.teacher.teacher import feature_shapes
from ear_teacher.training.checkpoints import (
    code_hash,
    delete_checkpoints,
    file_hash,
    load_checkpoint,
    only_one,
    pictures_hash,
    run_key,
)
from ear_teacher.training.distributed import Processes, joined, launch
from ear_teacher.training.features import FeatureCache, description
from ear_teacher.training.guard import Diverged
from ear_teacher.training.history import Row, write_events, write_history
from ear_teacher.training.loop import Pictures, train
from ear_teacher.training.recovery import read_recoveries
from ear_teacher.training.setup import set_up, starting_code
from ear_teacher.watching.advice import diverged
from ear_teacher.watching.backbone_input import check_statistics
from ear_teacher.watching.milestones import passed
from ear_teacher.weights import load_trunk

TRUNKS = Path("data/weights/perceptual")
VALIDATION_PICTURES = 128
GRID_PICTURES = 6
CODE = ("augmentation.py", "forecast.py", "linear", "losses.py")
CODE += ("models", "perceptual.py", "similarity.py", "training")
"""What of the package decides a run, as in dvc.yaml."""


def main() -> None:
    launch(sys.argv)
    with joined() as processes:
        train_variant(sys.argv[1], processes)


def train_variant(name: str, processes: Processes) -> None:
    config = load_config()
    variant = config.variant(name)
    if variant.train.threads:
        torch.set_num_threads(variant.train.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = processes.device
    data = PreparedData.load(Path("data/prepared"))
    prepared, weights = Path("data/prepared"), Path("data/weights") / name
    inputs = [pictures_hash(prepared), file_hash(prepared / "index.csv")]
    features = None
    if variant.caches_features:
        about = description(variant.model, inputs[0], file_hash(weights / "backbone.safetensors"))
        features = FeatureCache.load(Path("data/features") / name, about)
    files = data.index["file"].tolist()
    pictures = Pictures(data.images, data.rows("train"), data.rows("val", VALIDATION_PICTURES), features, files)
    linear = Path("data/linear") / f"{variant.model.latent_layout}.safetensors"
    code = LinearCode.load(linear)
    code = code.truncated(variant.model.latent_dim)
    start = starting_code(variant.model, code, data.images, pictures.train)
    ready = set_up(
        variant, data.image_size, spectrum(code), start, TRUNKS,
        backbone=load_trunk(weights / "backbone.safetensors") if variant.model.backbone != NO_BACKBONE else None,
        aligned=load_trunk(weights / "align.safetensors") if variant.teach.align_weight else None,
    )  # fmt: skip
    model = ready.model.to(device)
    if processes.first and isinstance(model.encoder, BackboneEncoder):
        tqdm.write(f"{name}: {check_statistics(model.encoder.backbone)}")

    plots = Path("plots/train") / name
    shown = pictures.batch(data.rows("val", GRID_PICTURES), device)

    def watch(rows: list[Row], now: EarVAE) -> None:
        if not processes.first:
            return
        row, before = rows[-1], rows[-2]["epoch"] if len(rows) > 1 else -1.0
        tqdm.write(
            f"{name} step {row['step']:.0f}, epoch {row['epoch']:.2f}: loss {row['val/loss']:.4f}, "
            f"PSNR {row['val/psnr']:.2f} dB, SSIM {row['val/ssim']:.3f}, KL {row['val/kl']:.0f} nats"
        )
        for verdict in passed(rows, config.watch, variant.loss):
            tqdm.write(f"{name} {verdict.sentence}")
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
                # DVC clears the plots before a run goes on, so a copy stays with the checkpoints.
                for place in (plots, checkpoints):
                    write_jpeg(sheet, place / f"milestone_epoch_{milestone:g}.jpg")

    given = [linear, *sorted(weights.glob("*.safetensors")), *sorted(TRUNKS.glob("*.safetensors"))]
    inputs += [file_hash(path) for path in given] + [code_hash(Path(ear_teacher.__file__).parent, *CODE)]
    threads = torch.get_num_threads() if device.type == "cpu" else 0  # a GPU's results do not depend on it
    key = run_key(variant.model_dump(), inputs, torch.__version__, threads, device.type)
    checkpoints = Path(".checkpoints") / f"{name}-{key}"

    def progress(steps: range, total: int) -> Iterable[int]:
        if not processes.first:
            return steps
        if recoveries := read_recoveries(checkpoints):
            told = recoveries[-1]
            tqdm.write(f"{name} diverged at step {told.diverged_at} ({told.what}); it goes on from step {steps.start}")
        return tqdm(steps, desc=f"train {name}", unit="step", initial=steps.start, total=total)

    if processes.first:
        for sheet in sorted(checkpoints.glob("milestone_epoch_*.jpg")):
            write_atomically(plots / sheet.name, sheet.read_bytes())
    try:
        with only_one(checkpoints) if processes.first else nullcontext(), patiently() as asked_to_end:
            result = train(
                model, ready.loss, pictures, variant.train, checkpoints, watch, progress, ready.kl_start,
                ready.teaching, asked_to_end, processes,
            )  # fmt: skip
    except Diverged as error:
        if not processes.first:
            return  # the first one keeps the last good state and says what happened
        epochs = variant.train.images_seen / len(pictures.train)
        raise UserError(_keep_last_good(error, model, checkpoints, variant, epochs)) from None
    if not processes.first:
        return
    events = [(item.step, f"back here from step {item.diverged_at}: {item.what}") for item in result.recoveries]
    if result.stopped:
        step = int(result.rows[-1]["step"])
        events.append((step, f"ended early: {result.stopped}"))
        tqdm.write(f"{name} ended early at step {step} of {variant.train.steps}: {result.stopped}.")
    write_events(events, plots)

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
    normalization = GreyNormalization.load(Path("data/prepared"))
    if normalization is not None:
        for folder in (out, out / "last"):
            normalization.save(folder)
    steps = [int(row["step"]) for row in result.rows]
    facts = CardFacts(
        folder=out.as_posix(), variant=variant, image_size=model.image_size,
        parameters=sum(parameter.numel() for parameter in model.parameters()), shapes=feature_shapes(model.eval()),
        index=data.index, rendered=Path("data/prepared/regions.npy").exists(), grey_moved=normalization is not None,
        validated=pictures.val.tolist(), kept=result.rows[steps.index(result.best_step)], last=result.rows[-1],
        backbone_licence=pretrained_licence(variant.model.backbone),
    )  # fmt: skip
    write_atomically(out / FILE, write_card(facts))
    delete_checkpoints(checkpoints)


def pretrained_licence(name: str) -> str | None:
    """Of a timm network's default weights, as timm states it."""
    return None if name == NO_BACKBONE else timm.get_pretrained_cfg(name).license


def _keep_last_good(error: Diverged, model: EarVAE, checkpoints: Path, variant: Variant, epochs: float) -> str:
    """Write the last good state as a model; what happened, where that model is and what to run, as a sentence."""
    state = load_checkpoint(checkpoints)
    kept = "its starting weights are of no use"
    if state is not None:
        model.load_state_dict(state["kept"])
        model.cpu().save(checkpoints / "last_good")
        kept = f"its state at step {state['step']} is kept in {checkpoints / 'last_good'}"
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    advice = diverged(variant, epochs, params, error.what)
    return (
        f"{variant.name} diverged at step {error.step}: {error.what}; {kept}; run it calmer with `{advice.theirs}`, or "
        f"let it find its learning rate with `{advice.instead}`."
    )


if __name__ == "__main__":
    run(main)
