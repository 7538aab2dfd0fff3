"""The heads of the probe: ridge regression, a small MLP, and expected places under heatmaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ear_teacher.models.blocks import norm_act
from ear_teacher.teacher.heads import expected_place

PENALTIES = tuple(10.0 ** (step / 2) for step in range(-10, 9))
"""Ridge penalties tried, as shares of the mean squared length of a labelled picture's features."""

Score = Callable[[Tensor], float]
"""Predictions for the validation pictures -> an error, lower is better."""

_CHECKS = 10


def ridge(features: Tensor, labels: Tensor, val: Tensor, score: Score) -> tuple[float, Callable[[Tensor], Tensor]]:
    """Least squares with the squared norm of the weights, intercept free, in closed form (Hoerl & Kennard 1970).

    Args:
        features: (n, r) of the labelled pictures.
        labels: (n, m).
        val: (v, r) features by which the penalty is chosen from `PENALTIES`.
        score: of (v, m) predictions.

    Returns:
        the least validation error, and the map from (N, r) features to (N, m) predictions.
    """
    centre, level = features.double().mean(0), labels.double().mean(0)
    x, y = features.double() - centre, labels.double() - level
    # x = U S V': the weights are V (S² + p)⁻¹ V' x' y. V comes from the smaller of the two Gram matrices.
    wide = x.shape[1] > len(x)
    energies, vectors = torch.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = energies > energies.max() * 1e-10
    energies, vectors = energies[kept], vectors[:, kept]
    right = x.T @ vectors / energies.sqrt() if wide else vectors
    projected = right.T @ (x.T @ y)
    unit = float(energies.sum()) / len(x)
    onto = (val.double() - centre) @ right
    errors = []
    for penalty in PENALTIES:
        predicted = onto @ (projected / (energies + penalty * unit)[:, None]) + level
        errors.append(score(predicted.float()))
    best = min(range(len(errors)), key=errors.__getitem__)
    weights = right @ (projected / (energies + PENALTIES[best] * unit)[:, None])
    return errors[best], lambda given: ((given.double() - centre) @ weights + level).float()


def fit_mlp(
    features: Tensor, labels: Tensor, val: Tensor, score: Score, steps: int, seed: int
) -> Callable[[Tensor], Tensor]:
    """One hidden layer of 256, AdamW, the state with the least validation error of ten.

    Args: `features`, `labels`, `val`, `score` as in `ridge`.
        steps: of 32 pictures each.
        seed: of weights and order.
    """
    level, spread = labels.mean(0), labels.std(0).clamp(min=1e-6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(features.shape[1], 256), nn.SiLU(), nn.Dropout(0.2), nn.Linear(256, len(level)))

        def predict(given: Tensor) -> Tensor:
            found: Tensor = net(given) * spread + level
            return found

        def loss(rows: Tensor) -> Tensor:
            return ((predict(features[rows]) - labels[rows]) / spread).pow(2).mean()

        _descend(net, loss, len(features), lambda: score(predict(val)), steps, 1e-3, seed)
    return lambda given: _quiet(predict, given)


def fit_soft_argmax(
    stack: Tensor, places: Tensor, val: Tensor, score: Score, steps: int, seed: int
) -> Callable[[Tensor], Tensor]:
    """Three 3 x 3 convs, a heatmap for each point, and the expected place under it (Sun et al. 2018, 1711.08229).

    Args:
        stack: (n, C, g, g) maps of the labelled pictures.
        places: (n, K, 2) x and y in [0, 1].
        val: (v, C, g, g).
        score: of (v, K, 2) predictions.
        steps: of 32 pictures each.
        seed: of weights and order.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Conv2d(stack.shape[1], 32, 1)]
        for reach in (1, 2, 4):  # 15 x 15 cells are seen: nearly the whole ear
            layers += [norm_act(32), nn.Conv2d(32, 32, 3, padding=reach, dilation=reach)]
        net = nn.Sequential(*layers, norm_act(32), nn.Conv2d(32, places.shape[1], 1))

        def predict(given: Tensor) -> Tensor:
            logits = net(given.float())
            return expected_place(logits.flatten(2).softmax(2).view_as(logits))

        def loss(rows: Tensor) -> Tensor:
            return (predict(stack[rows]) - places[rows]).abs().mean() * 10

        _descend(net, loss, len(stack), lambda: score(_quiet(predict, val)), steps, 5e-3, seed)
    return lambda given: _quiet(predict, given)


@torch.no_grad()
def _quiet(predict: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
    return torch.cat([predict(part) for part in given.split(128)])


def _descend(
    net: nn.Module,
    loss: Callable[[Tensor], Tensor],
    count: int,
    check: Callable[[], float],
    steps: int,
    lr: float,
    seed: int,
) -> None:
    """AdamW with a learning rate falling to zero; the net ends in the best of its checked states."""
    mover = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(mover, lr, total_steps=steps, pct_start=0.1)
    order = torch.Generator().manual_seed(seed)
    best, kept = float("inf"), {}
    for step in range(steps):
        net.train()
        mover.zero_grad()
        loss(torch.randint(count, (32,), generator=order)).backward()
        mover.step()
        schedule.step()
        if (step + 1) % max(1, steps // _CHECKS) == 0 or step + 1 == steps:
            net.eval()
            with torch.no_grad():
                error = check()
            if error < best:
                best, kept = error, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(kept)
    net.eval()


def channel_axes(stacks: Sequence[Tensor], channels: int) -> tuple[Tensor, Tensor]:
    """Mean (C,) and whitening axes (C, c) of the channels of (N, C, g, g) maps over pictures and places."""
    total, moment, count = 0.0, 0.0, 0
    for stack in stacks:
        for part in stack.split(64):
            flat = part.float().transpose(0, 1).flatten(1).double()
            total, moment, count = total + flat.sum(1), moment + flat @ flat.T, count + flat.shape[1]
    mean = torch.as_tensor(total) / count
    covariance = torch.as_tensor(moment) / count - torch.outer(mean, mean)
    values, vectors = torch.linalg.eigh(covariance)
    kept = values.argsort(descending=True, stable=True)[:channels]
    kept = kept[values[kept] > values.max() * 1e-6]
    return mean.float(), (vectors[:, kept] / values[kept].sqrt()).float()


def reduced(stack: Tensor, mean: Tensor, axes: Tensor) -> Tensor:
    """(N, C, g, g) -> (N, c, g, g) float32, by the axes of `channel_axes`."""
    parts = [
        torch.einsum("nchw,cd->ndhw", part.float() - mean.view(1, -1, 1, 1), axes) for part in stack.split(64)
    ]  # fmt: skip
    return torch.cat(parts)
