"""The page as a file: nothing to fetch, nothing to run but its own script, the same bytes for the same results."""

import base64
import hashlib
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ear_teacher.config import UserError
from ear_teacher.data import to_tensor, to_uint8
from ear_teacher.report import build as building
from ear_teacher.report import content, drawings
from ear_teacher.report.ears import choose
from ear_teacher.report.results import read_results
from tests.report.conftest import HOSTILE, Tiny


class Tags(HTMLParser):
    """The names of the attributes of every element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[list[str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append([name for name, _ in attrs])


def viewer(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="viewer-data">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found.group(1))


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"))


def test_no_address_on_the_page_leads_out_of_it(page: str) -> None:
    addresses = re.findall(r'(?:src|href|action|srcset|poster)="([^"]*)"', page)
    assert len(addresses) > 10
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page)


def test_the_policy_admits_the_pages_own_style_and_script_only(page: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    script = re.findall(r"<script>(.*?)</script>", page, re.S)
    style = re.findall(r"<style>(.*?)</style>", page, re.S)
    assert (len(script), len(style)) == (1, 1)
    for text in (*script, *style):
        assert f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}" in policy.group(1)
    assert "default-src" in policy.group(1)
    assert "unsafe" not in policy.group(1)
    names = {name for tag in Tags(page).seen for name in tag}
    assert "alt" in names
    assert not {name for name in names if name == "style" or name.startswith("on")}


def test_a_hostile_file_name_is_shown_as_text(page: str) -> None:
    assert HOSTILE not in page
    assert "&lt;/script&gt;&lt;img src=x" in page  # in the quarantine list
    assert HOSTILE in [ear["name"] for ear in viewer(page)["ears"]]


def test_the_same_results_give_the_same_bytes(tiny: Tiny, page: str) -> None:
    again, directions = tiny.build()
    assert again == page
    assert set(directions) == {"v0", "v1", "current"}


def test_the_viewer_holds_every_pixel_of_what_the_models_gave(tiny: Tiny, page: str) -> None:
    row_of = {file: row for row, file in tiny.data.index["file"].items()}
    for ear in viewer(page)["ears"][:3]:
        original = tiny.data.images[row_of[ear["name"]]]
        assert np.array_equal(pixels(ear["pictures"]["original"]), original)
        wanted = to_uint8(tiny.models["current"].reconstruct(to_tensor(original[None])))[0]
        assert np.abs(pixels(ear["pictures"]["current"]).astype(int) - wanted.astype(int)).max() <= 1  # batch size


def test_the_captions_are_the_measured_values(tiny: Tiny, page: str) -> None:
    table = pd.read_csv(tiny.root / "metrics/per_image/v0.csv").set_index("file")
    for ear in viewer(page)["ears"]:
        assert ear["quality"]["v0"]["psnr"] == round(table.at[ear["name"], "psnr"], 1)
        assert ear["quality"]["v0"]["lpips"] == round(table.at[ear["name"], "lpips_alex"], 3)


def test_the_ears_are_the_worst_the_best_and_others_each_once() -> None:
    rng = np.random.default_rng(0)
    people = [f"{i // 6}" for i in range(120)]
    measured = pd.DataFrame(
        {"file": range(120), "person": people, "grey": rng.random(120) < 0.3, "psnr": rng.normal(30, 3, 120)}
    )
    shown = choose(measured, 30)
    assert len(shown) == 30
    assert shown["file"].is_unique
    ranked = measured["psnr"].sort_values().index
    assert set(shown.index[shown["tag"] == "worst"]) == set(ranked[:6])
    assert set(shown.index[shown["tag"] == "best"]) == set(ranked[-6:])
    assert shown["grey"].sum() >= 6
    assert shown["person"].value_counts().iloc[0] >= 5
    assert len(choose(measured.head(5), 30)) == 5


def test_the_table_has_every_variant_and_what_the_author_expected(page: str) -> None:
    for text in ("PSNR, dB", "25-30 / 27-30", "this project&#39;s model", "✗ below", "It cannot be had."):
        assert text in page


def test_a_curve_shows_the_milestones_its_run_has_reached(tiny: Tiny) -> None:
    psnr, ssim, *_ = (str(found["chart"]) for found in drawings.curves(read_results(tiny.root)))
    assert psnr.count('class="wish"') == 2  # epoch 1, and the legend's; the runs end at epoch 2
    assert "the author&#39;s milestone" in psnr
    assert "wish" not in ssim


def test_the_study_of_the_teacher_appears_once_it_has_run(tiny: Tiny, page: str, tmp_path: Path) -> None:
    assert "Label efficiency" not in page
    shutil.copytree(tiny.root, tmp_path / "copy")
    (tmp_path / "copy/plots/teacher").mkdir()
    lines = ["encoder,labels,features,mean,ci_low,ci_high", "hog,10,code,0.05,0.04,0.06", "hog,100,code,0.03,0.02,0.04",
             "current,10,maps,0.04,0.03,0.05", "current,100,code,0.02,0.01,0.03"]  # fmt: skip
    (tmp_path / "copy/plots/teacher/label_efficiency.csv").write_text("\n".join(lines) + "\n")
    labels = read_results(tmp_path / "copy").labels
    assert labels is not None
    chart = str(drawings.label_efficiency(labels))
    assert 'aria-label="Label efficiency. hog: last value 0.03; current: last value 0.02."' in chart


def test_the_benchmark_appears_once_it_has_run(tiny: Tiny, page: str, tmp_path: Path) -> None:
    assert "Time to quality" not in page
    shutil.copytree(tiny.root, tmp_path / "copy")
    (tmp_path / "copy/benchmarks/results").mkdir(parents=True)
    lines = ["method,run,cpu,psnr", "PCA,0,2,31", "Ear Teacher,0,0.0,30", "Ear Teacher,0,4,32", "Ear Teacher,1,4,99",
             "pythae VAE,0,4,9", "pythae VAE,0,8,12"]  # fmt: skip
    (tmp_path / "copy/benchmarks/results/quality.csv").write_text("\n".join(lines) + "\n")
    speed = read_results(tmp_path / "copy").speed
    assert speed is not None
    chart = str(drawings.time_to_quality(speed))
    assert (
        'aria-label="Time to quality. PCA: last value 31; Ear Teacher: last value 32; pythae VAE: last value 12."'
        in chart
    )


def test_the_page_says_how_long_each_model_was_trained() -> None:
    assert content.budget({"summaries": {}}) == ""
    seen = {"training pictures seen": {"v0": 4096, "v1": 4096, "current": 4096}}
    assert content.budget({"summaries": seen}) == "v0, v1 and current each saw 4,096 pictures in training."
    seen["training pictures seen"]["current"] = 96
    assert content.budget({"summaries": seen}) == "Pictures seen in training: v0 4,096, v1 4,096, current 96."


def test_a_page_that_grows_too_large_is_refused(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "LARGEST", 10_000)
    with pytest.raises(UserError, match=r"lower report\.ears \(10\)"):
        tiny.build()


def test_a_missing_result_is_named(tiny: Tiny, tmp_path: Path) -> None:
    shutil.copytree(tiny.root, tmp_path / "copy")
    (tmp_path / "copy/metrics/compare.json").write_text("{")
    with pytest.raises(UserError, match=r"compare\.json is missing or damaged"):
        read_results(tmp_path / "copy")
