"""Frieren's losses against the reference's arrays."""

import numpy as np
import pytest
import torch
from frieren_reference import GOLDEN, OFFICIAL_SCALE, rows, tiny_model, unit
from parity import assert_parity
from torch import Tensor

from v2abench.baselines.frieren.loss import flow_matching_loss, training_loss, weight
from v2abench.baselines.frieren.model import Frieren
from v2abench.sampling import guided

LATENTS = unit("input.x1", 4, 4, 64)
NOISE = unit("input.loss_noise", 4, 4, 64)
CONDITIONS = {"rows": rows("input.loss_feat", 4, 8, 16)}
TIMES = torch.tensor([3, 250, 700, 999]) / 1000


@pytest.fixture
def model() -> Frieren:
    return tiny_model()


@pytest.mark.parametrize("weighted", [True, False])
def test_the_base_loss_is_that_of_the_reference(model: Frieren, weighted: bool) -> None:
    loss = flow_matching_loss(guided(model, CONDITIONS, 0), LATENTS, NOISE, TIMES, weighted=weighted)
    golden = GOLDEN["tiny.loss.flow" if weighted else "tiny.loss.flow_simple"]
    assert_parity(loss.mean().detach(), golden, 1e-5)


@pytest.mark.parametrize("weighted", [True, False])
def test_the_loss_of_reflow_is_that_of_the_guided_velocity(model: Frieren, weighted: bool) -> None:
    velocity = guided(model, CONDITIONS, OFFICIAL_SCALE)
    loss = flow_matching_loss(velocity, LATENTS, NOISE, TIMES, weighted=weighted)
    golden = GOLDEN["tiny.loss.reflow" if weighted else "tiny.loss.reflow_simple"]
    assert_parity(loss.mean().detach(), golden, 1e-5)


def test_the_loss_of_distillation_is_that_of_one_step(model: Frieren) -> None:
    velocity = guided(model, CONDITIONS, OFFICIAL_SCALE)
    loss = flow_matching_loss(velocity, LATENTS, NOISE, torch.zeros(4), weighted=False)
    assert_parity(loss.mean().detach(), GOLDEN["tiny.loss.distill"], 1e-5)


def test_the_gradients_are_those_of_the_reference(model: Frieren) -> None:
    flow_matching_loss(guided(model, CONDITIONS, 0), LATENTS, NOISE, TIMES).mean().backward()
    gradients = {name: parameter.grad for name, parameter in model.network.named_parameters()}
    golden = {key.removeprefix("tiny.grad."): GOLDEN[key] for key in GOLDEN if key.startswith("tiny.grad.")}
    assert len(golden) == 4
    for name, expected in golden.items():
        assert_parity(gradients[name], expected)
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients.values())


def test_the_weight_is_a_density() -> None:
    t = (torch.arange(100000, dtype=torch.float64) + 0.5) / 100000
    assert float(weight(t).mean()) == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(weight(t), weight(1 - t))
    assert weight(torch.tensor([0.0, 1.0])).max() < 1e-10
    assert float(weight(torch.tensor(0.5))) == pytest.approx(4 * 0.398942, rel=1e-5)


def test_training_draws_by_its_generator_and_drops_a_fifth_of_the_conditions(
    model: Frieren, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Tensor] = []
    embed = model.embed
    monkeypatch.setattr(model, "embed", lambda given: told.append(given["rows"]) or embed(given))
    count = 200
    latents, conditions = unit("many", count, 4, 8), {"rows": rows("told", count, 1, 16)}

    def loss(seed: int) -> float:
        with torch.no_grad():
            generator = torch.Generator().manual_seed(seed)
            losses = training_loss(model, latents, conditions, generator)
        assert losses.shape == (count,)
        return float(losses.mean())

    assert loss(0) == loss(0)
    assert loss(0) != loss(1)
    dropped = (told[0] == 0).all(dim=(1, 2))
    assert 20 < int(dropped.sum()) < 60
    np.testing.assert_array_equal(told[0][~dropped], conditions["rows"][~dropped])
