"""Sampling of flow models: solvers, guidance in one batched pass, a seed for each clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, pairwise

import torch
from torch import Tensor

from v2abench.contracts import Generated, Request
from v2abench.errors import ClipFault
from v2abench.flow import Conditions, Embedded, FlowModel, Sampling
from v2abench.media.audio import Audio
from v2abench.models import GenerationOptions

Velocity = Callable[[Tensor, Tensor], Tensor]
"""From (B, ...) x_t and (B,) t to the (B, ...) velocity."""


def chosen(default: Sampling, options: GenerationOptions) -> Sampling:
    """Return a model's own sampling, but for what the user chose."""
    names = ("steps", "guidance_scale", "method")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    return replace(default, **given)


def described(sampling: Sampling, options: GenerationOptions) -> dict[str, bool | int | float | str]:
    """Return what a recipe says of how sounds are sampled."""
    return {
        "steps": sampling.steps,
        "guidance_scale": sampling.guidance_scale,
        "method": sampling.method,
        "precision": options.precision,
        "compile": options.compile,
    }


def precision(options: GenerationOptions, device: str) -> torch.autocast:
    """Return the context in which the flow network runs: autocast, where the user chose half precision."""
    dtype = getattr(torch, options.precision)
    return torch.autocast(torch.device(device).type, dtype, enabled=dtype is not torch.float32)


def time_grid(sampling: Sampling) -> Tensor:
    """Return the (steps + 1,) float32 times from 0 (noise) to 1 (data)."""
    noise = torch.linspace(1, 0, sampling.steps + 1, dtype=torch.float64)
    shifted = sampling.shift * noise / (1 + (sampling.shift - 1) * noise)
    return (1 - shifted).float()


def noise_for(seed: int, shape: tuple[int, ...]) -> Tensor:
    """Return the standard normal start of one clip, float32, from its own seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def solve(velocity: Velocity, noise: Tensor, sampling: Sampling) -> Tensor:
    """Integrate from (B, ...) `noise` at t = 0 to data at t = 1.

    `euler` asks for one velocity a step; `heun` for two, but in the last step, where
    the second would be taken at t = 1, only for one.
    """
    x, times = noise, time_grid(sampling).to(noise.device)
    for start, end in pairwise(times):
        first = velocity(x, start.expand(len(x)))
        ahead = x + (end - start) * first
        if sampling.method == "heun" and end < 1:
            second = velocity(ahead, end.expand(len(x)))
            ahead = x + (end - start) * (first + second) / 2
        x = ahead
    return x


def guided(model: FlowModel, conditions: Conditions, scale: float) -> Velocity:
    """Return the velocity under classifier-free guidance; both branches go through in one pass.

    The conditions are embedded here, once for all steps.
    """
    if scale < 1:
        embedded = model.embed(conditions)
        return lambda x, t: model.velocity(x, t, embedded)
    both = model.embed(_joined(conditions, model.empty(conditions)))

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        told, empty = model.velocity(torch.cat([x, x]), torch.cat([t, t]), both).chunk(2)
        return empty + scale * (told - empty)

    return velocity


@torch.inference_mode()
def sample_latents(
    model: FlowModel, conditions: Conditions, noise: Tensor, sampling: Sampling | None = None
) -> Tensor:
    """Return the latents that the flow makes of `noise`, (B, *latent_shape), under batched `conditions`."""
    chosen = sampling or model.sampling
    return solve(guided(model, conditions, chosen.guidance_scale), noise, chosen)


def generate(
    model: FlowModel, requests: Sequence[Request], device: str, batch_size: int
) -> Iterator[Generated]:
    """Yield the sound of each request, in order; clips of one length go through together.

    The start depends on the request's seed alone, whatever the batch. On a CPU clips go one by
    one, for a batch brings hardly any speed there, and moves the last bits of each.
    """
    batch_size = at_once(device, batch_size)
    for seconds, group in groupby(requests, key=lambda request: request.seconds):
        alike = list(group)
        for start in range(0, len(alike), batch_size):
            yield from _generate_batch(model, alike[start : start + batch_size], seconds, device)


def at_once(device: str, batch_size: int) -> int:
    """Return how many samples go through the network together: one on a CPU."""
    return 1 if device == "cpu" else batch_size


def _generate_batch(
    model: FlowModel, requests: Sequence[Request], seconds: float, device: str
) -> Iterator[Generated]:
    told = model.condition(requests)
    usable = [
        (request, given)
        for request, given in zip(requests, told, strict=True)
        if not isinstance(given, ClipFault)
    ]
    sounds: Iterator[Audio] = iter(())
    if usable:
        conditions = stack([given for _, given in usable], device)
        shape = model.latent_shape(seconds)
        noise = torch.stack([noise_for(request.seed, shape) for request, _ in usable]).to(device)
        sounds = iter(model.decode(sample_latents(model, conditions, noise)))
    for request, given in zip(requests, told, strict=True):
        if isinstance(given, ClipFault):
            yield Generated(request.clip.id, fault=given)
        else:
            yield Generated(request.clip.id, audio=next(sounds))


def stack(conditions: Sequence[Conditions], device: str) -> Conditions:
    """Return the conditions of single clips as one batch on `device`."""
    return {name: torch.stack([given[name] for given in conditions]).to(device) for name in conditions[0]}


def _joined(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> Embedded:
    return {name: torch.cat([first[name], second[name]]) for name in first}
