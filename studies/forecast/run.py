"""PYTHONPATH=src python studies/forecast/run.py squared-warm 1024 1e-5

Train the project's model for a short time on real photos and set the KL and the PSNR it has on people it never saw
beside the forecast for those people. The case names the loss (squared error, or that of studies/params.yaml) and the
start.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from ear_teacher.config import LossConfig, load_config
from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.evaluation import posterior_statistics
from ear_teacher.feasibility import equivalent_weight, errors_along
from ear_teacher.files import write_atomically
from ear_teacher.forecast import at_kl, at_weight
from ear_teacher.linear import LinearCode, energies
from ear_teacher.losses import Loss, perceptual_trunk
from ear_teacher.models import new_model
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.stage import run
from ear_teacher.training.loop import Pictures, train

STEPS, BATCH = 240, 8


def main() -> None:
    case, floats, weight = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    kind, start = case.split("-")
    params = load_config("studies/params.yaml")
    data = PreparedData.load(Path("studies/photos/128"))
    tests = data.rows("test")
    code = LinearCode.load(Path("studies/forecast/code/4x4.safetensors")).truncated(floats)
    held_out = energies(code, data.images, tests)
    plain = at_weight(held_out, weight, floats)
    if kind == "squared":
        loss, forecast = Loss(LossConfig(recon="mse", kl_weight=weight)), plain
    else:
        trunk = perceptual_trunk(params.loss)
        net = load_lpips(trunk, Path("data/weights/perceptual") / TRUNK_FILE[trunk]) if trunk else None
        loss = Loss(params.loss.model_copy(update={"kl_weight": weight}), net)
        along = errors_along(code, held_out, to_tensor(data.images[data.rows("train", 48)]), {"error": loss})
        forecast = equivalent_weight(along["theta"].to_numpy(), along["error"].to_numpy(), held_out, floats, weight)

    sized = {"latent_dim": floats, "latent_layout": "4x4", "warm_start": "klt" if start == "warm" else "none"}
    # A warm start begins at the optimum of the *squared error*, as the pipeline's does: the loss has to move it.
    model = new_model(
        params.model.model_copy(update=sized), data.image_size, kl_weight=weight, seed=0, code=code, shrink=True
    )
    # The pipeline's own schedule. From random weights there is no linear code to keep, so its maps learn like the rest.
    budget = params.train.model_copy(update={
        "steps": STEPS, "batch_size": BATCH, "validate_every": STEPS, "select": "last", "milestones": (), "seed": 0,
        "linear_lr_scale": params.train.linear_lr_scale if start == "warm" else 1.0,
    })  # fmt: skip
    pictures = Pictures(data.images, data.rows("train"), data.rows("val", 16))
    with tempfile.TemporaryDirectory() as folder:
        train(model, loss, pictures, budget, Path(folder))

    def batches() -> Iterator[Tensor]:
        for begin in range(0, len(tests), 25):
            yield to_tensor(data.images[tests[begin : begin + 25]])

    table, statistics = posterior_statistics(model.eval(), batches, seed=0)
    kl = float(table["kl"].mean())
    found = {
        "loss": kind, "start": start, "floats": floats, "kl_weight": weight,
        "steps": STEPS, "batch": BATCH, "pictures": len(tests),
        "kl_forecast": forecast.kl, "kl_squared_error": plain.kl, "kl_measured": kl,
        "psnr_forecast": forecast.psnr_sampled, "psnr_measured": statistics["pooled"]["psnr_sampled"],
        "psnr_at_measured_kl": at_kl(held_out, kl, floats).psnr_sampled,
    }  # fmt: skip
    rounded = {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in found.items()}
    write_atomically(
        Path(f"studies/forecast/runs/{case}-{floats}-{sys.argv[3]}.json"), json.dumps(rounded, indent=2) + "\n"
    )


if __name__ == "__main__":
    run(main)
