"""Advantages and clipped losses against `goldens/flow_dpo.npz`, from flow_grpo's and ddpo-pytorch's code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from v2abench.errors import V2ABenchError
from v2abench.finetune.advantages import PromptStatistics, advantages
from v2abench.finetune.policy_gradient import Clipping, clipped_losses, ratio_diagnostics

GOLDEN = np.load(Path(__file__).parents[1] / "goldens/flow_dpo.npz")


def golden(name: str) -> Tensor:
    return torch.from_numpy(GOLDEN[name])


@pytest.mark.parametrize(
    ("scaling", "name"),
    [("group", "grpo_group_std"), ("global", "grpo_global_std"), ("dance", "dance"), ("batch", "batch")],
)
def test_advantages_equal_the_golden(scaling: str, name: str) -> None:
    found = advantages(golden("adv.rewards"), scaling)  # type: ignore[arg-type]
    torch.testing.assert_close(found, golden(f"adv.{name}"), atol=1e-10, rtol=1e-10)


def test_samples_that_are_all_alike_have_no_advantage() -> None:
    for scaling in ("group", "global", "dance"):
        assert advantages(golden("adv.rewards"), scaling)[2].abs().max() < 1e-6  # type: ignore[arg-type]


def test_running_statistics_equal_the_golden() -> None:
    tracker = PromptStatistics(buffer_size=8, min_count=4)
    for videos, rewards, expected in zip(
        GOLDEN["ddpo.prompts"], golden("ddpo.rewards"), golden("ddpo.advantages"), strict=True
    ):
        found = tracker.advantages([str(video) for video in videos], rewards)
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


def test_running_statistics_go_on_from_their_state() -> None:
    rewards = golden("ddpo.rewards")
    videos = [[str(video) for video in row] for row in GOLDEN["ddpo.prompts"]]
    whole, first, second = (PromptStatistics(8, 4) for _ in range(3))
    for row in range(3):
        whole.advantages(videos[row], rewards[row])
        first.advantages(videos[row], rewards[row])
    second.restore(first.state())
    assert torch.equal(second.advantages(videos[3], rewards[3]), whole.advantages(videos[3], rewards[3]))


def test_videos_that_never_recur_fall_back_to_the_batch_and_it_is_told() -> None:
    tracker = PromptStatistics(buffer_size=16, min_count=16)
    rewards = torch.tensor([0.0, 1.0, 2.0, 5.0], dtype=torch.float64)
    found = tracker.advantages(["a", "b", "c", "d"], rewards)
    torch.testing.assert_close(found, (rewards - rewards.mean()) / (rewards.std(correction=0) + 1e-6))
    assert tracker.fallback_share == 1.0


def test_a_reward_that_is_not_finite_is_told() -> None:
    with pytest.raises(V2ABenchError, match="not finite"):
        advantages(torch.tensor([[0.0, float("nan")]]), "group")


def test_clipped_losses_and_their_gradient_equal_the_golden() -> None:
    new = golden("ppo.logp_new").requires_grad_()
    clipping = Clipping(float(GOLDEN["ppo.clip_range"]), advantage=float(GOLDEN["ppo.adv_clip_max"]))
    log_ratio = new - golden("ppo.logp_old")
    losses = clipped_losses(log_ratio, golden("ppo.adv"), clipping)
    torch.testing.assert_close(losses.detach(), golden("ppo.losses"), atol=1e-10, rtol=1e-10)
    (gradient,) = torch.autograd.grad(losses.mean(), new)
    torch.testing.assert_close(gradient, golden("ppo.grad_logp_new"), atol=1e-10, rtol=1e-10)
    told = ratio_diagnostics(log_ratio.detach(), clipping)
    assert told["clip_frac/low"] + told["clip_frac/high"] == pytest.approx(float(GOLDEN["ppo.clipfrac"]))
    assert told["approx_kl"] == pytest.approx(float(GOLDEN["ppo.approx_kl_k3"]), abs=1e-10)
