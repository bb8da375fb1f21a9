"""Fitting AudioScore on ratings, and what is measured of the fit.

Goal
----
Learn the classifier by cross-entropy on Good, Medium, Bad ratings by people. Of several raters
of a sound, the share of their votes is the target; the median vote (Good < Medium < Bad, the
lower one of two) is what accuracy is measured against. Classes weigh alike in the loss, whatever
their number.

Conventions
-----------
- The clips, never single sounds, are divided by a seeded permutation: 70 % train, 15 % tell when
  to stop, 15 % are held out. All figures are of the held-out part, which nothing else has seen.
- Standardisation uses the training part. Full-batch Adam, float64; the parameters of the lowest
  loss on the second part are kept, after 200 steps without a lower one it ends.
- `ece` is the expected calibration error of the most likely class in ten equal bins. With a
  class-balanced loss the probabilities are those of balanced classes: `ece_balanced` weighs the
  held-out sounds accordingly, `ece` does not.

References
----------
V2A-DPO, arXiv:2603.11089 (classifier, cross-entropy). Guo et al., On Calibration of Modern
Neural Networks, 2017, arXiv:1706.04599 (expected calibration error). The rest is v2abench's choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from v2abench.errors import V2ABenchError
from v2abench.metrics.audioscore_classifier import CLASSES, HIDDEN
from v2abench.metrics.samples import Floats, Integers

LEAST_SOUNDS = 30
BINS = 10
_SHARES = (0.7, 0.15)
_STEPS = 3000
_PATIENCE = 200
_LEARNING_RATE = 5e-3
_WEIGHT_DECAY = 1e-3


@dataclass(frozen=True, eq=False)
class Rated:
    """Rated sounds: `values` (n, k) components, NaN where missing; `votes` (n, 3) counts; clip ids (n,)."""

    values: Floats
    votes: Floats
    clips: Sequence[str]


@dataclass(frozen=True)
class Calibration:
    """One bin: how many sounds, their mean confidence, and how often it was right."""

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Figures:
    """What is measured on the held-out sounds; `confusion[true][said]` counts, Good, Medium, Bad."""

    sounds: int
    accuracy: float
    macro_f1: float
    majority: float
    ece: float
    ece_balanced: float
    confusion: tuple[tuple[int, ...], ...]
    calibration: tuple[Calibration, ...]


@dataclass(frozen=True, eq=False)
class Fit:
    """The arrays of the classifier, the figures, and which rows were held out."""

    arrays: Mapping[str, Floats]
    figures: Figures
    held_out: Integers
    steps: int


def fit(rated: Rated, seed: int = 0) -> Fit:
    """Fit a classifier; raises `V2ABenchError` where there are too few ratings to learn from."""
    parts = divide(rated.clips, seed)
    truth = median_votes(rated.votes)
    _refuse_too_few(truth, parts)
    train = parts[0]
    with np.errstate(invalid="ignore"):
        present = ~np.isnan(rated.values[train])
    mean, deviation = _statistics(rated.values[train], present)
    inputs = torch.from_numpy(np.nan_to_num((rated.values - mean) / deviation, nan=0.0))
    targets = torch.from_numpy(rated.votes / rated.votes.sum(axis=1, keepdims=True))
    weights = torch.from_numpy(class_weights(truth[train]))
    network, steps = _train(inputs, targets, weights, parts, seed)
    arrays = {"mean": mean, "deviation": deviation, **network}
    said = _probabilities(inputs, network)[parts[2]]
    return Fit(arrays, figures(said, truth[parts[2]]), parts[2], steps)


def divide(clips: Sequence[str], seed: int) -> tuple[Integers, Integers, Integers]:
    """Return the rows that train, that tell when to stop, and that are held out, by clip."""
    names = np.array(sorted(set(clips)))
    order = np.random.default_rng(seed).permutation(len(names))
    first, second = (round(sum(_SHARES[: n + 1]) * len(names)) for n in range(2))
    rank = dict(zip(names[order].tolist(), range(len(names)), strict=True))
    ranks = np.array([rank[clip] for clip in clips])
    bounds = ((0, first), (first, second), (second, len(names)))
    train, stop, held = (np.flatnonzero((ranks >= low) & (ranks < high)) for low, high in bounds)
    return train, stop, held


def median_votes(votes: Floats) -> Integers:
    """Return the median class of (n, 3) votes, the lower (better) one of two."""
    cumulative = np.cumsum(votes, axis=1)
    return np.asarray((cumulative >= cumulative[:, -1:] / 2).argmax(axis=1), dtype=np.int64)


def class_weights(truth: Integers) -> Floats:
    """Return n / (classes · count) of each class, 0 where there is none."""
    counts = np.bincount(truth, minlength=len(CLASSES))
    return np.divide(len(truth), len(CLASSES) * counts, out=np.zeros(len(CLASSES)), where=counts > 0)


def figures(probabilities: Floats, truth: Integers) -> Figures:
    """Measure (n, 3) probabilities against the true classes (n,)."""
    said = probabilities.argmax(axis=1)
    confusion = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    np.add.at(confusion, (truth, said), 1)
    totals = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = np.divide(2 * np.diag(confusion), totals, out=np.zeros(len(CLASSES)), where=totals > 0)
    right, confidence = said == truth, probabilities.max(axis=1)
    even = np.ones(len(truth))
    return Figures(
        sounds=len(truth),
        accuracy=float(right.mean()),
        macro_f1=float(f1[totals > 0].mean()),
        majority=float(np.bincount(truth).max() / len(truth)),
        ece=_calibration_error(confidence, right, even),
        ece_balanced=_calibration_error(confidence, right, class_weights(truth)[truth]),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        calibration=_calibration(confidence, right),
    )


def _bins(confidence: Floats) -> Integers:
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def _calibration_error(confidence: Floats, right: NDArray[np.bool_], weights: Floats) -> float:
    bins = _bins(confidence)
    gaps = np.bincount(bins, weights * (right - confidence), minlength=BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def _calibration(confidence: Floats, right: NDArray[np.bool_]) -> tuple[Calibration, ...]:
    bins = _bins(confidence)
    return tuple(
        Calibration(int(rows.sum()), float(confidence[rows].mean()), float(right[rows].mean()))
        for rows in (bins == number for number in range(BINS))
        if rows.any()
    )


def _statistics(values: Floats, present: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Mean and deviation of each component over the present ones; 0 and 1 where there is no spread."""
    counts = np.maximum(present.sum(axis=0), 1)
    mean = np.where(present, values, 0.0).sum(axis=0) / counts
    spread = np.sqrt((np.where(present, values - mean, 0.0) ** 2).sum(axis=0) / counts)
    return mean, np.where(spread > 0, spread, 1.0)


def _refuse_too_few(truth: Integers, parts: Sequence[Integers]) -> None:
    if len(truth) < LEAST_SOUNDS or any(len(part) == 0 for part in parts):
        raise V2ABenchError(
            f"{len(truth)} rated sounds are too few to fit on and to hold some out; rate at least "
            f"{LEAST_SOUNDS}, of seven clips or more"
        )
    counts = np.bincount(truth[parts[0]], minlength=len(CLASSES))
    if 0 in counts:
        lacking = ", ".join(name for name, count in zip(CLASSES, counts, strict=True) if not count)
        raise V2ABenchError(f"no sound that trains is rated {lacking}; rate more, of all three kinds")


def _train(
    inputs: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    parts: Sequence[Integers],
    seed: int,
) -> tuple[dict[str, Floats], int]:
    train, stop = (torch.from_numpy(part) for part in parts[:2])
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(inputs.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(CLASSES))
        ).double()
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    best, best_step = float("inf"), 0
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    for step in range(1, _STEPS + 1):
        optimizer.zero_grad()
        _loss(network(inputs[train]), targets[train], weights).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            held = float(_loss(network(inputs[stop]), targets[stop], weights))
        if held < best:
            best, best_step = held, step
            kept = {name: value.clone() for name, value in network.state_dict().items()}
        elif step - best_step >= _PATIENCE:
            break
    names = {"0": "hidden", "2": "output"}
    return {f"{names[key[0]]}{key[1:]}": value.numpy() for key, value in kept.items()}, best_step


def _loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits, targets, weights)


def _probabilities(inputs: torch.Tensor, network: Mapping[str, Floats]) -> Floats:
    hidden = np.maximum(inputs.numpy() @ network["hidden.weight"].T + network["hidden.bias"], 0)
    logits = torch.from_numpy(hidden @ network["output.weight"].T + network["output.bias"])
    return np.asarray(torch.softmax(logits, dim=1).numpy())
