"""params.yaml: what is accepted, what is refused, and with which sentence."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ear_teacher.config import (
    Config,
    DivergenceConfig,
    LossConfig,
    ModelConfig,
    SplitConfig,
    StopConfig,
    SyntheticConfig,
    UserError,
    WatchConfig,
    load_config,
    parse_config,
)

SHIPPED = Path(__file__).parents[1] / "params.yaml"


def with_param(key: str, value: object) -> Config:
    params = yaml.safe_load(SHIPPED.read_text())
    *sections, last = key.split(".")
    inner = params
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[last] = value
    return parse_config(params)


@pytest.mark.parametrize("written", ["1e-5", "1e-05", "0.00001", "1.0e-5", "1E-5", ".00001"])
def test_every_way_to_write_a_weight_in_yaml_arrives_as_the_same_float(tmp_path: Path, written: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"loss:\n  kl_weight: {written}\n" + yaml.safe_dump({"baselines": shipped()["baselines"]}))
    assert load_config(path).loss.kl_weight == 1e-5


def shipped() -> dict:
    return yaml.safe_load(SHIPPED.read_text())


def test_a_whole_number_arrives_as_a_float() -> None:
    weight = with_param("loss.kl_weight", 1).loss.kl_weight
    assert weight == 1.0
    assert isinstance(weight, float)


@given(st.floats(min_value=0, max_value=1e6, allow_nan=False))
def test_any_weight_survives_being_written_as_text(value: float) -> None:
    assert with_param("loss.kl_weight", repr(value)).loss.kl_weight == value


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("loss.kl_weight", "abc", "loss.kl_weight = 'abc'"),
        ("loss.kl_weight", "nan", "loss.kl_weight = 'nan'"),
        ("loss.kl_weight", float("inf"), "loss.kl_weight"),
        ("loss.kl_weight", True, "loss.kl_weight = True"),
        ("loss.kl_weight", None, "loss.kl_weight = None"),
        ("loss.kl_target", 10, "set loss.kl_weight=null as well"),
        ("loss.psnr_target", 28, "set loss.kl_weight=null as well"),
        ("loss.kl_target", 0, "loss.kl_target = 0"),
        ("forecast.kl_range", [15, 5], "two rising numbers"),
        ("loss.kl_weight", -1e-5, "greater than or equal to 0"),
        ("loss.kl_wieght", 1e-5, "unknown key loss.kl_wieght"),
        ("loss.recon", "l3", "'mse' or 'l1'"),
        ("model.latent_dim", 1000, "use a multiple of 64"),
        ("model.latent_dim", 12.5, "model.latent_dim = 12.5"),
        ("model.latent_dim", 4096, "linear.max_floats"),
        ("model.latent_layout", "vector", "4x4 or 8x8"),
        ("data.image_size", 100, "multiple of 32"),
        ("data.source", "zip", "'synthetic', 'folder' or 'npy'"),
        ("data.source", "npy", "data.train_npy"),
        ("data.person_regex", "(", "no regular expression"),
        ("data.person_regex", "earvn", "group in parentheses"),
        ("data.split.test", [5], "none in common"),
        ("train.steps", 0, "train.steps = 0"),
        ("train.stop.require", ["psnr", "ssim"], "train.stop.require.1 = 'ssim'"),
        ("train.stop.require", ["perceptual"], "set loss.perceptual to vgg_l1"),
        ("train.stop.kl_range", [15, 5], "two rising numbers"),
        ("train.on_divergence", "retry", "'stop' or 'recover'"),
        ("train.divergence.spike", 1, "greater than 1"),
        ("train.divergence.lr_factor", 1, "less than 1"),
        ("watch.kl", [[10, 10, 20], [1, 50, 100]], "watch.kl: the milestones must follow one another"),
        ("watch.psnr", [[10, 20, 18]], "low at most high"),
        ("watch.psnr", [[10, 20]], "watch.psnr.0"),
        ("watch.ssim", [], "unknown key watch.ssim"),
        ("data.normalization", "none", "'shared' or 'per_group'"),
        ("baselines.v0.loss.kl_weight", "abc", "baselines.v0"),
        ("baselines.v0.data", {}, "model, loss and train only"),
        ("baselines.v2", {}, "overlays v0 and v1"),
    ],
)
def test_what_is_not_allowed_is_refused_with_a_sentence_that_names_it(key: str, value: object, says: str) -> None:
    with pytest.raises(UserError) as refusal:
        with_param(key, value)
    sentence = str(refusal.value)
    assert says in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no params"),
        ("- 1\n", "no params"),
        ("loss: {kl_weight: 1\n", "not valid YAML"),
        ("a: &a [1]\nb: [*a, *a]\n", "anchors and aliases"),
        ("loss: {}\nloss: {}\n", "stands twice"),
        ("1: {}\n", "is not text"),
        ("a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_params_file_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        load_config(path)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        load_config(tmp_path / "params.yaml")


def test_every_key_stands_in_params_yaml_because_dvc_can_set_no_other() -> None:
    params = shipped()
    for section, model in Config.model_fields.items():
        if section not in ("v0", "v1"):
            wanted = set(model.annotation.model_fields)
            assert set(params[section]) == wanted, section
    assert set(params["data"]["synthetic"]) == set(SyntheticConfig.model_fields)
    assert set(params["data"]["split"]) == set(SplitConfig.model_fields)
    assert set(params["train"]["stop"]) == set(StopConfig.model_fields)
    assert set(params["train"]["divergence"]) == set(DivergenceConfig.model_fields)


def test_what_params_yaml_says_of_watching_is_what_the_types_default_to() -> None:
    config = load_config(SHIPPED)
    assert config.watch == WatchConfig()
    assert config.train.stop == config.v0.train.stop == StopConfig()
    assert config.train.divergence == config.v0.train.divergence == DivergenceConfig()


def test_v1_is_v0_plus_exactly_the_five_fixes() -> None:
    config = load_config(SHIPPED)
    changed = {
        f"{section}.{key}": (before, value)
        for section in ("model", "loss", "train")
        for (key, before), value in zip(
            getattr(config.v0, section).model_dump().items(),
            getattr(config.v1, section).model_dump().values(),
            strict=True,
        )
        if before != value
    }
    assert changed == {
        "model.latent_dim": (512, 1024),
        "loss.recon": ("mse", "l1"),
        "loss.perceptual_weight": (0.3, 0.8),
        "loss.ssim_weight": (0.1, 0.3),
        "loss.kl_weight": (1e-4, 1e-5),
    }


def test_a_target_stands_in_for_the_weight() -> None:
    params = shipped()
    params["loss"] |= {"kl_weight": None, "kl_target": "1e1"}
    assert parse_config(params).loss.kl_target == 10.0
    assert LossConfig(psnr_target=28.0).kl_weight is None
    with pytest.raises(ValidationError, match="exclude one another"):
        LossConfig(kl_target=10.0, psnr_target=28.0)
    with pytest.raises(ValidationError, match="kl_warmup_epochs"):
        LossConfig(kl_target=10.0, kl_warmup_epochs=2.0)


def test_the_three_variants_see_the_same_number_of_pictures() -> None:
    config = load_config(SHIPPED)
    assert config.v0.train.images_seen == config.v1.train.images_seen == config.train.images_seen


def test_a_change_of_the_current_model_leaves_the_baselines_alone() -> None:
    before, after = load_config(SHIPPED), with_param("loss.kl_weight", 0.5)
    assert before.v0 == after.v0
    assert before.v1 == after.v1
    assert after.variant("current").loss.kl_weight == 0.5


def test_a_config_cannot_be_changed_after_it_was_checked() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ModelConfig().latent_dim = 7  # type: ignore[misc]  # what the test is about


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": {"backbone": "none"}}, "model.backbone is none: name a backbone"),
        ({"model": {"trainable_blocks": 4}}, "model.trainable_blocks = 4 lets the backbone learn: set it to 0"),
        ({"train": {"augment": "clean_target"}}, "train.augment = clean_target makes another input at every step"),
        ({"train": {"affine": 0.05}}, "train.affine = 0.05 makes another input at every step: set it to 0"),
        ({"teach": {"mask_share": 0.3}}, "teach.mask_share = 0.3 makes another input"),
    ],
)
def test_a_cache_of_features_that_would_be_wrong_is_refused_with_the_key_and_the_way_out(change, says: str) -> None:
    params = shipped()
    params["model"] |= {"backbone": "tf_efficientnet_lite0", "trainable_blocks": 0}
    params["train"] |= {"cache_features": "always"}
    assert parse_config(params).variant("current").caches_features
    for section, values in change.items():
        params[section] |= values
    with pytest.raises(UserError, match=re.escape(says)) as error:
        parse_config(params)
    assert str(error.value).endswith("or train.cache_features to auto.")
    params["train"] |= {"cache_features": "auto"}
    assert not parse_config(params).variant("current").caches_features


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"model": {"descriptors": 0}},
            "model.descriptors = 0 and teach.agree_weight = 0.003 of current need each other",
        ),
        (
            {"teach": {"agree_weight": 0}},
            "model.descriptors = 64 and teach.agree_weight = 0 of current need each other",
        ),
    ],
)
def test_descriptors_and_what_they_learn_by_need_each_other_where_there_is_a_backbone(change, says: str) -> None:
    params = shipped()
    for section, values in change.items():
        params[section] |= values
    with pytest.raises(UserError, match=re.escape(says)):
        parse_config(params)
    params["model"]["backbone"] = "none"
    assert not parse_config(params).variant("current").model.describes
