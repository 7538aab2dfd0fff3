"""python studies/five_fixes/run.py --photos <EarVN1.0 folder> --weights data/weights

The author's five fixes one by one: v0 plus one fix each, and v1, on photos of unseen people. Writes
studies/five_fixes/pictures.csv (a row a test picture and run; a run that is there is not repeated) and
docs/five-fixes.md. `make five_fixes` runs it.
"""

import argparse
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pytorch_msssim import ssim

from ear_teacher.config import Variant, load_config
from ear_teacher.data import to_tensor
from ear_teacher.feasibility import joint_target
from ear_teacher.files import write_atomically
from ear_teacher.images import read_square
from ear_teacher.linear import energies, fit_codes
from ear_teacher.losses import Loss, perceptual_trunk
from ear_teacher.metrics.statistics import paired_change
from ear_teacher.models import new_model
from ear_teacher.perceptual import TRUNK_FILE, load_lpips, lpips_from_features, trunk_features
from ear_teacher.training.loop import Pictures, train
from ear_teacher.weights import load_trunk

HERE = Path(__file__).parent
SIDE = 64
FIXES = {
    "lower KL weight": ("loss", "kl_weight"),
    "wider latent": ("model", "latent_dim"),
    "L1": ("loss", "recon"),
    "more perceptual": ("loss", "perceptual_weight"),
    "more SSIM": ("loss", "ssim_weight"),
}
METRICS = {"psnr": "PSNR, dB", "ssim": "SSIM", "lpips": "LPIPS alex", "kl": "KL, nats"}
BETTER = {"psnr": 1, "ssim": 1, "lpips": -1}


def variants() -> dict[str, Variant]:
    """v0, v0 with one fix each, v1."""
    config = load_config()
    made = {"v0": config.v0}
    for name, (section, key) in FIXES.items():
        value = getattr(getattr(config.v1, section), key)
        part = getattr(config.v0, section).model_copy(update={key: value})
        made[name] = config.v0.model_copy(update={section: part})
    return made | {"v1": config.v1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=100, help="the budget; twice as many are run as well")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    files = sorted(path for path in chosen.photos.rglob("*.jpg") if re.search(r"earvn1_(\d+)_", path.name))
    people = np.array([int(re.search(r"earvn1_(\d+)_", path.name).group(1)) for path in files])  # type: ignore[union-attr]
    images = np.stack([read_square(path, SIDE) for path in files])
    tests, training = np.flatnonzero(people % 7 == 3), np.flatnonzero(~np.isin(people % 7, (3, 5)))
    pictures = Pictures(images, training, np.flatnonzero(people % 7 == 5)[:16])
    backbone = load_trunk(chosen.weights / "v0/backbone.safetensors")
    judge = load_lpips("alex", chosen.weights / "perceptual" / TRUNK_FILE["alex"])
    store = HERE / "pictures.csv"
    table = pd.read_csv(store) if store.exists() else pd.DataFrame(columns=["run", "steps", "seed"])
    for seed in range(chosen.seeds):
        for steps in (chosen.steps, 2 * chosen.steps):
            for name, variant in variants().items():
                same = (table["run"] == name) & (table["steps"] == steps) & (table["seed"] == seed)
                if same.any():
                    continue
                trunk = perceptual_trunk(variant.loss)
                net = load_lpips(trunk, chosen.weights / "perceptual" / TRUNK_FILE[trunk]) if trunk else None
                model = new_model(
                    variant.model, SIDE, kl_weight=variant.loss.kl_weight or 0.0, seed=seed, backbone=backbone
                )
                budget = {"steps": steps, "validate_every": steps, "select": "last", "seed": seed, "milestones": ()}
                with tempfile.TemporaryDirectory() as folder:
                    train(
                        model, Loss(variant.loss, net), pictures, variant.train.model_copy(update=budget), Path(folder)
                    )
                found = measure(model.eval(), images[tests], judge).assign(person=people[tests])
                found.insert(0, "run", name)
                found.insert(1, "steps", steps)
                found.insert(2, "seed", seed)
                table = pd.concat([table, found], ignore_index=True)
                write_atomically(store, table.to_csv(index=False, float_format="%.5g"))
                print(name, steps, seed, found[list(METRICS)].mean().round(3).to_dict(), flush=True)
    codes = fit_codes(images, training, (1, 4), 1024)
    verdict = joint_target(
        {str(grid): energies(code, images, tests) for grid, code in codes.items()}, 1024, (5.0, 15.0), (27.0, 30.0)
    )
    write_atomically(Path("docs/five-fixes.md"), page(table, verdict["sentence"]))


@torch.no_grad()
def measure(model: torch.nn.Module, images: np.ndarray, judge: torch.nn.Module) -> pd.DataFrame:
    """Quality of every test picture through the posterior's mean, and its KL."""
    pieces = []
    for start in range(0, len(images), 25):
        batch = to_tensor(images[start : start + 25])
        posterior = model.encode(batch)  # type: ignore[operator]
        recon = model.decode(posterior.mode).clamp(0, 1)  # type: ignore[operator]
        features = [trunk_features(judge, 2 * x - 1) for x in (recon, batch)]  # type: ignore[arg-type]
        pieces.append({
            "psnr": -10 * ((recon - batch) ** 2).flatten(1).mean(1).log10(),
            "ssim": ssim(recon, batch, data_range=1.0, size_average=False),
            "lpips": lpips_from_features(judge, *features),  # type: ignore[arg-type]
            "kl": posterior.kl().sum(1),
        })  # fmt: skip
    return pd.DataFrame({key: torch.cat([piece[key] for piece in pieces]).numpy() for key in METRICS})


def changes(table: pd.DataFrame) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Run -> metric -> the paired change against v0 at each budget; seeds are averaged by picture first."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for steps, part in table.groupby("steps"):
        part = part.assign(picture=part.groupby(["run", "seed"]).cumcount())
        mean = part.groupby(["run", "picture"])[[*METRICS, "person"]].mean()
        base = mean.loc["v0"]
        for run in [*FIXES, "v1"]:
            if run in mean.index.get_level_values(0):
                for metric in METRICS:
                    change = paired_change(
                        base[metric].to_numpy(), mean.loc[run][metric].to_numpy(), base["person"], 2000, 0
                    )
                    found.setdefault(run, {}).setdefault(metric, []).append(dict(change) | {"steps": steps})
    return found


def verdict_of(rows: list[dict[str, float]], wanted: int) -> str:
    """`supported` or `refuted` where the interval leaves 0 out on one side at both budgets, else `not separable`."""
    if len(rows) < 2:
        return "not separable"
    if all(row["ci_low"] * wanted > 0 and row["ci_high"] * wanted > 0 for row in rows):
        return "supported"
    if all(row["ci_low"] * wanted < 0 and row["ci_high"] * wanted < 0 for row in rows):
        return "refuted"
    return "not separable"


def page(table: pd.DataFrame, joint: str) -> str:
    """The author's claims with what was measured."""
    found = changes(table)
    budgets, seeds = sorted(table["steps"].unique()), table["seed"].nunique()
    shown = len(table[table["run"] == "v0"]) // (len(budgets) * seeds)
    means = table[table["steps"] == budgets[-1]].groupby("run")[list(METRICS)].mean()
    lines = [
        "# The five fixes, one by one",
        "",
        f"v0 of `params.yaml` plus one fix each, on EarVN1.0 photos at {SIDE} px: "
        f"{shown} photos of {table['person'].nunique()} people no model saw. "
        f"Budgets of {' and '.join(str(b) for b in budgets)} "
        f"steps of 8 pictures, {seeds} seed{'s' if seeds > 1 else ''}: short runs, which say what a fix does early on. "
        "Changes against v0 are paired by picture; the 95 % interval resamples people"
        + (", and with one seed knows nothing of the luck of the start." if seeds == 1 else ", seeds averaged.")
        + " A verdict needs an interval without 0 at both budgets. Repeat it with "
        "`make five_fixes PHOTOS=<EarVN1.0 folder>`.",
        "",
        f"| {budgets[-1]} steps | " + " | ".join(METRICS.values()) + " |",
        "|---|" + "---:|" * len(METRICS),
        *(
            f"| {run} | " + " | ".join(f"{means.loc[run][m]:.{1 if m == 'kl' else 3}f}" for m in METRICS) + " |"
            for run in ["v0", *FIXES, "v1"]
            if run in means.index
        ),
        "",
        "| claim | " + " | ".join(f"change at {b} steps" for b in budgets) + " | verdict |",
        "|---|" + "---|" * len(budgets) + "---|",
    ]
    claims = [("a lower KL weight lowers the KL", "lower KL weight", "kl", -1)]
    claims += [(f"{fix}: better {METRICS[m]}", fix, m, sign) for fix in FIXES for m, sign in BETTER.items()]
    for text, run, metric, wanted in claims:
        rows = found.get(run, {}).get(metric, [])
        cells = [f"{r['mean']:+.3g} [{r['ci_low']:+.3g}, {r['ci_high']:+.3g}]" for r in rows]
        lines.append(f"| {text} | {' | '.join(cells) if cells else 'not measured'} | {verdict_of(rows, wanted)} |")
    kl = means.loc["v0"]["kl"]
    lines += [
        "",
        "## Claims that need no ablation",
        "",
        f"- *KL 160-180 is posterior collapse*: **refuted**. Collapse is KL → 0; v0's code carries {kl:.0f} nats here, "
        "and what a weight of 1e-4 gives a healthy model is in [forecast.md](forecast.md).",
        f"- *KL 5-15 with 27-30 dB*: **refuted** for every linear-Gaussian code: {joint}",
        "- *Reconstruction : KL = 210,000 : 1 is what matters*: **not separable**. A ratio of weights says nothing "
        "before the scales of the terms; `metrics/forecast.md` gives each weight in the units of other projects.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
