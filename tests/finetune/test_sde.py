"""Stochastic steps against `goldens/flow_dpo.npz`, whose time runs from 1 (noise) to 0, and closed forms."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_flow import gaussian_velocity

from v2abench.finetune.policy_gradient import kl_to_reference, normalised_log_ratio
from v2abench.finetune.sde import SDE, Kind, Transition, roll_out, transition
from v2abench.flow import Sampling
from v2abench.sampling import solve, time_grid

GOLDEN = np.load(Path(__file__).parents[1] / "goldens/flow_dpo.npz")
SAMPLERS = {"flow": SDE("flow", 0.7), "dance": SDE("dance", 0.3), "cps": SDE("cps", 0.7)}
LAST = 5


def golden(name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.from_numpy(GOLDEN[name]).to(dtype)


def step(row: int, sde: SDE, velocity: str = "sde.v", dtype: torch.dtype = torch.float64) -> Transition:
    """One golden step, with time and sign turned to ours."""
    t, t_next = (1 - float(golden(f"sde.{name}")[row]) for name in ("t", "t_next"))
    x, v = golden("sde.x", dtype)[row : row + 1], golden(velocity, dtype)[row : row + 1]
    return transition(x, -v, t, t_next, sde)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("row", range(6))
def test_steps_and_log_densities_equal_the_golden(
    row: int, kind: str, dtype: torch.dtype, bound: float
) -> None:
    made = step(row, SAMPLERS[kind], dtype=dtype)
    after = made.draw(golden("sde.noise", dtype)[row : row + 1])
    found = {"mean": made.mean[0], "std": torch.tensor(made.std, dtype=torch.float64), "next": after[0]}
    for name, value in found.items():
        expected = golden(f"sde.{kind}.{name}")[row]
        torch.testing.assert_close(value.double(), expected, atol=bound, rtol=bound)
    if made.std:
        log_prob = made.log_prob(golden(f"sde.{kind}.next", dtype)[row : row + 1])
        expected = golden(f"sde.{kind}.logp_mean")[row : row + 1]
        torch.testing.assert_close(log_prob.double(), expected, atol=10 * bound, rtol=bound)


def test_the_density_of_all_elements_equals_the_golden() -> None:
    for row in range(6):
        found = step(row, SAMPLERS["flow"]).log_prob(golden("sde.flow.next")[row : row + 1], "sum")
        torch.testing.assert_close(found, golden("sde.flow.logp_sum")[row : row + 1], atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("sde", [SDE("ode"), SDE("flow", 0.0), SDE("dance", 0.0), SDE("cps", 0.0)])
def test_without_noise_a_step_is_eulers(sde: SDE) -> None:
    for row in range(6):
        made = step(row, sde)
        assert made.std == 0
        torch.testing.assert_close(made.mean[0], golden("sde.ode.next")[row], atol=1e-12, rtol=0)


def test_the_last_step_of_cps_has_no_density() -> None:
    with pytest.raises(ValueError, match="without noise"):
        step(LAST, SAMPLERS["cps"]).log_prob(golden("sde.x")[:1])


@pytest.mark.parametrize(
    ("kind", "name"), [("exact", "exact_mean"), ("flow_grpo", "flow_grpo_code"), ("velocity", "v_mse")]
)
def test_distances_to_the_reference_equal_the_golden(kind: str, name: str) -> None:
    for row in range(6):
        ours, other = step(row, SAMPLERS["flow"]), step(row, SAMPLERS["flow"], "kl.v_ref")
        size = float(golden("sde.t")[row] - golden("sde.t_next")[row])
        velocities = -golden("sde.v")[row : row + 1], -golden("kl.v_ref")[row : row + 1]
        found = kl_to_reference((ours.mean, other.mean), velocities, ours.std, size, kind)  # type: ignore[arg-type]
        torch.testing.assert_close(found[0], golden(f"kl.{name}")[row], atol=1e-10, rtol=1e-10)


def test_ratios_and_their_normalised_form_equal_the_golden() -> None:
    for row in range(6):
        old, new = step(row, SAMPLERS["flow"]), step(row, SAMPLERS["flow"], "guard.v_new")
        after = golden("sde.flow.next")[row : row + 1]
        log_ratio = new.log_prob(after) - old.log_prob(after)
        torch.testing.assert_close(log_ratio[0], golden("guard.log_ratio")[row], atol=1e-10, rtol=1e-10)
        normal = normalised_log_ratio(log_ratio, new.mean, old.mean, new.std)
        torch.testing.assert_close(normal[0], golden("guard.log_ratio_norm")[row], atol=1e-10, rtol=1e-10)


def moments(sde: SDE, steps: int, mean: float, deviation: float) -> tuple[float, float]:
    """Mean and deviation of the data end, carried through our steps, which are linear in x."""
    grid = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    centre, spread = 0.0, 1.0
    for start, end in zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True):
        x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        time, target = torch.tensor(start, dtype=torch.float64), torch.tensor(mean, dtype=torch.float64)
        made = transition(x, gaussian_velocity(x, time, target, deviation), start, end, sde)
        offset, slope = float(made.mean[0]), float(made.mean[1] - made.mean[0])
        centre, spread = offset + slope * centre, float(np.hypot(slope * spread, made.std))
    return centre, spread


@pytest.mark.parametrize("place", range(4))
def test_all_samplers_reach_the_golden_moments(place: int) -> None:
    sde = (SDE("ode"), *SAMPLERS.values())[place]
    mean, deviation = (float(value) for value in GOLDEN["toy.data"])
    for column, steps in enumerate(GOLDEN["toy.T"][:4]):
        expected = GOLDEN["toy.mean_std"][place, column]
        np.testing.assert_allclose(moments(sde, int(steps), mean, deviation), expected, atol=1e-10)


@pytest.mark.parametrize("kind", ["flow", "dance"])
def test_log_densities_integrate_to_one_and_to_the_next_marginal(kind: Kind) -> None:
    """Over x', and over x with its marginal: the marginal of x' by the closed form of linear steps."""
    sde, start, end = SDE(kind, 0.7), 0.4, 0.5
    x = torch.linspace(-8, 8, 801, dtype=torch.float64)[:, None]
    mean = torch.tensor(1.0, dtype=torch.float64)
    made = transition(x, gaussian_velocity(x, torch.tensor(start), mean), start, end, sde)
    width = float(x[1] - x[0])
    density = torch.stack([made.log_prob(other.expand(len(x), 1)).exp() for other in x])
    torch.testing.assert_close(density.sum(0)[200:601] * width, torch.ones(401).double(), atol=1e-6, rtol=0)
    spread = np.hypot(1 - start, start * 0.5)
    here = torch.exp(-((x[:, 0] - start) ** 2) / (2 * spread**2)) / (spread * np.sqrt(2 * np.pi))
    there = density @ here * width
    slope, offset = float(made.mean[1] - made.mean[0]) / width, None
    offset = float(made.mean[400])
    centre, deviation = offset + slope * start, np.hypot(slope * spread, made.std)
    exact = torch.exp(-((x[:, 0] - centre) ** 2) / (2 * deviation**2)) / (deviation * np.sqrt(2 * np.pi))
    torch.testing.assert_close(there, exact, atol=1e-6, rtol=0)


def test_without_a_window_rolling_out_is_the_solver_bit_for_bit() -> None:
    noise, sampling = (
        torch.randn(3, 2, generator=torch.Generator().manual_seed(0)),
        Sampling(steps=7, shift=3),
    )

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return gaussian_velocity(x, t[:, None], torch.tensor(1.0))

    rolled, steps = roll_out(
        velocity, noise, time_grid(sampling), sde=SDE(), window=range(0), step_noise=lambda _: noise
    )
    assert torch.equal(rolled, solve(velocity, noise, sampling))
    assert steps == []


def test_only_the_steps_of_the_window_are_recorded_with_their_densities() -> None:
    noise = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return gaussian_velocity(x, t[:, None], torch.tensor(1.0))

    grid = time_grid(Sampling(steps=6))
    end, steps = roll_out(
        velocity, noise, grid, sde=SDE(), window=range(1, 4), step_noise=lambda k: noise.roll(k, 0)
    )
    assert [step.t for step in steps] == [float(t) for t in grid[1:4]]
    for one in steps:
        again = transition(
            one.before, velocity(one.before, torch.full((3,), one.t)), one.t, one.t_next, SDE()
        )
        assert torch.equal(again.log_prob(one.after), one.log_prob)
    assert end.shape == noise.shape
