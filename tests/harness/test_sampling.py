"""Sampling: the solvers on a flow with a known solution, guidance, the time grid, seeds by clip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from v2abench.clips import Clip
from v2abench.contracts import Generated, ModelInfo, Request
from v2abench.errors import ClipFault
from v2abench.flow import Conditions, Embedded, Sampling
from v2abench.media.audio import Audio
from v2abench.sampling import generate, guided, noise_for, sample_latents, solve, stack, time_grid

MEAN, DEVIATION = 1.5, 0.3


def gaussian_velocity(x: Tensor, t: Tensor) -> Tensor:
    """The exact velocity towards N(1.5, 0.3²): its flow takes noise z to 1.5 + 0.3·z."""
    time = t[:, None]
    variance = (1 - time) ** 2 + (time * DEVIATION) ** 2
    pull = (time * DEVIATION**2 - (1 - time)) / variance
    return MEAN + pull * (x - time * MEAN)


def error(method: str, steps: int) -> float:
    noise = torch.linspace(-2, 2, 9)[:, None]
    sampling = Sampling(steps=steps, method=method)  # type: ignore[arg-type]
    return float((solve(gaussian_velocity, noise, sampling) - (MEAN + DEVIATION * noise)).abs().max())


def test_both_solvers_reach_the_closed_form() -> None:
    assert error("euler", 400) < 5e-3
    assert error("heun", 100) < 5e-4


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2)])
def test_the_error_falls_with_the_order_of_the_solver(method: str, order: int) -> None:
    ratio = error(method, 40) / error(method, 80)
    assert ratio == pytest.approx(2**order, rel=0.25)


def test_heun_asks_twice_in_every_step_but_the_last() -> None:
    asked: list[float] = []

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        asked.append(float(t[0]))
        return torch.zeros_like(x)

    solve(velocity, torch.zeros(2, 1), Sampling(steps=4, method="heun"))
    assert asked == [0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]


def test_the_grid_runs_from_noise_to_data() -> None:
    grid = time_grid(Sampling(steps=5))
    np.testing.assert_allclose(grid, [0, 0.2, 0.4, 0.6, 0.8, 1], atol=1e-7)


def test_a_shift_takes_smaller_steps_near_the_noise() -> None:
    grid = time_grid(Sampling(steps=4, shift=3))
    noise = np.array([1, 0.75, 0.5, 0.25, 0])
    np.testing.assert_allclose(grid, 1 - 3 * noise / (1 + 2 * noise), atol=1e-7)
    steps = np.diff(grid)
    assert grid[0] == 0
    assert grid[-1] == 1
    assert (np.diff(steps) > 0).all()


@dataclass
class Toy:
    """Velocity = the condition `told`, 0 where nothing is said; a sound is its latent. Counts its calls."""

    sampling: Sampling = field(default_factory=lambda: Sampling(steps=3, guidance_scale=2.0))
    network: nn.Module = field(default_factory=nn.Identity)
    info: ModelInfo = field(default_factory=lambda: ModelInfo("toy"))
    recipe: dict[str, object] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)
    embeddings: int = 0

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        return round(10 * seconds), 2

    def encode(self, audio: Sequence[Audio], seconds: float) -> Tensor:
        return torch.stack([torch.from_numpy(one.samples.T) for one in audio])

    def decode(self, latents: Tensor) -> list[Audio]:
        return [Audio(latent.numpy().T.copy(), 10) for latent in latents]

    def condition(self, requests: Sequence[Request]) -> list[Conditions | ClipFault]:
        return [
            ClipFault("no-video", "dark")
            if r.clip.id == "dark"
            else {"told": torch.tensor([float(r.seed % 7)])}
            for r in requests
        ]

    def empty(self, conditions: Conditions) -> Conditions:
        return {"told": torch.zeros_like(conditions["told"])}

    def embed(self, conditions: Conditions) -> Embedded:
        self.embeddings += 1
        return dict(conditions)

    def velocity(self, x_t: Tensor, t: Tensor, embedded: Embedded) -> Tensor:
        self.batches.append(len(x_t))
        return embedded["told"][:, None] - 0.1 * x_t * t[:, None, None]

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        yield from generate(self, requests, "cpu", 2)


TOLD = {"told": torch.tensor([[1.0], [3.0]])}


def velocity_at(scale: float) -> Tensor:
    return guided(Toy(), TOLD, scale)(torch.ones(2, 5, 2), torch.full((2,), 0.5))


def test_guidance_of_one_is_the_conditional_velocity() -> None:
    toy = Toy()
    plain = toy.velocity(torch.ones(2, 5, 2), torch.full((2,), 0.5), toy.embed(TOLD))
    torch.testing.assert_close(velocity_at(1.0), plain)


def test_guidance_goes_on_from_the_empty_velocity_through_the_conditional_one() -> None:
    empty = torch.full((2, 5, 2), -0.05)
    torch.testing.assert_close(velocity_at(3.0), empty + 3 * (velocity_at(1.0) - empty))


def test_guidance_below_one_asks_for_the_conditional_velocity_alone() -> None:
    toy = Toy()
    without = guided(toy, TOLD, 0.0)(torch.ones(2, 5, 2), torch.full((2,), 0.5))
    assert toy.batches == [2]
    torch.testing.assert_close(without, velocity_at(1.0))


def test_both_branches_go_through_in_one_pass_and_are_embedded_once() -> None:
    toy = Toy()
    sample_latents(toy, TOLD, torch.zeros(2, 5, 2))
    assert toy.batches == [4, 4, 4]
    assert toy.embeddings == 1


def test_a_model_is_sampled_as_it_says_unless_told_otherwise() -> None:
    toy, noise = Toy(), torch.ones(2, 5, 2)
    own = sample_latents(toy, TOLD, noise)
    torch.testing.assert_close(sample_latents(toy, TOLD, noise, toy.sampling), own)
    assert not torch.equal(sample_latents(toy, TOLD, noise, replace(toy.sampling, steps=4)), own)


def requests(*named: tuple[str, float]) -> list[Request]:
    return [Request(Clip(name, Path(f"{name}.mp4")), seconds, seed=len(name)) for name, seconds in named]


ASKED = requests(("a", 1.0), ("bb", 1.0), ("dark", 1.0), ("ccc", 1.0), ("dddd", 2.0), ("eeeee", 1.0))


def sounds(batch_size: int, asked: Sequence[Request] = ASKED) -> dict[str, np.ndarray]:
    answers = generate(Toy(), asked, "cpu", batch_size)
    return {answer.clip_id: answer.audio.samples for answer in answers if answer.audio is not None}


def test_answers_come_in_order_and_a_fault_stands_in_its_place() -> None:
    answers = list(generate(Toy(), ASKED, "cpu", 2))
    assert [answer.clip_id for answer in answers] == [request.clip.id for request in ASKED]
    fault = answers[2].fault
    assert fault is not None
    assert fault.code == "no-video"
    assert answers[2].audio is None


def test_clips_of_another_length_get_latents_of_their_own_shape() -> None:
    made = sounds(4)
    assert made["a"].shape == (2, 10)
    assert made["dddd"].shape == (2, 20)


def test_a_sound_depends_on_its_own_seed_alone() -> None:
    together = sounds(4)
    for other in (sounds(1), sounds(3, list(reversed(ASKED)))):
        assert other.keys() == together.keys()
        for name, samples in together.items():
            np.testing.assert_array_equal(other[name], samples)


def test_several_samples_of_one_clip_are_different() -> None:
    clip = Clip("a", Path("a.mp4"))
    answers = list(generate(Toy(), [Request(clip, 1.0, seed) for seed in (1, 2, 1)], "cpu", 4))
    first, second, third = (answer.audio.samples for answer in answers if answer.audio is not None)
    np.testing.assert_array_equal(first, third)
    assert not np.array_equal(first, second)


def test_noise_is_the_same_for_a_seed_and_another_for_the_next() -> None:
    assert torch.equal(noise_for(2**62 + 1, (4, 3)), noise_for(2**62 + 1, (4, 3)))
    assert not torch.equal(noise_for(1, (4, 3)), noise_for(2, (4, 3)))
    assert noise_for(3, (200, 100)).std() == pytest.approx(1, abs=0.02)


def test_conditions_of_clips_become_one_batch() -> None:
    batch = stack([{"told": torch.tensor([1.0])}, {"told": torch.tensor([3.0])}], "cpu")
    torch.testing.assert_close(batch["told"], TOLD["told"])
