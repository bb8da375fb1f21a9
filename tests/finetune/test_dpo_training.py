"""Flow-DPO on a small flow: what moves, equivalences of batches, resuming, references, the guard."""

import csv
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from toy_flow import ToyFlow, toy_data

from v2abench.errors import V2ABenchError
from v2abench.finetune import checkpoints
from v2abench.finetune.dpo import DPORun, start_dpo
from v2abench.finetune.guard import ConventionError
from v2abench.finetune.points import batch_at, held_out_points
from v2abench.finetune.policy import LoRA, Policy, checkpoint_blocks, make_pair, weights_of
from v2abench.finetune.recipe import DPORecipe, LoRAPart
from v2abench.finetune.watching import SPAN, warn_where_both_rise

RECIPE = DPORecipe(
    name="toy",
    summary="",
    learning_rate=1e-3,
    warmup_steps=5,
    max_steps=50,
    per_device_train_batch_size=8,
    beta=20,
    logging_steps=1,
    save_steps=20,
    eval_steps=25,
    held_out_pairs=3,
    curriculum_thresholds=(0.9,),
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    toy_data(folder)
    return folder


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves take a second to draw; those of `whole`, which is made before, are looked at."""
    monkeypatch.setattr("v2abench.finetune.trainer.draw_curves", lambda logs, path: None)


def start(pairs: Path, folder: Path, model: ToyFlow | None = None, **changes: Any) -> DPORun:
    model = model or ToyFlow()
    return start_dpo(
        model,
        toy_data(pairs, model),
        RECIPE.model_copy(update=changes),
        folder,
        accelerator=Accelerator(cpu=True),
        fingerprint="toy",
    )


def train(pairs: Path, folder: Path, **changes: Any) -> DPORun:
    run = start(pairs, folder, **changes)
    run.train()
    return run


def column(folder: Path, name: str, log: str = "training") -> list[float]:
    with (folder / f"{log}.csv").open(encoding="utf-8") as stream:
        return [float(row[name]) for row in csv.DictReader(stream) if row[name]]


def assert_same_weights(one: DPORun, other: DPORun, check: Callable[[Tensor, Tensor], None]) -> None:
    for name, weight in one.trainer.raw_weights().items():
        check(weight, other.trainer.raw_weights()[name])


@pytest.fixture(scope="module")
def whole(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[DPORun, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return train(pairs, folder), folder


def test_before_training_the_loss_is_log_2_and_half_the_pairs_are_right(
    whole: tuple[DPORun, Path],
) -> None:
    assert column(whole[1], "loss")[0] == pytest.approx(np.log(2), abs=1e-6)
    assert column(whole[1], "rewards/accuracies")[0] == 0.5
    assert column(whole[1], "step", "evaluation")[0] == 0
    assert column(whole[1], "rewards/margins", "evaluation")[0] == 0


def test_the_policy_learns_who_wins_on_pairs_that_it_never_saw(whole: tuple[DPORun, Path]) -> None:
    _, folder = whole
    assert np.mean(column(folder, "rewards/accuracies")[-10:]) > 0.8
    assert column(folder, "rewards/margins", "evaluation")[-1] > 0
    assert column(folder, "rewards/accuracies", "evaluation")[-1] > 0.7


def test_the_first_stage_ends_where_the_schedule_says(whole: tuple[DPORun, Path]) -> None:
    run, folder = whole
    stages = column(folder, "stage")
    assert stages.count(1.0) == run.schedule.ends[0]
    assert stages == sorted(stages)


def test_curves_and_tensorboard_are_written(whole: tuple[DPORun, Path]) -> None:
    assert (whole[1] / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((whole[1] / "tensorboard/training").glob("events*"))


def test_small_batches_that_accumulate_are_the_large_batch(
    pairs: Path, whole: tuple[DPORun, Path], tmp_path: Path
) -> None:
    split = train(pairs, tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    np.testing.assert_allclose(column(tmp_path, "loss"), column(whole[1], "loss"), rtol=0, atol=1e-3)
    assert abs(column(tmp_path, "loss")[-1] - column(whole[1], "loss")[-1]) < 1e-3
    assert_same_weights(split, whole[0], lambda a, b: torch.testing.assert_close(a, b, atol=1e-3, rtol=0))


def test_a_resumed_run_is_the_whole_one_to_the_bit(
    pairs: Path, whole: tuple[DPORun, Path], tmp_path: Path
) -> None:
    first = start(pairs, tmp_path)
    for _ in range(23):
        first._step()
    first.trainer.close()
    again = start(pairs, tmp_path)
    assert again.trainer.step == 20
    again.train()
    assert_same_weights(again, whole[0], np.testing.assert_array_equal)
    for name, average in again.trainer.average.items():
        assert torch.equal(average, whole[0].trainer.average[name])
    for log in ("training", "evaluation"):
        assert (tmp_path / f"{log}.csv").read_bytes() == (whole[1] / f"{log}.csv").read_bytes()


def test_a_run_that_was_killed_before_its_first_checkpoint_logs_the_base_once(
    pairs: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        run = start(pairs, tmp_path)
        run._step()
        run.trainer.close()
    assert column(tmp_path, "step", "evaluation") == [0]


@pytest.mark.parametrize("lora", [None, LoRAPart(rank=2, alpha=4)])
def test_every_trainable_parameter_moves_and_no_frozen_one(
    pairs: Path, tmp_path: Path, lora: LoRAPart | None
) -> None:
    model = ToyFlow()
    before = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    run = start(pairs, tmp_path, model, lora=lora, max_steps=4)
    trainable = run.trainer.raw_weights()
    run.train()
    for name, parameter in run.trainer.parameters.items():
        assert not torch.equal(parameter, trainable[name]), name
    frozen = {n: p for n, p in model.network.named_parameters() if n not in trainable}
    assert bool(frozen) == bool(lora)
    for name, parameter in frozen.items():
        assert torch.equal(parameter, before[name.replace(".base_layer", "")]), name
        assert parameter.grad is None


POINT = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(1))
TIMES = torch.linspace(0.1, 0.9, 6)
TOLD = {"told": torch.tensor([[1.0, -1.0, 0.5]]).repeat(6, 1)}


def shake(policy: Policy) -> None:
    drawn = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=drawn))


@pytest.mark.parametrize("lora", [None, LoRA(4)])
def test_the_reference_stays_the_base_bit_for_bit(lora: LoRA | None) -> None:
    base = Policy(ToyFlow())(POINT, TIMES, TOLD)
    pair = make_pair(ToyFlow(), lora)
    assert torch.equal(pair.policy(POINT, TIMES, TOLD), base)
    shake(pair.policy)
    assert not torch.equal(pair.policy(POINT, TIMES, TOLD), base)
    assert torch.equal(pair.reference(POINT, TIMES, TOLD, 0.0), base)
    assert not pair.reference(POINT, TIMES, TOLD, 0.0).requires_grad


def test_conditions_of_half_the_rows_serve_both_halves() -> None:
    policy = Policy(ToyFlow())
    half = {"told": torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]])}
    twice = {"told": half["told"].repeat(2, 1)}
    for scale in (0.0, 2.0):
        torch.testing.assert_close(policy(POINT, TIMES, half, scale), policy(POINT, TIMES, twice, scale))


def test_recomputed_blocks_give_the_same_gradients() -> None:
    gradients = []
    for recompute in (False, True):
        pair = make_pair(ToyFlow(), None)
        shake(pair.policy)
        if recompute:
            assert checkpoint_blocks(pair.policy.network) == 2
        pair.policy(POINT, TIMES, TOLD).square().mean().backward()
        gradients.append([p.grad for p in pair.policy.trainable().values()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_other_weights_are_lent_and_given_back() -> None:
    policy = make_pair(ToyFlow(), None).policy
    own = policy(POINT, TIMES, TOLD)
    zeros = {name: torch.zeros_like(p) for name, p in policy.trainable().items()}
    with weights_of(policy, zeros):
        assert all(not p.any() for p in policy.trainable().values())
    assert torch.equal(policy(POINT, TIMES, TOLD), own)


def test_cached_errors_train_as_the_reference_itself_does(pairs: Path, tmp_path: Path) -> None:
    cached = start(pairs, tmp_path / "cached", precompute_ref=3, max_steps=6)
    assert cached.objective.pair.frozen == {}
    cached.train()
    live = start(pairs, tmp_path / "live", precompute_ref=3, max_steps=6, held_out_pairs=3)
    fresh = make_pair(ToyFlow(), None)
    object.__setattr__(live.objective, "cached", None)
    live.objective.pair.reference = fresh.reference
    live.train()
    np.testing.assert_allclose(
        column(tmp_path / "cached", "loss"), column(tmp_path / "live", "loss"), atol=1e-5
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"noise": "independent"},
        {"noise": "tracked"},
        {"t_sampling": "stratified_uniform"},
        {"t_sampling": "logit_normal", "t_mean": 1.6, "t_spread": 1.2},
        {"norm_guard": 0.1, "reduction": "sum", "beta": 2.0},
        {"loss_type": "ipo", "sft_weight": 0.1, "beta_schedule": "quadratic"},
        {"curriculum_thresholds": (), "ema_decay": 0.0},
    ],
)
def test_every_option_trains(pairs: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    run = train(pairs, tmp_path, max_steps=3, **changes)
    assert run.trainer.step == 3
    assert np.isfinite(column(tmp_path, "loss")).all()


def test_errors_may_be_those_of_guided_velocities(pairs: Path, tmp_path: Path) -> None:
    run = start(pairs, tmp_path, training_guidance_scale=2.0, max_steps=2)
    points = held_out_points(run.recipe, run.data, [0, 1], 0, 1)
    batch = batch_at(run.data, [0, 1], points, torch.device("cpu"))
    policy = run.pair.policy
    told, empty = (
        policy(batch.x_t, batch.t, given) for given in (batch.conditions, ToyFlow().empty(batch.conditions))
    )
    _, found = run.objective.measure(policy, run.data, [0, 1], points)
    expected = (empty + 2 * (told - empty) - batch.target).square().flatten(1).mean(1).double()
    torch.testing.assert_close(found["err/chosen"], expected[:2], rtol=1e-5, atol=0)
    run.train()
    assert column(tmp_path, "loss")[0] == pytest.approx(np.log(2), abs=1e-6)
    assert run.forwards() == 2 * train(pairs, tmp_path / "plain", max_steps=2).forwards()


@pytest.mark.parametrize("wrong", [{"flip_time": True}, {"flip_sign": True}])
def test_a_model_that_declares_its_time_or_sign_wrongly_is_refused(
    pairs: Path, tmp_path: Path, wrong: dict[str, bool]
) -> None:
    with pytest.raises(ConventionError, match=next(iter(wrong)).removeprefix("flip_")):
        start(pairs, tmp_path, ToyFlow(**wrong))


def test_the_convention_is_recorded(whole: tuple[DPORun, Path]) -> None:
    found = whole[0].convention.record()
    assert found["error"] < 0.9 * min(found["flipped_time"], found["flipped_sign"])


def test_conditions_are_computed_once(pairs: Path) -> None:
    model = ToyFlow()
    toy_data(pairs, model)
    assert model.seen == 0


def test_a_folder_of_another_training_is_refused(pairs: Path, tmp_path: Path) -> None:
    train(pairs, tmp_path, max_steps=2)
    model = ToyFlow()
    with pytest.raises(V2ABenchError, match="another recipe, model, protocol or data"):
        start_dpo(
            model,
            toy_data(pairs, model),
            RECIPE,
            tmp_path,
            accelerator=Accelerator(cpu=True),
            fingerprint="another",
        )


def test_a_loss_that_is_not_finite_ends_the_training(pairs: Path, tmp_path: Path) -> None:
    run = start(pairs, tmp_path, max_steps=2)
    with torch.no_grad():
        run.trainer.parameters["leave.bias"].fill_(float("nan"))
    with pytest.raises(V2ABenchError, match="step 1 is not finite"):
        run.train()
    assert not list(tmp_path.glob("checkpoints/*"))


def test_old_checkpoints_go_and_a_broken_one_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (10, 20, 30):
        checkpoints.save(tmp_path, step, "one", {"value": torch.tensor(step)}, keep=2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-00000020.pt", "step-00000030.pt"]
    (tmp_path / "step-00000030.pt").write_bytes(b"torn")
    with caplog.at_level(logging.WARNING):
        state = checkpoints.newest(tmp_path, "one")
    assert state is not None
    assert state["step"] == 20
    assert "cannot be read" in caplog.text


def test_a_warning_where_both_errors_rise(caplog: pytest.LogCaptureFixture) -> None:
    def rows(chosen: float, rejected: float) -> list[dict[str, float]]:
        return [
            {"step": k, "drift/chosen": chosen * k, "drift/rejected": rejected * k} for k in range(2 * SPAN)
        ]

    with caplog.at_level(logging.WARNING):
        assert not warn_where_both_rise(rows(-0.1, 0.2))
        assert not warn_where_both_rise(rows(0.1, -0.2))
        assert not warn_where_both_rise(rows(0.1, 0.2)[:-1])
        assert not caplog.text
        assert warn_where_both_rise(rows(0.1, 0.2))
    assert "rise together" in caplog.text


def test_two_processes_are_one_with_twice_the_batch(
    pairs: Path, whole: tuple[DPORun, Path], tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    script = Path(__file__).parent / "two_processes.py"
    command = [sys.executable, str(script), str(pairs), str(tmp_path / "run"), str(tmp_path)]
    running = [
        subprocess.Popen(command, env={**shared, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE)
        for rank in ("0", "1")
    ]
    for process in running:
        told = process.communicate(timeout=600)[1].decode()
        assert process.returncode == 0, told[-2000:]
    np.testing.assert_allclose(column(tmp_path / "run", "loss"), column(whole[1], "loss"), rtol=0, atol=1e-3)
    for rank in (0, 1):
        weights = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, weight in whole[0].trainer.raw_weights().items():
            torch.testing.assert_close(weights[name], weight, atol=1e-3, rtol=0)
