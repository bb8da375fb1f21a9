"""Flow-DPO: how far policy and reference miss the velocities of a winner and of its loser.

Liu et al., "Improving Video Generation with Human Feedback", arXiv 2501.13918, and V2A-DPO,
arXiv 2603.11089. With e = |v - u|² for the target velocity v and a predicted u,

    h = [e_policy - e_reference](winner) - α · [e_policy - e_reference](loser)
    logit z = -β/2 · h,    loss = mean over pairs of weight · (-log σ(z)) + λ · mean e_policy(winner)

An error is the same whichever way time runs, so neither is this loss tied to a convention. Errors
are means over all elements of a latent unless told otherwise; β is meant for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Reduction = Literal["mean", "sum"]
LossType = Literal["sigmoid", "hinge", "ipo", "sft"]
BetaSchedule = Literal["constant", "quadratic"]


@dataclass(frozen=True)
class DPOLoss:
    """Which loss. Names as in TRL; `loser_weight` is α, `sft_weight` λ.

    `beta_schedule`: `constant`, or `quadratic`, β·t² with t = 0 at the noise. `norm_guard` γ adds
    γ · mean relu(|u| - |r|)/|r|, against velocities that grow.
    """

    beta: float = 600.0
    loss_type: LossType = "sigmoid"
    label_smoothing: float = 0.0
    loser_weight: float = 1.0
    sft_weight: float = 0.0
    norm_guard: float = 0.0
    beta_schedule: BetaSchedule = "constant"

    def beta_at(self, t: Tensor) -> Tensor:
        """Return β at times `t` (0 noise, 1 data)."""
        return self.beta * (t**2 if self.beta_schedule == "quadratic" else torch.ones_like(t))


@dataclass(frozen=True)
class PairErrors:
    """The (B,) squared errors of B pairs: of the policy, and of the reference."""

    winner: Tensor
    loser: Tensor
    reference_winner: Tensor
    reference_loser: Tensor


def error(predicted: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Return the (B,) squared error over all but the first dimension, summed in float64.

    The loss is β/2 times a difference of errors that are nearly equal: in float32 it would lose the
    last two or three of its digits. (MPS has no float64, and sums in float32.)
    """
    wide = torch.float32 if predicted.device.type == "mps" else torch.float64
    narrow = predicted.dtype if predicted.dtype == torch.float64 else torch.float32
    squared = (predicted.to(narrow) - target.to(narrow)).square().flatten(1)
    return squared.mean(1, dtype=wide) if reduction == "mean" else squared.sum(1, dtype=wide)


def pair_errors(policy: Tensor, reference: Tensor, target: Tensor, reduction: Reduction) -> PairErrors:
    """Return the errors of (2B, ...) velocities that hold the winners first, then the losers."""
    winner, loser = error(policy, target, reduction).chunk(2)
    reference_winner, reference_loser = error(reference, target, reduction).chunk(2)
    return PairErrors(winner, loser, reference_winner, reference_loser)


def dpo_logits(errors: PairErrors, beta: Tensor | float, loser_weight: float = 1.0) -> Tensor:
    """Return z = -β/2 · h, above 0 where the policy has moved towards the winner."""
    winner = errors.winner - errors.reference_winner
    loser = errors.loser - errors.reference_loser
    return -0.5 * beta * (winner - loser_weight * loser)


def dpo_losses(errors: PairErrors, settings: DPOLoss, beta: Tensor | float | None = None) -> Tensor:
    """Return the (B,) losses, the supervised term included.

    `ipo` is (-h/2 - 1/(2β))² (Azar et al., arXiv 2310.12036), for which β is its τ. `sft` is the
    winner's error alone, plain flow matching: a control.
    """
    beta = settings.beta if beta is None else beta
    z = dpo_logits(errors, beta, settings.loser_weight)
    match settings.loss_type:
        case "sigmoid":
            smoothing = settings.label_smoothing
            losses = -(1 - smoothing) * functional.logsigmoid(z) - smoothing * functional.logsigmoid(-z)
        case "hinge":
            losses = functional.relu(1 - z)
        case "ipo":
            losses = (z / beta - 1 / (2 * beta)).square()
        case "sft":
            losses = errors.winner
    return losses + settings.sft_weight * errors.winner


def dpo_loss(
    errors: PairErrors,
    settings: DPOLoss,
    beta: Tensor | float | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the mean over pairs; (B,) `weights` count pairs more or less, and not the supervised term."""
    if weights is None:
        return dpo_losses(errors, settings, beta).mean()
    supervised = settings.sft_weight * errors.winner
    return (weights * (dpo_losses(errors, settings, beta) - supervised) + supervised).mean()


def norm_excess(policy: Tensor, reference: Tensor) -> Tensor:
    """Return the mean relu(|u| - |r|)/|r| over clips: by how much velocities have grown."""
    grown, before = (velocity.float().flatten(1).norm(dim=1) for velocity in (policy, reference))
    excess: Tensor = functional.relu(grown - before) / before.clamp_min(1e-12)
    return excess.mean()


@torch.no_grad()
def diagnostics(errors: PairErrors, beta: Tensor | float, loser_weight: float = 1.0) -> dict[str, Tensor]:
    """Return (B,) quantities to log, by TRL's names where it has them. A tie counts half."""
    z = dpo_logits(errors, beta, loser_weight)
    drift_winner = errors.winner - errors.reference_winner
    drift_loser = errors.loser - errors.reference_loser
    return {
        "rewards/chosen": -0.5 * beta * drift_winner,
        "rewards/rejected": -0.5 * beta * drift_loser,
        "rewards/margins": z,
        "rewards/accuracies": (z > 0) + 0.5 * (z == 0),
        "err/chosen": errors.winner,
        "err/rejected": errors.loser,
        "ref_err/chosen": errors.reference_winner,
        "ref_err/rejected": errors.reference_loser,
        "drift/chosen": drift_winner,
        "drift/rejected": drift_loser,
        "saturation": (torch.sigmoid(-z) < 0.01).to(z.dtype),
    }
