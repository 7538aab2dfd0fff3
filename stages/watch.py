"""python stages/watch.py

Judge the finished runs by the author's monitoring list and troubleshooting rules. Trains nothing.
"""

import json
from pathlib import Path

import pandas as pd
import yaml

from ear_teacher.config import VARIANTS, Variant, load_config
from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.files import write_atomically
from ear_teacher.linear import LinearCode, energies
from ear_teacher.losses import WEIGHT_OF_TERM, Loss, perceptual_trunk
from ear_teacher.models.backbone import Backbone
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.stage import run
from ear_teacher.watching.advice import COLOURS, Run, bad_grey, blurry, diverged, wrong_colours
from ear_teacher.watching.backbone_input import check_statistics
from ear_teacher.watching.colour import emphasis
from ear_teacher.watching.milestones import judge
from ear_teacher.watching.page import Watched, page, table

HELD_OUT = 400  # as in the forecast
COLOUR_PICTURES = 16


def main() -> None:
    config = load_config()
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    forecast = json.loads(Path("metrics/forecast.json").read_text())["variants"]
    data = PreparedData.load(Path("data/prepared"))
    runs = {}
    for name in VARIANTS:
        variant = config.variant(name)
        history = pd.read_csv(f"plots/train/{name}/history.csv")
        measured = json.loads(Path(f"metrics/{name}.json").read_text())
        happened = Path(f"plots/train/{name}/events.csv")
        events = pd.read_csv(happened).values.tolist() if happened.exists() else []
        fell_apart = "; ".join(event for _, event in events if event.startswith("back here"))
        epochs = float(history["epoch"].iloc[-1])
        planned = variant.train.images_seen / len(data.rows("train"))
        code = LinearCode.load(Path("data/linear") / f"{variant.model.latent_layout}.safetensors")
        finished = Run(
            variant,
            epochs,
            measured["kl"]["mean"],
            measured["pooled"]["psnr_mean"],
            energies(code.truncated(variant.model.latent_dim), data.images, data.rows("val", HELD_OUT)),
            forecast[name]["own_loss"]["kl_weight"],
        )
        advice = [
            blurry(finished, params),
            diverged(variant, planned, params, fell_apart),
            wrong_colours(variant, measured["ciede2000"]["mean"], _emphasis(variant, data), config.watch, params),
        ]
        if "colour" in measured and "grey" in measured:
            checked = "There is no backbone that needs other statistics."
            if variant.model.encoder == "backbone":
                checked = check_statistics(Backbone(variant.model.backbone, data.image_size, 0))
            psnr, colour = (
                {kind: measured[kind][metric]["mean"] for kind in ("colour", "grey")}
                for metric in ("psnr", "ciede2000")
            )
            advice.append(bad_grey(config.data.normalization, psnr, colour, config.watch, checked))
        rows = [{str(key): value for key, value in row.items()} for row in history.to_dict("records")]
        length = f"{history['step'].iloc[-1]} steps, {epochs:.1f} epochs, {history['images'].iloc[-1]} pictures seen"
        told = [f"Step {step}: {event}." for step, event in events]
        runs[name] = Watched(judge(rows, config.watch, variant.loss), advice, length, told)
    write_atomically(Path("plots/milestones.csv"), table(runs).to_csv(index=False, float_format="%.6g"))
    write_atomically(Path("metrics/watch.md"), page(runs))


def _emphasis(variant: Variant, data: PreparedData) -> dict[str, float]:
    """What a colour cast costs in this loss, in the one the author advises, and in two that might do better."""
    changes = {key.removeprefix("loss."): value for key, value in COLOURS.items()}
    advised = variant.loss.model_copy(update=changes)
    pixel = variant.loss.model_copy(update={"recon_weight": 2 * variant.loss.recon_weight})
    weights = {
        label: {
            term: getattr(loss, key) for term, key in WEIGHT_OF_TERM.items() if term != "kl" and getattr(loss, key) > 0
        }
        for label, loss in {"now": variant.loss, "theirs": advised, "pixel": pixel}.items()
    }
    trunk = perceptual_trunk(advised)
    assert trunk is not None
    net = load_lpips(trunk, Path("data/weights/perceptual") / TRUNK_FILE[trunk])
    pictures = to_tensor(data.images[data.rows("val", COLOUR_PICTURES)])
    plain = Loss(advised.model_copy(update={"focal": False}), net)
    return emphasis(Loss(advised, net), pictures, weights) | emphasis(plain, pictures, {"plain": weights["now"]})


if __name__ == "__main__":
    run(main)
