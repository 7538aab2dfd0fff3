"""The model card: what a trained folder is, what it was made of, how good it is and what it must not be used for.

The headings are those of Mitchell et al. 2019 (Model Cards for Model Reporting, arXiv 1810.03993). Nothing in a card
depends on the clock, so that the same run writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yaml

from ear_teacher.config import NO_BACKBONE, Variant
from ear_teacher.data.split import SPLITS

FILE = "README.md"


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from.

    Attributes:
        folder: where the model lies, such as `models/current`.
        variant: the params it was trained with.
        image_size: side of its pictures in pixels.
        parameters: how many numbers it consists of.
        shapes: output -> its shape for one picture (`feature_shapes`).
        index: index.csv of the prepared pictures.
        rendered: whether the pictures are synthetic.
        grey_moved: whether greyscale pictures were moved to the colour ones' statistics.
        validated: rows of the index that were validated on.
        kept: the row of the history that belongs to the kept weights.
        last: the last row of the history.
        backbone_licence: of the pretrained network's weights, as timm states it; None where there is none or it says
            nothing.
    """

    folder: str
    variant: Variant
    image_size: int
    parameters: int
    shapes: Mapping[str, tuple[int, ...]]
    index: pd.DataFrame
    rendered: bool
    grey_moved: bool
    validated: list[int]
    kept: Mapping[str, float]
    last: Mapping[str, float]
    backbone_licence: str | None = None


def write_card(facts: CardFacts) -> str:
    """The card as markdown."""
    parts = [
        _details(facts), _intended(facts), _factors(facts), _metrics(facts), _training(facts), _ethics(facts),
        _limits(facts), _params(facts.variant),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _details(facts: CardFacts) -> str:
    config = facts.variant.model
    shape = "x".join(str(side) for side in facts.shapes["mean"])
    rows = "\n".join(f"| `{name}` | {' x '.join(map(str, size))} |" for name, size in facts.shapes.items())
    return f"""# Ear Teacher, variant {facts.variant.name}

A variational autoencoder of human ears. Its encoder is meant as a teacher for ear detection and landmarking; its
decoder shows, by how well it rebuilds a picture, what the encoder has seen.

```python
from ear_teacher import EarTeacher

teacher = EarTeacher.load("{facts.folder}")
features = teacher.features(["left.jpg", "right.jpg"])
```

## Model details

- Architecture: {config.describe()}.
- Code: {config.latent_dim} floats, channels x height x width = {shape}.
- Input: RGB, {facts.image_size} x {facts.image_size} pixels in [0, 1]; pictures of other sizes are scaled.
- {facts.parameters:,} parameters, {f"{facts.parameters * 4 / 1e6:.1f}"} MB as float32. Files: `model.safetensors` and
  `config.json`; the last state of the run in `last/`.
- Licence: the code is Apache-2.0. The weights are a product of their training pictures and stand under those pictures'
  terms.{_backbone_licence(facts)}

What it gives for one picture (channels x height x width; tokens: places x channels):

| output | shape |
|---|---|
{rows}"""


def _backbone_licence(facts: CardFacts) -> str:
    name = facts.variant.model.backbone
    if name == NO_BACKBONE:
        return ""
    stated = (
        f"{facts.backbone_licence}, as timm states it" if facts.backbone_licence else "not stated by timm: look it up"
    )
    return f" They contain those of the pretrained network {name} (licence: {stated})."


def _intended(facts: CardFacts) -> str:
    return """## Intended use

Features for detecting ears and placing landmarks on them, in research and development; study of what autoencoders of
small picture sets learn. Users: people who have ear pictures they may use, and who test the result on people of their
own.

**Forbidden uses**: identifying or verifying people by their ears without their informed consent; surveillance; medical
diagnosis or treatment; guessing origin, sex, age or any other trait of a person."""


def _factors(facts: CardFacts) -> str:
    return f"""## Factors

Quality depends on how an ear lies in the picture (cut to the ear, upright, lit), on hair, earrings and glasses before
it, on colour or greyscale, and on skin tone and age as far as the training pictures have them. Nothing is measured by
skin tone, age or sex here{": the people are rendered" if facts.rendered else ": the pictures carry no such labels"}."""


def _metrics(facts: CardFacts) -> str:
    kept, loss, name = facts.kept, facts.variant.loss, facts.variant.name
    people = facts.index["person"].iloc[facts.validated]
    known = people[people != ""].nunique()
    rows = [
        f"| PSNR, dB | {kept['val/psnr']:.2f} |",
        f"| SSIM | {kept['val/ssim']:.3f} |",
        f"| KL, nats a picture | {kept['val/kl']:.0f} |",
    ]
    if "val/raw/perceptual" in kept:
        rows.append(
            f"| perceptual distance ({loss.perceptual}) through a sampled code | {kept['val/raw/perceptual']:.3f} |"
        )
    start = " The kept state is the start: no training improved on it." if kept["step"] == 0 else ""
    return f"""## Metrics and evaluation data

Of the kept state (step {kept["step"]:.0f}), on {len(facts.validated)} pictures of {known} validation people,
none of whom it was trained on. PSNR and SSIM decode the mean of the code, clamped.{start}

| validation people | |
|---|---|
{chr(10).join(rows)}

The kept state was chosen on these people, so the figures are a little too good. What it reaches on test people, with
intervals, beside the linear code of as many floats and beside v0, stands in `metrics/{name}.json` and
`metrics/compare.md`."""


def _training(facts: CardFacts) -> str:
    index, train = facts.index, facts.variant.train
    counts = []
    for split in SPLITS:
        part = index[index["split"] == split]
        known = part["person"][part["person"] != ""].nunique()
        counts.append(f"| {split} | {len(part):,} | {known:,} | {int(part['grey'].sum()):,} |")
    source = (
        "Synthetic ears from this project's renderer, no photos."
        if facts.rendered
        else "Photos that the trainer of this model provided; their terms hold for the weights."
    )
    unknown = int((index["person"] == "").sum())
    if not unknown:
        split = "People, never pictures, were divided."
    else:
        split = (
            f"The person of {unknown:,} pictures is not known: they were divided one by one; splits may share people."
        )
    moved = " Greyscale pictures were moved to the colour ones' mean and deviation." if facts.grey_moved else ""
    chosen = f"The state with the best validation value of `{train.select}` was kept."
    if train.select == "last" or facts.variant.loss.kl_weight is None:
        chosen = "The last state was kept."
    early = f" of {train.steps:,} planned" if facts.last["step"] < train.steps else ""
    return f"""## Training data

{source} {split}{moved}

| split | pictures | people | greyscale |
|---|---|---|---|
{chr(10).join(counts)}

## Training

{facts.last["step"]:,.0f} steps{early}, {facts.last["images"]:,.0f} pictures seen (repeats counted), seed {train.seed}.
The loss, computed on [-1, 1]: {_loss(facts.variant)}. {chosen}"""


def _loss(variant: Variant) -> str:
    loss = variant.loss
    terms = [f"{loss.recon_weight:g} x {loss.recon} reconstruction"]
    for name in ("perceptual", "ssim", "ms_ssim", "edge", "frequency"):
        weight = getattr(loss, f"{name}_weight")
        if weight:
            by = f"{loss.perceptual} (features of a network pretrained on ImageNet)"
            terms.append(f"{weight:g} x {by if name == 'perceptual' else name.replace('_', '-')}")
    if loss.kl_weight is not None:
        terms.append(f"{loss.kl_weight:g} x KL")
    else:
        wish = f"{loss.kl_target:g} nats" if loss.kl_target is not None else f"{loss.psnr_target:g} dB"
        terms.append(f"KL, weighted so that {wish} came out")
    return " + ".join(terms)


def _ethics(facts: CardFacts) -> str:
    shown = (
        "The training ears belong to nobody."
        if facts.rendered
        else "The training photos show people; their consent is the trainer's to have, and a decoder may give details "
        "of them away: do not publish these weights without it."
    )
    return f"""## Ethical considerations

Ears identify people: pictures of them, and codes and features made of those, are biometric data. {shown} Apply the
model only to pictures of people who agreed to it."""


def _limits(facts: CardFacts) -> str:
    unlike = (
        "Real photos differ from rendered ones (docs/synthetic.md); measure on your own. " if facts.rendered else ""
    )
    return f"""## Limits

{unlike}It expects a picture cut to one ear: it finds no ears and refuses nothing that is none. Features are not
calibrated, no fairness between groups was measured, and what the {facts.image_size} pixels of its input do not show it
cannot know. A low KL is a short code, not a sign of health."""


def _params(variant: Variant) -> str:
    text = yaml.safe_dump(
        _plain(variant.model_dump(exclude={"name"})), sort_keys=False, default_flow_style=None, width=110
    )
    return f"## Params\n\n```yaml\n{text}```"


def _plain(value: Any) -> Any:
    """Without tuples, which YAML has no safe form of."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
