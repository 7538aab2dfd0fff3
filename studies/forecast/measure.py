"""python studies/forecast/measure.py --photos <EarVN1.0 folder> --trunks data/weights/perceptual

Predicted against measured KL and PSNR on photos of unseen people; writes studies/forecast/measured.csv a row a run
(a row that is there is not run again) and docs/forecast.md. `make forecast` runs it.
"""

import argparse
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ear_teacher.config import LossConfig, ModelConfig, TrainConfig, load_config
from ear_teacher.data import to_tensor
from ear_teacher.evaluation import posterior_statistics
from ear_teacher.feasibility import equivalent_weight, errors_along
from ear_teacher.files import write_atomically
from ear_teacher.forecast import at_kl, at_weight
from ear_teacher.images import read_square
from ear_teacher.linear import LinearCode, energies, fit_codes
from ear_teacher.losses import Loss, perceptual_trunk
from ear_teacher.models import new_model
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.training.loop import Pictures, train

HERE = Path(__file__).parent
WEIGHTS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
SIZES = (512, 1024)
WIDTH = 16
STEPS, BATCH = 96, 8
COLUMNS = ["loss", "start", "floats", "kl_weight"]


@dataclass(frozen=True)
class Photos:
    """All photos, and the rows of each split by the person's number mod 7 (3 tests, 5 validates)."""

    images: np.ndarray
    people: np.ndarray

    def rows(self, *residues: int) -> np.ndarray:
        return np.flatnonzero(np.isin(self.people % 7, residues))


def read(folder: Path, size: int) -> Photos:
    files = sorted(path for path in folder.rglob("*.jpg") if re.search(r"earvn1_(\d+)_", path.name))
    people = [int(re.search(r"earvn1_(\d+)_", path.name).group(1)) for path in files]  # type: ignore[union-attr]
    return Photos(np.stack([read_square(path, size) for path in files]), np.array(people))


def one_run(
    photos: Photos, code: LinearCode, loss: Loss, start: str, floats: int, weight: float, level: float
) -> dict[str, float]:
    """Train one model and measure it on the test people; `level` is the forecast's equivalent weight."""
    warm = "klt" if start == "warm" else "none"
    model = new_model(
        ModelConfig(latent_dim=floats, latent_layout="4x4", width=WIDTH, warm_start=warm),
        photos.images.shape[1], kl_weight=level, seed=0, code=code, shrink=True,
    )  # fmt: skip
    config = TrainConfig(
        steps=STEPS, batch_size=BATCH, lr=1e-3, validate_every=STEPS, select="last", milestones=(), seed=0
    )
    pictures = Pictures(photos.images, photos.rows(0, 1, 2, 4, 6), photos.rows(5)[:16])
    with tempfile.TemporaryDirectory() as folder:
        train(model, loss, pictures, config, Path(folder))
    model.eval()
    tests = photos.rows(3)

    def batches():
        for begin in range(0, len(tests), 25):
            yield to_tensor(photos.images[tests[begin : begin + 25]])

    table, statistics = posterior_statistics(model, batches, seed=0)
    return {"kl": float(table["kl"].mean()), **statistics["pooled"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--trunks", type=Path, required=True)
    parser.add_argument("--loss", choices=["squared", "default"], action="append")
    parser.add_argument("--start", choices=["warm", "random"], default="warm")
    chosen = parser.parse_args()
    default = load_config().loss
    trunk = perceptual_trunk(default)
    net = load_lpips(trunk, chosen.trunks / TRUNK_FILE[trunk]) if trunk else None
    file = HERE / "measured.csv"
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    done = {tuple(row[key] for key in COLUMNS) for row in rows}
    photos = read(chosen.photos, 128)
    training, tests = photos.rows(0, 1, 2, 4, 6), photos.rows(3)
    code = fit_codes(photos.images, training, (4,), max(SIZES))[4]
    some = to_tensor(photos.images[training[:: len(training) // 48]])
    for kind in chosen.loss or ["squared", "default"]:
        for floats in SIZES:
            short = code.truncated(floats)
            held_out = energies(short, photos.images, tests)
            for weight in WEIGHTS:
                key = (kind, chosen.start, floats, weight)
                if key in done:
                    continue
                if kind == "squared":
                    config = LossConfig(recon="mse", kl_weight=weight)
                    loss, forecast = Loss(config), at_weight(held_out, weight, floats)
                else:
                    loss = Loss(default.model_copy(update={"kl_weight": weight}), net)
                    along = errors_along(short, held_out, some, {"error": loss})
                    level, error = along["theta"].to_numpy(), along["error"].to_numpy()
                    forecast = equivalent_weight(level, error, held_out, floats, weight)
                found = one_run(photos, short, loss, chosen.start, floats, weight, forecast.kl_weight)
                rows.append(
                    dict(zip(COLUMNS, key, strict=True))
                    | {"kl_forecast": forecast.kl, "psnr_forecast": forecast.psnr_sampled}
                    | {"kl_squared_error": at_weight(held_out, weight, floats).kl}
                    | {"kl_measured": found["kl"], "psnr_measured": found["psnr_sampled"]}
                    | {"psnr_at_measured_kl": at_kl(held_out, found["kl"], floats).psnr_sampled}
                )
                print(rows[-1], flush=True)
                write_atomically(file, pd.DataFrame(rows).to_csv(index=False, float_format="%.5g"))
    write_atomically(Path("docs/forecast.md"), page(pd.DataFrame(rows)))


def page(rows: pd.DataFrame) -> str:
    """The results as a page of the documentation."""
    lines = [
        "# Forecast against measurement",
        "",
        f"EarVN1.0 photos at 128 px, test people (375 photos of 15 people no model saw); a 4x4 model of width {WIDTH}, "
        f"{STEPS} steps of {BATCH} pictures. KL in nats; PSNR in dB of a sampled code and of the "
        "mean squared error, as the forecast has it. *At equal KL* is the measured PSNR less the forecast's at the "
        "measured KL. A warm start begins at the forecast's own optimum, so a row says where so many steps lead away "
        "from it, not that training finds it. Repeat it with `make forecast PHOTOS=<EarVN1.0 folder>`. "
        f"{len(rows)} of {2 * len(SIZES) * len(WEIGHTS)} runs of the warm start have been made.",
        "",
    ]
    titles = {"squared": "Squared error + KL", "default": "The default loss, theta corrected for it without training"}
    for (kind, start), group in rows.groupby(["loss", "start"], sort=False):
        lines += [
            f"## {titles[str(kind)]}, {start} start",
            "",
            "| floats | kl_weight | KL forecast | by squared error | measured | off | "
            "PSNR forecast | measured | at equal KL |",
            "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for row in group.itertuples():
            lines.append(
                f"| {row.floats} | {row.kl_weight:g} | {row.kl_forecast:.0f} | {row.kl_squared_error:.0f} | "
                f"{row.kl_measured:.0f} | {100 * (row.kl_measured / row.kl_forecast - 1):+.0f} % | "
                f"{row.psnr_forecast:.2f} | {row.psnr_measured:.2f} | "
                f"{row.psnr_measured - row.psnr_at_measured_kl:+.2f} |"
            )
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
