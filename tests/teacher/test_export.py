"""Exports: the same numbers elsewhere, described, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ear_teacher.config import ModelConfig, UserError
from ear_teacher.data.normalization import GreyNormalization
from ear_teacher.linear import fit_klt, fit_lapped
from ear_teacher.models import EarVAE, new_model
from ear_teacher.teacher import EarTeacher, graphs
from ear_teacher.teacher.export import export


@pytest.fixture(scope="module")
def model(smooth_pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose branches, unlike a new one's, do something."""
    code = fit_klt(smooth_pictures, np.arange(36), 4, 4)
    made = new_model(ModelConfig(latent_dim=64, latent_layout="4x4", width=8), 32, kl_weight=1e-4, seed=0, code=code)
    torch.manual_seed(0)
    for layer in (made.encoder.out, made.decoder.out):
        torch.nn.init.normal_(layer.weight, std=0.02)
    folder = tmp_path_factory.mktemp("model")
    made.save(folder)
    (folder / "README.md").write_text("the card")
    GreyNormalization((0.9, 0.8, 0.7), (0.1, 0.0, -0.1)).save(folder)
    return folder


@pytest.fixture(scope="module")
def images(smooth_pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(smooth_pictures[36:41]).permute(0, 3, 1, 2).float() / 255


def test_overlapping_patches_export_within_1e_4_of_what_they_compute(smooth_pictures, images, tmp_path) -> None:
    code = fit_lapped(smooth_pictures, np.arange(36), 4, 4)
    config = ModelConfig(latent_dim=64, latent_layout="4x4", width=8, warm_start="lapped")
    new_model(config, 32, kl_weight=1e-4, seed=0, code=code).save(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("the card")
    export(tmp_path / "model", tmp_path / "out", "onnx")
    own, other = wanted(tmp_path / "model", images), computed(tmp_path / "out", images)
    np.testing.assert_allclose(other["pictures"], own["pictures"], atol=1e-4)


def wanted(model: Path, images: torch.Tensor) -> dict[str, np.ndarray]:
    """The outputs of the model itself, by the names of the export."""
    teacher = EarTeacher(EarVAE.load(model))
    features = teacher.features(images)
    named = {"mean": features.mean, "logvar": features.logvar, **features.maps}
    return {name: tensor.numpy() for name, tensor in named.items()} | {"pictures": teacher.reconstruct(images).numpy()}


def computed(folder: Path, images: torch.Tensor) -> dict[str, np.ndarray]:
    """The outputs of both ONNX graphs, by the names inside the files."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    found: dict[str, np.ndarray] = {}
    values, name = images.numpy(), "images"
    for part in ("encoder", "decoder"):
        session = onnxruntime.InferenceSession(folder / f"{part}.onnx", providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        found |= dict(zip(names, session.run(None, {name: values}), strict=True))
        values, name = found["mean"], "codes"
    return found


@pytest.fixture(scope="module")
def onnx_folder(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx", reason="the extra `export` is not installed")
    out = tmp_path_factory.mktemp("onnx") / "out"
    export(model, out, "onnx")
    return out


@pytest.mark.parametrize("batch", [1, 5])
def test_onnx_computes_what_torch_does_for_any_batch(
    model: Path, onnx_folder: Path, images: torch.Tensor, batch: int
) -> None:
    own, other = wanted(model, images[:batch]), computed(onnx_folder, images[:batch])
    assert set(own) == set(other) == {"mean", "logvar", "stride4", "stride8", "pictures"}
    for name, values in own.items():
        np.testing.assert_allclose(other[name], values, atol=1e-4, rtol=0, err_msg=name)


def test_the_folder_says_what_its_files_take_and_give(model: Path, onnx_folder: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
    assert {path.name for path in onnx_folder.iterdir()} == {
        "README.md", "decoder.onnx", "encoder.onnx", "export.json", "normalization.json",
    }  # fmt: skip
    content = json.loads((onnx_folder / "export.json").read_text())
    for part in content["parts"].values():
        graph = onnx.load(onnx_folder / part["file"]).graph
        for side, told in ((graph.input, part["inputs"]), (graph.output, part["outputs"])):
            shapes = {
                item.name: ["N" if axis.dim_param else axis.dim_value for axis in item.type.tensor_type.shape.dim]
                for item in side
            }
            assert shapes == {name: item["shape"] for name, item in told.items()}
    assert content["greyscale"]["scale"] == [0.9, 0.8, 0.7]
    assert max(content["largest_difference"].values()) <= 1e-4
    assert (onnx_folder / "README.md").read_text() == "the card"


def test_exported_files_tell_nothing_of_the_machine(model: Path, onnx_folder: Path, tmp_path: Path) -> None:
    export(model, tmp_path / "torch", "torch")
    here = str(Path(graphs.__file__).parent).encode()
    for path in (*onnx_folder.iterdir(), *(tmp_path / "torch").iterdir()):
        assert here not in path.read_bytes()


def test_the_same_model_gives_the_same_onnx_bytes(model: Path, onnx_folder: Path, tmp_path: Path) -> None:
    export(model, tmp_path / "again", "onnx")
    for name in ("encoder.onnx", "decoder.onnx", "export.json"):
        assert (tmp_path / "again" / name).read_bytes() == (onnx_folder / name).read_bytes()


@pytest.mark.parametrize("batch", [1, 5])
def test_a_torch_export_computes_what_the_model_does(
    model: Path, images: torch.Tensor, batch: int, tmp_path: Path
) -> None:
    content = export(model, tmp_path / "out", "torch")
    own = wanted(model, images[:batch])
    encoder = torch.export.load(tmp_path / "out/encoder.pt2").module()
    decoder = torch.export.load(tmp_path / "out/decoder.pt2").module()
    found = dict(zip(content["parts"]["encoder"]["outputs"], encoder(images[:batch]), strict=True))
    found["pictures"] = decoder(found["mean"])[0]
    assert set(found) == set(own)
    for name, values in own.items():
        np.testing.assert_allclose(found[name].detach().numpy(), values, atol=1e-6, err_msg=name)


def test_the_native_export_is_loaded_like_the_model(model: Path, images: torch.Tensor, tmp_path: Path) -> None:
    export(model, tmp_path / "out", "safetensors")
    own, other = EarTeacher.load(model, "cpu"), EarTeacher.load(tmp_path / "out", "cpu")
    assert other.normalization == own.normalization
    np.testing.assert_array_equal(other.features(images).mean, own.features(images).mean)


@pytest.mark.parametrize(
    ("precision", "pictures", "off", "activations"),
    [
        ("float16", False, 0.01, None),
        ("int8", False, 0.05, "ranges of each batch"),
        ("int8", True, 0.05, "fixed ranges"),
    ],
)
def test_smaller_onnx_files_give_nearly_the_same_pictures(
    model: Path, onnx_folder: Path, images: torch.Tensor, smooth_pictures: np.ndarray, tmp_path: Path,
    precision: Any, pictures: bool, off: float, activations: str | None,
) -> None:  # fmt: skip
    np.save(tmp_path / "some.npy", smooth_pictures[:20])
    content = export(model, tmp_path / "out", "onnx", precision, tmp_path / "some.npy" if pictures else None)
    own, other = wanted(model, images), computed(tmp_path / "out", images)
    assert 0 < np.abs(own["pictures"] - other["pictures"]).max() < off
    assert content["activations"] == activations
    assert content["calibration_pictures"] == (20 if pictures else 0)
    assert 0 < content["largest_difference"]["pictures"] < off
    smaller, larger = ((folder / "encoder.onnx").stat().st_size for folder in (tmp_path / "out", onnx_folder))
    assert smaller < larger


def test_half_precision_torch_graphs_take_and_give_float32(model: Path, images: torch.Tensor, tmp_path: Path) -> None:
    export(model, tmp_path / "out", "torch", "float16")
    mean = torch.export.load(tmp_path / "out/encoder.pt2").module()(images)[0]
    assert mean.dtype == torch.float32
    own = wanted(model, images)["mean"]
    assert 0 < np.abs(mean.detach().numpy() - own).max() < 0.05


def test_a_backbone_model_is_exported_with_its_tokens(tmp_path: Path) -> None:
    config = ModelConfig(
        encoder="backbone", decoder="transposed", backbone="lcnet_035", latent_dim=32,
        latent_layout="vector", warm_start="none", width=16,
    )  # fmt: skip
    torch.manual_seed(0)
    EarVAE(config, 32).save(tmp_path / "model")
    content = export(tmp_path / "model", tmp_path / "out", "onnx")
    model = EarVAE.load(tmp_path / "model")
    assert model.encoder.backbone is not None
    shape = ["N", 4, model.encoder.backbone.channels[-1]]
    assert content["parts"]["encoder"]["outputs"]["tokens"]["shape"] == shape
    images = torch.rand(3, 3, 32, 32)
    found = computed(tmp_path / "out", images)
    with torch.no_grad():
        tokens = model.encoder.backbone(images)[-1].flatten(2).transpose(1, 2)
        np.testing.assert_allclose(found["tokens"], tokens, atol=1e-4)
        np.testing.assert_allclose(found["mean"], model.encode(images).mean, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("torch", "int8"), "int8 is for ONNX only"),
        (("safetensors", "int8"), "int8 is for ONNX only"),
        (("safetensors", "float16"), "The native form is float32: use --format onnx for float16"),
        (("onnx", "float32", Path("photos")), "Pictures calibrate int8 only"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(model: Path, tmp_path: Path, arguments: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        export(model, tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_without_onnx_the_way_to_it_is_named(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UserError, match=r"onnxscript is not installed; run `pip install ear-teacher\[export\]`"):
        export(model, tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UserError, match="not an empty folder"):
        export(model, tmp_path, "safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_graph_that_computes_something_else_is_not_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = graphs.run_program
    monkeypatch.setattr(graphs, "run_program", lambda path, values: [out + 1e-3 for out in run(path, values)])
    with pytest.raises(UserError, match=r"mean differs from the model by 0\.001, so nothing was written"):
        export(model, tmp_path / "out", "torch")
    assert list(tmp_path.iterdir()) == []


def test_calibration_pictures_that_cannot_be_read_are_named(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the extra `export` is not installed")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "photos/small.png")
    with pytest.raises(UserError, match="photos"):
        export(model, tmp_path / "out", "onnx", "int8", tmp_path / "photos")
    assert not (tmp_path / "out").exists()
