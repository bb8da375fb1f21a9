"""DDPO and GRPO: the gradient of an expected reward, ratios, advantages, resuming."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from test_dpo_training import column
from torch import Tensor
from toy_flow import SECONDS, ToyFlow, first_channel, gaussian_velocity

from v2abench.clips import Clip
from v2abench.errors import V2ABenchError
from v2abench.finetune.guard import ConventionError
from v2abench.finetune.online import OnlineRun, RatioError, start_online
from v2abench.finetune.policy_gradient import Clipping, clipped_losses
from v2abench.finetune.recipe import LoRAPart, PolicyGradientRecipe, load_recipe, recipe_names
from v2abench.finetune.rewards import checked, imported_reward, transformed
from v2abench.finetune.sde import SDE, roll_out, transition

RECIPE = PolicyGradientRecipe(
    name="toy",
    summary="",
    method="grpo",
    dataset="toy",
    clips=8,
    reward="toy_flow:first_channel",
    learning_rate=3e-3,
    warmup_steps=0,
    max_steps=16,
    per_device_train_batch_size=16,
    num_generations=8,
    videos_per_rollout=4,
    num_iterations=2,
    num_rollout_steps=5,
    scale_rewards="global",
    epsilon=0.01,
    ema_decay=0.0,
    logging_steps=2,
    save_steps=8,
)
CLIPS = tuple(Clip(f"clip{'x' * (k % 3)}{k}", Path(f"{k}.mp4")) for k in range(8))


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves take a second to draw; those of `whole`, which is made before, are looked at."""
    monkeypatch.setattr("v2abench.finetune.trainer.draw_curves", lambda logs, path: None)


def start(folder: Path, model: ToyFlow | None = None, clips: Any = CLIPS, **changes: Any) -> OnlineRun:
    return start_online(
        model or ToyFlow(),
        clips,
        first_channel,
        RECIPE.model_copy(update=changes),
        folder,
        seconds=SECONDS,
        accelerator=Accelerator(cpu=True),
        fingerprint="toy",
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[OnlineRun, Path]:
    folder = tmp_path_factory.mktemp("online")
    run = start(folder)
    run.train()
    return run, folder


def test_the_gradient_is_that_of_the_expected_reward() -> None:
    """Reward x² on a flow towards N(m, ½²), whose steps are linear: E = mean² + variance in closed form."""
    steps, count, sde = 6, 60_000, SDE("flow", 0.7)
    grid = torch.linspace(0, 1, steps + 1)
    drawn = torch.Generator().manual_seed(0)

    def velocity(x: Tensor, t: Tensor, mean: Tensor) -> Tensor:
        return gaussian_velocity(x, t[:, None], mean)

    def expected(mean: float) -> float:
        centre, spread = 0.0, 1.0
        for start_, end in zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True):
            x, t = torch.tensor([[0.0], [1.0]]).double(), torch.full((2,), start_).double()
            made = transition(x, velocity(x, t, torch.tensor(mean).double()), start_, end, sde)
            offset, slope = float(made.mean[0]), float(made.mean[1] - made.mean[0])
            centre, spread = offset + slope * centre, float(np.hypot(slope * spread, made.std))
        return centre**2 + spread**2

    mean = torch.tensor(1.0, requires_grad=True)
    x, recorded = roll_out(
        lambda x, t: velocity(x, t, mean.detach()),
        torch.randn(count, 1, generator=drawn),
        grid,
        sde=sde,
        window=range(steps),
        step_noise=lambda _: torch.randn(count, 1, generator=drawn),
    )
    advantage = x[:, 0] ** 2 - (x[:, 0] ** 2).mean()
    total = torch.zeros(())
    for step in recorded:
        moved = velocity(step.before, torch.full((count,), step.t), mean)
        log_prob = transition(step.before, moved, step.t, step.t_next, sde).log_prob(step.after)
        losses = clipped_losses(log_prob - step.log_prob, advantage, Clipping(advantage=1e9))
        total = total - losses.mean()
    (gradient,) = torch.autograd.grad(total, mean)
    difference = (expected(1 + 1e-3) - expected(1 - 1e-3)) / 2e-3
    assert float(gradient) == pytest.approx(difference, rel=0.05)


def test_the_reward_rises(whole: tuple[OnlineRun, Path]) -> None:
    rewards = column(whole[1], "reward")
    assert np.mean(rewards[-3:]) > np.mean(rewards[:2]) + 0.1


def test_ratios_are_1_before_the_first_update_and_move_in_the_second(tmp_path: Path) -> None:
    run = start(tmp_path, logging_steps=1)
    batches, known = run.prepare(0)
    run.update(batches, known, first=True)
    run.update(batches, known, first=False)
    low, high = column(tmp_path, "ratio/min"), column(tmp_path, "ratio/max")
    assert low[0] == high[0] == 1.0
    assert low[1] < 1.0 < high[1]


def test_a_network_that_changed_since_the_rollout_is_told(tmp_path: Path) -> None:
    run = start(tmp_path)
    batches, known = run.prepare(0)
    with torch.no_grad():
        run.trainer.parameters["leave.bias"] += 0.01
    with pytest.raises(RatioError, match="off 1"):
        run.update(batches, known, first=True)


def test_a_resumed_run_is_the_whole_one_to_the_bit(whole: tuple[OnlineRun, Path], tmp_path: Path) -> None:
    first = start(tmp_path)
    for rollout in range(5):
        batches, known = first.prepare(rollout)
        for iteration in range(2):
            first.update(batches, known, first=iteration == 0)
    first.trainer.close()
    again = start(tmp_path)
    assert again.trainer.step == 8
    again.train()
    for name, weight in again.trainer.raw_weights().items():
        assert torch.equal(weight, whole[0].trainer.raw_weights()[name]), name
    assert (tmp_path / "training.csv").read_bytes() == (whole[1] / "training.csv").read_bytes()


def test_passes_of_the_generator_are_counted(whole: tuple[OnlineRun, Path]) -> None:
    samples, rollouts, steps = 32, 8, RECIPE.num_rollout_steps
    assert whole[0].forwards() == rollouts * samples * (steps + 2 * (steps - 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"beta": 0.01, "kl": "exact", "lora": LoRAPart(rank=2)},
        {"beta": 0.01, "kl": "velocity", "guidance_scale": 2.0},
        {"sde": "cps", "ratio_norm": True},
        {"sde": "dance", "noise_level": 0.3, "trained_steps": 2},
    ],
)
def test_every_option_trains(tmp_path: Path, changes: dict[str, Any]) -> None:
    run = start(tmp_path, max_steps=4, **changes)
    before = run.trainer.raw_weights()
    run.train()
    moved = [not torch.equal(p, before[name]) for name, p in run.trainer.parameters.items()]
    assert all(moved) or (changes.get("lora") and sum(moved) >= len(moved) / 2)
    assert np.isfinite(column(tmp_path, "policy_loss")).all()


def test_the_window_begins_in_the_first_half_and_the_last_step_is_never_trained(tmp_path: Path) -> None:
    run = start(tmp_path, num_rollout_steps=10, trained_steps=3)
    windows = {run.roller.window(rollout) for rollout in range(60)}
    assert windows == {range(first, first + 3) for first in range(6)}
    assert start(tmp_path / "all").roller.window(0) == range(4)


def test_stock_statistics_fall_back_to_the_batch_and_fair_ones_do_not(tmp_path: Path) -> None:
    for kind, samples, share in (("stock", 1, 1.0), ("fair", 8, 0.0)):
        run = start(
            tmp_path / kind, scale_rewards=kind, num_generations=samples, max_steps=2, logging_steps=2
        )
        run.train()
        assert column(tmp_path / kind, "fallback_share") == [share]


def test_a_model_that_declares_its_time_wrongly_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConventionError):
        start(tmp_path, ToyFlow(flip_time=True))


def test_clips_that_cannot_be_seen_are_left_out(tmp_path: Path) -> None:
    dark = Clip("dark", Path("dark.mp4"))
    assert dark not in start(tmp_path / "some", clips=(dark, *CLIPS)).clips
    with pytest.raises(V2ABenchError, match="no clip of toy can be used: no-video"):
        start(tmp_path / "none", clips=(dark,))


def test_probabilities_become_rewards() -> None:
    grades = torch.tensor([[0.9, 0.05, 0.05], [1.0, 0.0, 0.0], [0.0, 0.2, 0.8]])
    assert transformed(grades, "p_good").tolist() == pytest.approx([0.9, 1.0, 0.0])
    assert transformed(grades, "difference").tolist() == pytest.approx([0.85, 1.0, -0.8])
    assert transformed(grades, "logit").tolist() == pytest.approx([np.log(9), 6.907, -6.907], abs=1e-3)


def test_rewards_of_the_wrong_number_or_not_finite_are_told() -> None:
    with pytest.raises(V2ABenchError, match="must give 3 finite numbers"):
        checked(torch.zeros(2), 3, "mine:reward")
    with pytest.raises(V2ABenchError, match="1 of them not finite"):
        checked(torch.tensor([0.0, float("inf")]), 2, "mine:reward")


def test_a_python_function_is_a_reward_and_a_wrong_name_is_told() -> None:
    assert imported_reward("toy_flow:first_channel") is first_channel
    for spec in ("toy_flow:nothing", "no_such_module:reward"):
        with pytest.raises(V2ABenchError, match="MODULE:FUNCTION"):
            imported_reward(spec)


def test_the_packages_recipes_read(tmp_path: Path) -> None:
    online = [name for name in recipe_names() if name.endswith(("ddpo", "grpo"))]
    assert online == ["impacts-ddpo", "impacts-grpo"]
    for name in online:
        recipe = load_recipe(PolicyGradientRecipe, name, ["lora.rank=8", "learning_rate=1e-5"])
        assert recipe.lora == LoRAPart(rank=8)
        assert recipe.learning_rate == 1e-5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trained_steps=10", "below num_rollout_steps"),
        ("num_generations=1", "must be 2 or more"),
        ("save_steps=3", "multiples of num_iterations"),
        ("sde=heun", "sde"),
        ("nonsense=1", "nonsense"),
        ("beta", "NAME=VALUE"),
    ],
)
def test_what_a_recipe_cannot_mean_is_told(override: str, message: str) -> None:
    with pytest.raises(V2ABenchError, match=message):
        load_recipe(PolicyGradientRecipe, "impacts-ddpo", [override])
