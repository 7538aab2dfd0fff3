"""params.yaml with every key mistyped, in every way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ear_teacher.config import load_config
from tests.torture.cases import CANARY, Accepted, Case, Command, Refused

PROJECT = Path(__file__).parents[2]
NAN = float("nan")

COUNTS = [
    "data.image_size",
    "data.min_side",
    "data.max_pixels",
    "data.split.modulus",
    "data.synthetic.people",
    "data.synthetic.images_per_person",
    "linear.max_floats",
    "forecast.pictures",
    "model.latent_dim",
    "model.width",
    "model.backbone_layers",
    "train.steps",
    "train.batch_size",
    "train.accumulation",
    "train.validate_every",
    "train.divergence.attempts",
    "evaluate.max_images",
    "evaluate.batch_size",
    "evaluate.bootstrap",
    "reconstruct.sample",
    "reconstruct.zoom",
]
NATURALS = [
    "data.near_duplicate_distance",
    "data.synthetic.seed",
    "model.trainable_blocks",
    "train.seed",
    "train.threads",
    "evaluate.seed",
    "diagnose.seed",
    "reconstruct.extremes",
]
SHARES = [
    "data.max_bad_fraction",
    "data.synthetic.grey_fraction",
    "data.synthetic.occluder_fraction",
    "train.linear_lr_scale",
    "train.backbone_lr_scale",
    "train.warmup",
    "train.warmup_start",
    "train.final_lr",
]
WEIGHTS = [
    "loss.recon_weight",
    "loss.perceptual_weight",
    "loss.ssim_weight",
    "loss.ms_ssim_weight",
    "loss.edge_weight",
    "loss.frequency_weight",
    "loss.kl_free_bits",
    "loss.kl_warmup_epochs",
    "train.weight_decay",
]
CHOICES = [
    "data.source",
    "data.npy_range",
    "data.crop",
    "data.normalization",
    "data.synthetic.appearance",
    "model.encoder",
    "model.decoder",
    "model.latent_layout",
    "model.warm_start",
    "loss.recon",
    "loss.recon_channels",
    "loss.perceptual",
    "train.optimizer",
    "train.augment",
    "train.select",
    "train.precision",
    "train.on_divergence",
    "watch.unit",
]
SWITCHES = ["data.allow_outside_root", "weights.hub", "loss.focal", "loss.ignore_dark", "train.flip"]
SECTIONS = [
    "data",
    "data.split",
    "data.synthetic",
    "weights",
    "linear",
    "forecast",
    "model",
    "loss",
    "train",
    "train.stop",
    "train.divergence",
    "watch",
    "evaluate",
    "diagnose",
    "reconstruct",
]

WRONG: list[tuple[list[str], list[Any]]] = [
    (COUNTS, [-1, 0, 1.5, "abc", "", [1], {"a": 1}, None, True, NAN, float("inf"), 10**30]),
    (NATURALS, [-1, 1.5, "abc", [1], None, True, NAN, 10**30]),
    (SHARES, [-0.1, 1.1, "abc", [0], {"a": 0}, None, True, NAN, float("inf")]),
    (WEIGHTS, [-1, "abc", "1e", "0x10", [1], {"a": 1}, None, True, NAN, float("inf"), 1e30]),
    (CHOICES, ["abc", "", 1, None, ["mse"], {"a": 1}, True]),
    (SWITCHES, [1, 0.5, "ja", None, [True], {"a": True}]),
]

FORMS = {"1e-5": 1e-5, "1e-05": 1e-5, "1E-5": 1e-5, "+1e-5": 1e-5, "1.0e-05": 1e-5, ".00001": 1e-5, "3e-06": 3e-6}
"""Numbers as DVC and people write them; YAML 1.1 reads half of them as text."""


def cases() -> Iterator[Case]:
    """Every mistyped value, every form of a number, and documents that are no params at all."""
    for keys, values in WRONG:
        for key in keys:
            for value in values:
                yield _refused(f"{key} = {value!r}", _with(key, value), (key.rpartition(".")[2],))
    for section in SECTIONS:
        yield _refused(f"unknown key in {section}", _with(f"{section}.kl_wieght", 1), ("kl_wieght",))
        for name, value in (("a list", [1]), ("text", "abc"), ("a number", 3)):
            yield _refused(f"{section} is {name}", _with(section, value), (section.rpartition(".")[2],))
    yield _refused("unknown section", _with("lsos", {}), ("lsos",))
    for key in ("loss.kl_weight", "loss.perceptual_weight", "train.lr", "baselines.v0.loss.kl_weight"):
        for form, value in FORMS.items():
            yield _form(key, form, value)
    yield from _documents()


def _params() -> dict[str, Any]:
    return yaml.safe_load((PROJECT / "params.yaml").read_text())


def _with(key: str, value: Any) -> str:
    params = _params()
    place = params
    *path, last = key.split(".")
    for part in path:
        place = place[part]
    place[last] = value
    return yaml.safe_dump(params, sort_keys=False)


def _read(folder: Path) -> Command:
    from stages import linear  # a stage that reads its params first; run as `make run` runs it

    return linear.main


def _refused(name: str, text: str | bytes, names: tuple[str, ...], hostile: bool = False) -> Case:
    content = text.encode() if isinstance(text, str) else text

    def write(folder: Path) -> None:
        (folder / "params.yaml").write_bytes(content)

    return Case(name, "params", write, _read, Refused(("params.yaml", *names)), hostile)


def _form(key: str, form: str, value: float) -> Case:
    text = _with(key, "@form@").replace("'@form@'", form)
    *path, last = key.split(".")

    def right(folder: Path) -> None:
        config = load_config(folder / "params.yaml")
        place: Any = config.variant("v0") if path[0] == "baselines" else config
        for part in [part for part in path if part not in ("baselines", "v0")]:
            place = getattr(place, part)
        assert getattr(place, last) == value, getattr(place, last)

    def write(folder: Path) -> None:
        (folder / "params.yaml").write_text(text)

    return Case(f"{key}: {form}", "params", write, lambda folder: lambda: None, Accepted(right))


def _documents() -> Iterator[Case]:
    whole = (PROJECT / "params.yaml").read_text()
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
    )
    run = f"!!python/object/apply:os.system ['touch ../{CANARY}']"
    texts: dict[str, tuple[str | bytes, bool]] = {
        "empty": ("", False),
        "only a comment": ("# nothing\n", False),
        "a list": ("- 1\n- 2\n", False),
        "one word": ("loss\n", False),
        "null": ("null\n", False),
        "two documents": (whole + "\n---\n" + whole, False),
        "a tab": (whole.replace("  seed", "\tseed"), False),
        "an open bracket": (whole + "\nx: [1, 2\n", False),
        "an open quote": (whole + "\nx: 'abc\n", False),
        "a NUL byte": (whole.encode() + b"\x00", False),
        "UTF-16": (whole.encode("utf-16"), False),
        "Latin-1": ("# Ohrl\xe4ppchen\n".encode("latin-1") + whole.encode(), False),
        "random bytes": (bytes((i * 97 + 13) % 256 for i in range(4096)), False),
        "a section twice": (whole + "\nloss:\n  kl_weight: 1\n", False),
        "a key that is a number": (whole + "\n1: 2\n", False),
        "a key that is a list": (whole + "\n? [1, 2]\n: 3\n", False),
        "exponential aliases": (bomb, True),
        "an alias to itself": ("a: &a [*a]\n", True),
        "a merge key": (whole + "\nx: &x {a: 1}\ny: {<<: *x}\n", True),
        "100,000 open brackets": ("x: " + "[" * 100_000, True),
        "100,000 nested keys": ("".join("{a: " for _ in range(100_000)), True),
        "30 MB of one list": ("x: [" + "1, " * 10_000_000 + "1]", True),
        "a Python object": (f"loss: {run}\n", True),
        "a Python object as value": (whole.replace("kl_weight: 5.0e-8", f"kl_weight: {run}", 1), True),
        "a Python name": ("loss: !!python/name:os.system\n", True),
        "a Python module": ("loss: !!python/module:this\n", True),
        "a new Python object": (f"loss: !!python/object/new:os.system ['touch ../{CANARY}']\n", True),
        "a Python tuple": ("loss: !!python/tuple [1, 2]\n", True),
        "a foreign tag": ("loss: !secret abc\n", False),
        "a binary": ("loss: !!binary aGFsbG8=\n", False),
    }
    for name, (text, hostile) in texts.items():
        yield _refused(name, text, (), hostile)

    def missing(folder: Path) -> None:
        pass

    def folder_instead(folder: Path) -> None:
        (folder / "params.yaml").mkdir()

    def circle(folder: Path) -> None:
        (folder / "params.yaml").symlink_to("params.yaml")

    for name, write in (("no file", missing), ("a folder", folder_instead), ("a link to itself", circle)):
        yield Case(name, "params", write, _read, Refused(("params.yaml",)))

    def marked(folder: Path) -> None:
        (folder / "params.yaml").write_bytes(b"\xef\xbb\xbf" + whole.encode())

    def readable(folder: Path) -> None:
        assert load_config(folder / "params.yaml").loss.kl_weight == load_config(PROJECT / "params.yaml").loss.kl_weight

    yield Case("a byte-order mark", "params", marked, lambda folder: lambda: None, Accepted(readable))

    def windows(folder: Path) -> None:
        (folder / "params.yaml").write_bytes(whole.replace("\n", "\r\n").encode())

    yield Case("Windows line ends", "params", windows, lambda folder: lambda: None, Accepted(readable))
