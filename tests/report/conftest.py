"""A finished project in miniature: 48 pictures of 32 px, three small models, and every file the report reads."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from ear_teacher.comparison import compare, split_linear
from ear_teacher.config import VARIANTS, Config, ModelConfig, parse_config
from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.linear import LinearCode, fit_klt
from ear_teacher.metrics.quality import psnr
from ear_teacher.models import EarVAE, new_model
from ear_teacher.report.build import build
from ear_teacher.report.latent import Directions
from ear_teacher.report.results import read_results
from ear_teacher.teacher import EarTeacher
from ear_teacher.teacher.heads import LandmarkHead
from ear_teacher.teacher.landmarker import Landmarker
from ear_teacher.teacher.pyramid import channels_of

HOSTILE = '</script><img src=x onerror="alert(1)">'
"""A file may be called so; the page must show it as text."""

CONFIG = {"model": {"latent_dim": 64, "latent_layout": "4x4", "width": 8}, "report": {"ears": 10, "directions": 2}}


@dataclass
class Tiny:
    root: Path
    config: Config
    data: PreparedData
    models: dict[str, EarVAE]
    codes: dict[str, LinearCode]

    def build(self) -> tuple[str, dict[str, Directions]]:
        results = read_results(self.root)
        hashes = {"models/current/model.safetensors": "0123456789abcdef"}
        return build(results, self.config, self.data, self.models, self.codes, distance, hashes)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Stands in for LPIPS, whose weights are not at hand in every test run."""
    return (a - b).abs().mean(dim=(1, 2, 3))


@pytest.fixture(scope="session")
def tiny(smooth_pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    root = tmp_path_factory.mktemp("finished")
    data = _prepare(root / "data/prepared", smooth_pictures)
    code = fit_klt(data.images, data.rows("train"), 4, 4)
    config = parse_config(CONFIG)
    models = {}
    for seed, name in enumerate(VARIANTS):
        start = {"warm_start": "klt", "code": code} if name == "current" else {"warm_start": "none", "code": None}
        model = ModelConfig(latent_dim=64, latent_layout="4x4", width=8, warm_start=start["warm_start"])
        models[name] = new_model(model, 32, kl_weight=1e-4, seed=seed, code=start["code"])
        models[name].save(root / "models" / name)
    _write_results(root, data, models, code)
    return Tiny(root, config, data, models, {"klt_4x4": code})


@pytest.fixture(scope="session")
def landmarker_folder(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landmarker of three points, untrained."""
    torch.manual_seed(0)
    model = tiny.models["current"]
    head = LandmarkHead(channels_of(model), 3, 8)
    folder = tmp_path_factory.mktemp("teacher") / "landmarker"
    facts = {"test_nme": 0.2, "data": "smooth noise"}
    Landmarker(EarTeacher(model, "cpu"), head, ("helix", "tragus", "lobe"), facts).save(folder)
    return folder


@pytest.fixture(scope="session")
def page(tiny: Tiny) -> str:
    return tiny.build()[0]


def _prepare(folder: Path, pictures: np.ndarray) -> PreparedData:
    folder.mkdir(parents=True)
    images = pictures.copy()
    grey = np.arange(48) % 4 == 1
    images[grey] = images[grey][..., :1]
    np.save(folder / "images.npy", images)
    people = np.arange(48) // 4
    columns = {
        "row": np.arange(48),
        "file": [f"ear_{row:02d}.png" for row in range(48)],
        "person": [f"{person:03d}" for person in people],
        "split": np.where(people < 6, "train", np.where(people < 8, "val", "test")),
        "grey": grey,
        "sharpness": 1.0,
        "duplicate_group": -1,
        "flags": "",
    }
    index = pd.DataFrame(columns)
    index.loc[46, "file"] = HOSTILE
    index.to_csv(folder / "index.csv", index=False)
    pd.DataFrame({"file": [HOSTILE], "reason": ["truncated picture"]}).to_csv(folder / "quarantine.csv", index=False)
    return PreparedData.load(folder)


def _write_results(root: Path, data: PreparedData, models: dict[str, EarVAE], code: LinearCode) -> None:
    rows = data.rows("test")
    images = to_tensor(data.images[rows])
    keys = data.index.loc[rows, ["file", "person", "grey"]].reset_index(drop=True)
    tables = {}
    for name, model in models.items():
        own, line = _quality(images, model.reconstruct), _quality(images, code.reconstruct)
        tables[name] = keys.join(own).join(line.add_prefix("linear_"))
        _write(root / f"metrics/per_image/{name}.csv", tables[name].to_csv(index=False))
        floats = {"psnr": {"value": float(line["psnr"].mean()), "code": "klt_4x4"}}
        _write(root / f"metrics/{name}.json", json.dumps({"zero_line": {"equal_floats": floats}}))
        steps = np.arange(5)
        history = pd.DataFrame({"step": steps, "epoch": steps / 2, "val/psnr": 10.0 + steps, "val/ssim": steps / 5})
        history["val/kl"] = 10.0 * (steps + 1)
        for term in ("recon", "perceptual", "ssim", "kl"):
            history[f"val/weighted/{term}"] = 1 / (steps + 1)
            history[f"train/weighted/{term}"] = [np.nan, 1, 0.5, 0.3, 0.2]
        _write(root / f"plots/train/{name}/history.csv", history.to_csv(index=False))
        _write(root / f"plots/diagnosis/{name}/chain.csv", "step,psnr\nwanted,27\nthe model,20\nno code,11\n")
        spectrum = "frequency,original,reconstruction,linear\n0.1,8,8,8\n0.5,4,3,2\n"
        _write(root / f"plots/diagnosis/{name}/spectrum.csv", spectrum)
        _write(root / f"plots/diagnosis/{name}/kl_per_dimension.csv", "rank,kl\n1,2\n2,0.5\n3,0\n")
    parts = {name: split_linear(table) for name, table in tables.items()}
    sides = {name: own for name, (own, _) in parts.items()} | {"linear": parts["current"][1]}
    summary = {name: {"recon": 0.1} for name in models}
    losses = {name: "squared error" for name in sides}
    found = compare(sides, summary, {}, losses, "smooth noise, 32 px", resamples=50)
    _write(root / "metrics/compare.json", json.dumps(found))
    cause = {"cause": "drowned", "confidence": 0.6, "evidence": ["Seen."], "command": "dvc exp run", "effect": "More."}
    verdict = {"sentence": "Most likely: a test.", "causes": [cause], "not_measured": []}
    _write(root / "metrics/diagnosis.json", json.dumps({name: verdict for name in models}))
    _write(root / "metrics/forecast.json", json.dumps({"joint_target": {"sentence": "It cannot be had."}}))
    nothing = {"groups": 0, "pictures": 0, "groups_across_splits": 0, "pictures_across_splits": 0}
    split = {"pictures": 16, "people": 4, "grey": 4}
    facts = {
        "source": "folder", "image_size": 32, "split_by": "person", "warnings": ["One picture was left out."],
        "duplicates": {"exact": nothing, "near": nothing}, "splits": {name: split for name in ("train", "val", "test")},
    }  # fmt: skip
    _write(root / "metrics/data.json", json.dumps(facts))
    _write(root / "plots/forecast/4x4.csv", "kl,psnr_sampled\n0.5,10\n10,15\n100,20\n1000,30\n")
    _write(root / "plots/forecast/8x8.csv", "")  # as the stage writes it where there is no such code
    points = "".join(f"{name},10,12,15,14\n" for name in models)
    head = "variant,kl_forecast,kl_measured,psnr_sampled_forecast,psnr_sampled_measured\n"
    _write(root / "plots/rate_distortion.csv", head + points)
    _write(
        root / "plots/milestones.csv",
        "variant,quantity,when,unit,low,high,value,verdict,note\nv0,psnr,1,epoch,18,20,14.5,behind,\n"
        "v0,psnr,30,epoch,24,26,14.5,not reached,\nv0,pictures,10,epoch,,,,not reached,clear outline\n",
    )
    _write(root / "params.yaml", "model:\n  latent_dim: 64\n")
    (root / "plots").mkdir(exist_ok=True)
    Image.new("RGB", (64, 32), "grey").save(root / "plots/contact_sheet.jpg")


@torch.no_grad()
def _quality(images: Tensor, rebuild) -> pd.DataFrame:
    recon = rebuild(images)
    close = distance(images, recon).numpy()
    return pd.DataFrame({"psnr": psnr(images, recon).numpy(), "ssim": 1 - close, "lpips_alex": close, "kl": 100.0})


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
