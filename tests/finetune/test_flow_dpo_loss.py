"""The Flow-DPO loss against `goldens/flow_dpo.npz`.

The arrays were made by, and cross-checked against, the lines of DiffusionDPO, flow_grpo, Resonate and
TangoFlux, in the convention in which t = 1 is the noise and v = noise - data.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from v2abench.finetune.guard import interpolate
from v2abench.finetune.losses import (
    DPOLoss,
    PairErrors,
    Reduction,
    diagnostics,
    dpo_logits,
    dpo_loss,
    norm_excess,
    pair_errors,
)

GOLDEN = np.load(Path(__file__).parents[1] / "goldens/flow_dpo.npz")
CASES: dict[str, tuple[DPOLoss, Reduction]] = {
    "mean_b600": (DPOLoss(), "mean"),
    "sum_b30": (DPOLoss(beta=30), "sum"),
    "sum_b600": (DPOLoss(), "sum"),
    "mean_b2000_sft1": (DPOLoss(beta=2000, sft_weight=1.0), "mean"),
    "mean_b1000_sft01": (DPOLoss(beta=1000, sft_weight=0.1), "mean"),
    "mean_b600_alpha05": (DPOLoss(loser_weight=0.5), "mean"),
    "mean_b600_smooth01": (DPOLoss(label_smoothing=0.1), "mean"),
    "mean_b600_hinge": (DPOLoss(loss_type="hinge"), "mean"),
    "mean_tau5_ipo": (DPOLoss(beta=5, loss_type="ipo"), "mean"),
    "mean_b600_weights": (DPOLoss(), "mean"),
}
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def golden(name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.from_numpy(GOLDEN[f"dpo.{name}"]).to(dtype)


def recorded(name: str, dtype: torch.dtype) -> Callable[[Tensor, Tensor], Tensor]:
    """A network in the upstream convention: it knows its answer at the golden points only."""
    x_w, x_l, t = (golden(key, dtype) for key in ("x_w", "x_l", "t_noise"))
    answers = torch.cat([golden(f"{name}_w", dtype), golden(f"{name}_l", dtype)]).requires_grad_()

    def velocity(x: Tensor, noise_time: Tensor) -> Tensor:
        torch.testing.assert_close(x, torch.cat([x_w, x_l]), atol=1e-6, rtol=0)
        torch.testing.assert_close(noise_time, torch.cat([t, t]), atol=1e-6, rtol=0)
        return answers

    velocity.answers = answers  # type: ignore[attr-defined]
    return velocity


def errors_of(convention: str, reduction: Reduction, dtype: torch.dtype) -> tuple[PairErrors, Tensor]:
    """The errors through our convention, or in the upstream's own; and the leaf to differentiate."""
    policy, reference = recorded("u", dtype), recorded("ref", dtype)
    data = torch.cat([golden("a_w", dtype), golden("a_l", dtype)])
    noise = golden("eps", dtype).repeat(2, 1, 1)
    upstream_t = golden("t_noise", dtype).repeat(2)
    if convention == "noise at t=1":
        x = interpolate(data, noise, upstream_t)
        both = policy(x, upstream_t), reference(x, upstream_t)
        found = pair_errors(*both, noise - data, reduction)
    else:
        t = 1 - upstream_t
        x = interpolate(noise, data, t)
        both = -policy(x, 1 - t), -reference(x, 1 - t)
        found = pair_errors(*both, data - noise, reduction)
    return found, policy.answers  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("convention", ["noise at t=0", "noise at t=1"])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_the_golden(case: str, convention: str, dtype: torch.dtype) -> None:
    settings, reduction = CASES[case]
    errors, leaf = errors_of(convention, reduction, dtype)
    weights = golden("weights", dtype) if case.endswith("weights") else None
    loss = dpo_loss(errors, settings, weights=weights)
    (gradient,) = torch.autograd.grad(loss, leaf)
    found = dpo_logits(errors, settings.beta, settings.loser_weight), loss, *gradient.chunk(2)
    for name, value in zip(("logits", "loss", "grad_w", "grad_l"), found, strict=True):
        expected = golden(f"{case}.{name}")
        # Of the largest: float32 inputs are rounded by 6e-8, and errors are multiplied by up to 6000.
        bound = TOLERANCE[dtype] * max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(value.detach().double(), expected, atol=bound, rtol=0)


def test_errors_and_diagnostics_equal_the_golden() -> None:
    errors, _ = errors_of("noise at t=0", "mean", torch.float64)
    rows = (errors.winner, errors.loser, errors.reference_winner, errors.reference_loser)
    torch.testing.assert_close(torch.stack(rows).detach(), golden("err.mean"), atol=1e-10, rtol=0)
    found = diagnostics(errors, 600)
    names = {
        "rewards/chosen": "rewards_chosen",
        "rewards/rejected": "rewards_rejected",
        "rewards/margins": "margins",
        "rewards/accuracies": "accuracies",
        "drift/chosen": "w_diff",
        "drift/rejected": "l_diff",
    }
    for ours, theirs in names.items():
        torch.testing.assert_close(
            found[ours].detach().double(), golden(f"diag.{theirs}"), atol=1e-10, rtol=0
        )


def random_errors(seed: int = 0) -> PairErrors:
    return PairErrors(*torch.rand(4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


@pytest.mark.parametrize("settings", [DPOLoss(beta=1e-12), DPOLoss(beta=1e-12, label_smoothing=0.2)])
def test_without_beta_the_loss_is_log_2(settings: DPOLoss) -> None:
    assert float(dpo_loss(random_errors(), settings)) == pytest.approx(np.log(2), abs=1e-10)


def test_with_identical_winner_and_loser_the_loss_is_log_2() -> None:
    one = random_errors()
    same = PairErrors(one.winner, one.winner, one.reference_winner, one.reference_winner)
    assert float(dpo_loss(same, DPOLoss())) == pytest.approx(np.log(2), abs=1e-12)
    assert diagnostics(same, 600)["rewards/accuracies"].tolist() == [0.5] * 6


def test_supervised_tuning_is_the_winners_error_alone() -> None:
    one = random_errors()
    assert float(dpo_loss(one, DPOLoss(loss_type="sft"))) == pytest.approx(float(one.winner.mean()))


def test_swapping_winner_and_loser_turns_the_logit_round() -> None:
    one = random_errors()
    swapped = PairErrors(one.loser, one.winner, one.reference_loser, one.reference_winner)
    torch.testing.assert_close(dpo_logits(swapped, 600), -dpo_logits(one, 600))


def test_a_quadratic_beta_weighs_the_data_end() -> None:
    t = torch.tensor([0.0, 0.5, 1.0])
    assert DPOLoss(beta=100, beta_schedule="quadratic").beta_at(t).tolist() == [0, 25, 100]
    assert DPOLoss(beta=100).beta_at(t).tolist() == [100, 100, 100]


def test_the_norm_guard_counts_growth_only() -> None:
    reference = torch.ones(2, 3)
    assert float(norm_excess(reference * torch.tensor([[1.5], [0.5]]), reference)) == pytest.approx(0.25)
