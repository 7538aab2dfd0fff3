"""Commands that can be run as they stand: every key exists, every value is accepted."""

import shlex
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ear_teacher.config import parse_config, read_params
from ear_teacher.diagnosis import Subject, diagnose
from ear_teacher.diagnosis.advice import Address, keys_of
from ear_teacher.diagnosis.causes import CAUSES

PARAMS = read_params(Path(__file__).parents[2] / "params.yaml")


def changed(command: str) -> dict:
    """The params after the command, or an error where a key is not in params.yaml."""
    words = shlex.split(command)
    assert words[:3] == ["dvc", "exp", "run"]
    params = deepcopy(PARAMS)
    for flag, change in zip(words[3::2], words[4::2], strict=True):
        assert flag == "-S"
        key, _, value = change.partition("=")
        *path, last = key.split(".")
        place = params
        for part in path:
            place = place[part]
        assert last in place, f"{key} is not in params.yaml"
        place[last] = yaml.safe_load(value)
    return params


@pytest.mark.parametrize("variant", ["v0", "v1", "current"])
def test_every_command_for_every_variant_changes_keys_that_exist_to_values_that_are_allowed(
    healthy: Subject, variant: str
) -> None:
    settings = parse_config(deepcopy(PARAMS)).variant(variant)
    loss = settings.loss.model_copy(update={"perceptual_weight": 0.0})
    subject = replace(healthy, loss=loss, training=settings.train)
    diagnosis = diagnose(subject, 26, Address(variant, keys_of(PARAMS)))
    for finding in diagnosis.findings:
        params = changed(finding.command)
        assert params != PARAMS, f"{finding.cause}: {finding.command} changes nothing"
        changes = finding.command
        if "model." not in changes and "latent_dim" not in changes:  # the subject's own model is not the variant's
            parse_config(params)
        if variant != "current" and any(f" {section}." in changes for section in ("model", "loss", "train")):
            pytest.fail(f"{changes} would change the current model")
        assert finding.effect


def test_without_params_the_keys_are_those_the_loader_knows(healthy: Subject) -> None:
    for finding in diagnose(healthy, 26).findings:
        changed(finding.command)


def test_a_key_that_stands_nowhere_is_left_out() -> None:
    address = Address("v1", frozenset({"baselines.v1.loss.kl_weight", "baselines.v0.train.lr", "loss.edge_weight"}))
    assert address.of("loss.kl_weight") == "baselines.v1.loss.kl_weight"
    assert address.of("train.lr") == "baselines.v0.train.lr"
    assert address.of("loss.edge_weight") is None
    assert address.command(loss__edge_weight=1, train__lr=1e-4) == "dvc exp run -S baselines.v0.train.lr=0.0001"


def test_every_cause_has_a_name() -> None:
    assert len(CAUSES) == 14
