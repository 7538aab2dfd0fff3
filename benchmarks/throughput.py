"""Part 2, throughput: pictures a second of a training step, encoding, decoding and evaluation, by size of picture; and
where a step's time goes, beside what the machine could compute in it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import speedups
from benchmarks.measure import alternating, timed
from benchmarks.peers import PYTHAE_SIDE, WARMED, Peer, build_peers
from benchmarks.settings import Settings
from benchmarks.subjects import OWN_NAMES, TRUNKS, Subject, any_code, made_ready, objective, peer_step, run_own
from ear_teacher.augmentation import Draws, augment
from ear_teacher.config import Variant
from ear_teacher.data import to_tensor
from ear_teacher.metrics.quality import Nets, measure_pictures
from ear_teacher.perceptual import TRUNK_FILE, load_lpips
from ear_teacher.training.optimizers import optimizers
from ear_teacher.training.pictures import Pictures
from ear_teacher.training.setup import Ready

PICTURES = 32
STEPS = 3  # of which the first is left out
BATCH = 16


def measure(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Speeds of every model at every size; at the prepared size measuring, the parts of a step of ours, and what
    each speed-up of one gives."""
    sizes = {side: at_size(subject, side, settings) for side in settings.sizes}
    return {
        "batch": subject.variants["current"].train.batch_size,
        "sizes": sizes,
        "evaluate": evaluation(subject, settings),
        "parts": parts(subject, settings),
        "speedups": speedups.measure(subject, resized(subject, subject.data.image_size), settings),
    }


def at_size(subject: Subject, side: int, settings: Settings) -> dict[str, Any]:
    """name -> parameters, FLOPs of coding one picture and back, pictures a second of step, encode, decode and evaluate.

    Evaluation is coding, decoding and every metric of stage evaluate but those of VGG.
    """
    pictures = resized(subject, side)
    images = pictures.batch(pictures.train[:BATCH], torch.device("cpu"))
    models: dict[str, nn.Module] = {}
    steps: dict[str, Callable[[], float]] = {}
    for name, key in OWN_NAMES.items():
        variant = subject.variants[key]
        ready = made_ready(variant, side, any_code(variant, side))
        models[name] = ready.model
        steps[name] = lambda variant=variant, ready=ready: own_step_seconds(variant, ready, pictures)
    current = subject.variants["current"]
    code = any_code(current, side)
    for name, make in build_peers(objective(current), lambda: code, side).items():
        # The warm start's network is that of another row; pythae's are 64 px inside, whatever the pictures are.
        if name == WARMED or (name.startswith("pythae") and side != PYTHAE_SIDE):
            continue
        models[name] = peer = make()
        steps[name] = lambda peer=peer: peer_step_seconds(peer, pictures, current)
    found: dict[str, list[float]] = {name: [] for name in models}
    for _, name in alternating(list(models), settings.repeats):
        found[name].append(steps[name]())
    alex = Nets(alex=load_lpips("alex", TRUNKS / TRUNK_FILE["alex"]))
    result = {}
    batch = current.train.batch_size
    with torch.no_grad():
        for name, model in models.items():
            model.eval()
            encode, decode = coder(model)
            codes = encode(images)
            cases = {
                "encode": lambda e=encode: e(images),
                "decode": lambda d=decode, c=codes: d(c),
                "evaluate": lambda e=encode, d=decode: measure_pictures(images, d(e(images)).clamp(0, 1), alex),
            }
            seconds = timed(cases, settings.repeats, settings.seconds)
            result[name] = {
                "parameters": sum(p.numel() for p in parameters(model)),
                "learning": sum(p.numel() for p in parameters(model) if p.requires_grad),
                "gflops": flops(lambda d=decode, e=encode: d(e(images[:1]))) / 1e9,
                "step_ms": 1000 * median(found[name]),
                "train": batch / median(found[name]),
                **{key: len(images) / value for key, value in seconds.items()},
            }
    return result


def parameters(model: nn.Module) -> list[nn.Parameter]:
    """A model's own, without those of the loss it carries."""
    return [p for name, p in model.named_parameters() if not name.startswith("objective.")]


def coder(model: nn.Module) -> tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]:
    """A model's two halves: pictures to codes (their means), and back."""
    if not isinstance(model, Peer):
        return (lambda images: model.encode(images).mode), model.decode
    return model.codes, model.pictures


def resized(subject: Subject, side: int) -> Pictures:
    """Some training pictures at another size."""
    rows = subject.data.rows("train", PICTURES)
    images = to_tensor(subject.data.images[rows])
    if side != images.shape[-1]:
        images = nn.functional.interpolate(images, side, mode="bicubic", antialias=True).clamp(0, 1)
    pixels = (images * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    every = torch.arange(len(rows)).numpy()
    return Pictures(pixels, every, every[:1])


def own_step_seconds(variant: Variant, ready: Ready, pictures: Pictures) -> float:
    """Median wall seconds of a step of the project's own loop."""
    stamps: list[float] = []
    # Validation follows the last step, so that one is not among them.
    run_own(variant, ready, pictures, STEPS + 1, lambda step, rebuild: stamps.append(time.perf_counter()))
    return gap(stamps[1 : STEPS + 1])


def peer_step_seconds(peer: Peer, pictures: Pictures, variant: Variant) -> float:
    """Median wall seconds of a step of the peers' loop."""
    mover = torch.optim.AdamW([p for p in peer.parameters() if p.requires_grad], lr=1e-4, fused=True)
    peer.train()
    stamps = []
    for step in range(STEPS):
        peer_step(peer, pictures, variant, 0, step, mover)
        stamps.append(time.perf_counter())
    return gap(stamps)


def gap(stamps: list[float]) -> float:
    """Median difference of neighbours."""
    return median(later - sooner for sooner, later in itertools.pairwise(stamps))


def flops(call: Callable[[], object]) -> int:
    """Floating-point operations of the convolutions and matrix products in a call (an addition counts as one)."""
    counter = FlopCounterMode(display=False)
    with counter:
        call()
    return counter.get_total_flops()


def evaluation(subject: Subject, settings: Settings) -> dict[str, float]:
    """Pictures a second of measuring the current model with every metric: with LPIPS-alex, and with vgg beside it."""
    variant = subject.variants["current"]
    side = subject.data.image_size
    model = made_ready(variant, side, any_code(variant, side)).model.eval()
    images = to_tensor(subject.data.images[subject.data.rows("test", BATCH)])
    nets = {net: load_lpips(net, TRUNKS / file) for net, file in TRUNK_FILE.items()}

    def call(nets: Nets) -> Callable[[], object]:
        def measured() -> object:
            with torch.no_grad():
                return measure_pictures(images, model.reconstruct(images), nets)

        return measured

    cases = {"alex": call(Nets(alex=nets["alex"])), "alex and vgg": call(Nets(**nets))}
    seconds = timed(cases, settings.repeats, settings.seconds)
    return {name: len(images) / value for name, value in seconds.items()}


def parts(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Milliseconds and FLOPs of each part of a training step of the current model, each run by itself.

    Every part is run forward and backward on what it is given in a step. `step` is the loop's own time: what it has
    above the sum is what runs between the parts.
    """
    variant, side = subject.variants["current"], subject.data.image_size
    ready = made_ready(variant, side, any_code(variant, side))
    pictures = resized(subject, side)
    cases = dict(_parts(ready, variant, pictures))
    seconds = timed(cases, settings.repeats, settings.seconds)
    fresh = made_ready(variant, side, any_code(variant, side))
    step = median(own_step_seconds(variant, fresh, pictures) for _ in range(settings.repeats))
    listed = {name: {"ms": 1000 * value, "gflops": flops(cases[name]) / 1e9} for name, value in seconds.items()}
    return {"step_ms": 1000 * step, "parts": listed}


def _parts(ready: Ready, variant: Variant, pictures: Pictures) -> Iterator[tuple[str, Callable[[], object]]]:
    model, loss, teaching, device = ready.model, ready.loss, ready.teaching, torch.device("cpu")
    model.train()
    rows = pictures.train[: variant.train.batch_size]

    def data() -> Tensor:
        return augment(pictures.batch(rows, device), variant.train, Draws(torch.Generator().manual_seed(0)))[1]

    target = data()
    posterior, deepest = teaching.encode(model, target, None)
    recon = model.decode(posterior.mean).detach()
    kl = posterior.kl().detach()

    def forward_and_back() -> None:
        found, map_ = teaching.encode(model, target, None)
        made = model.decode(found.mean)
        outputs = [made, found.logvar] + ([] if map_ is None else [map_])
        torch.autograd.backward(outputs, [torch.full_like(output, 1e-4) for output in outputs])

    yield "data: read, convert, mirror", data
    yield "model, forward and backward", forward_and_back
    for name in loss.weights:

        def term(name: str = name) -> None:
            made, nats = recon.clone().requires_grad_(), kl.clone().requires_grad_()
            loss._term(name, made, target, nats, lambda part: part).backward()

        yield f"loss: {name}", term
    if deepest is not None:
        still = deepest.detach()

        def taught() -> None:
            teaching(model, still.clone().requires_grad_(), target, Draws(torch.Generator()))[0].backward()

        yield "teach: alignment, descriptors", taught
    movers = optimizers(model, variant.train, teaching.learned())
    forward_and_back()
    every = [p for mover in movers for group in mover.param_groups for p in group["params"] if p.grad is not None]

    def move() -> None:
        nn.utils.clip_grad_norm_(every, variant.train.max_grad_norm)
        for mover in movers:
            mover.step()

    yield "optimiser", move
    kept = [value.clone() for value in model.state_dict().values()]

    def average() -> None:
        with torch.no_grad():
            for mean, now in zip(kept, model.state_dict().values(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(now, 0.03)

    if variant.train.ema:
        yield "average of the weights", average
