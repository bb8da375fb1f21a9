"""The policy that is trained and the reference that it is held against, over one network.

LoRA: the reference is the same network with its adapters switched off. Full fine-tuning: it is the
same network run with a frozen copy of the weights. Either way any `FlowModel` can be trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from v2abench.errors import V2ABenchError
from v2abench.flow import Conditions, FlowModel

Reference = Callable[[Tensor, Tensor, Conditions, float], Tensor]
"""Velocities of the reference, without gradients: what `Policy.forward` takes."""


class Policy(nn.Module):
    """The velocity of a flow model as one module, which is what data-parallel wrappers need."""

    def __init__(self, model: FlowModel) -> None:
        super().__init__()
        self.network = model.network
        self._flow = model

    def forward(self, x_t: Tensor, t: Tensor, conditions: Conditions, guidance_scale: float = 0.0) -> Tensor:
        """Return the (B, ...) float32 velocity; conditions of B/2 clips serve both halves.

        From a guidance scale of 1 on, it is the guided one; no gradient goes through the empty branch.
        """
        told = self._velocity(x_t, t, conditions)
        if guidance_scale < 1:
            return told
        with torch.no_grad():
            empty = self._velocity(x_t, t, self._flow.empty(conditions))
        return empty + guidance_scale * (told - empty)

    def _velocity(self, x_t: Tensor, t: Tensor, conditions: Conditions) -> Tensor:
        embedded = self._flow.embed(conditions)
        if len(x_t) == 2 * len(next(iter(embedded.values()))):
            embedded = {name: torch.cat([tensor, tensor]) for name, tensor in embedded.items()}
        return self._flow.velocity(x_t, t, embedded).float()

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the parameters that are trained, by their names in the network."""
        return {name: p for name, p in self.network.named_parameters() if p.requires_grad}


@dataclass(frozen=True)
class LoRA:
    """Low-rank adapters; `target_modules` is a regular expression over module paths, None all that fit."""

    rank: int = 16
    alpha: int = 16
    target_modules: str | None = None


@dataclass
class Pair:
    """Policy and reference, and the adapters where there are any."""

    policy: Policy
    reference: Reference
    adapters: Any = None
    frozen: Mapping[str, Tensor] = field(default_factory=dict)


def make_pair(model: FlowModel, lora: LoRA | None, *, keep_reference: bool = True) -> Pair:
    """Make `model`'s network trainable in place, wholly or by adapters, and return it with its reference.

    The network stays in eval mode: dropout would make policy and reference differ by chance. Without
    `keep_reference`, no frozen copy is held (reference errors are then cached beforehand).
    """
    network = model.network
    network.eval().requires_grad_(lora is None)
    if lora is not None:
        adapters = _with_adapters(network, lora)
        policy = Policy(model)
        return Pair(policy, _AdapterlessReference(policy, adapters), adapters)
    policy = Policy(model)
    if not keep_reference:
        return Pair(policy, _refuse)
    frozen = {f"network.{name}": p.detach().clone() for name, p in network.named_parameters()}
    return Pair(policy, _FrozenReference(policy, frozen), frozen=frozen)


def _with_adapters(network: nn.Module, lora: LoRA) -> Any:
    import peft  # noqa: PLC0415 (an extra, and slow to import)

    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,
        target_modules=lora.target_modules or _all_linear(network),
    )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            adapted = peft.get_peft_model(network, config)
    except ValueError as error:
        raise V2ABenchError(
            f"lora target_modules {lora.target_modules!r}: {str(error).splitlines()[0]}; modules that can be "
            f"adapted are such as {', '.join(_all_linear(network)[:4])}"
        ) from error
    return adapted.eval()


def _all_linear(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]


@dataclass(frozen=True)
class _AdapterlessReference:
    policy: Policy
    adapters: Any

    @torch.no_grad()
    def __call__(self, x_t: Tensor, t: Tensor, conditions: Conditions, guidance_scale: float = 0.0) -> Tensor:
        with self.adapters.disable_adapter():
            velocity: Tensor = self.policy(x_t, t, conditions, guidance_scale)
        return velocity


@dataclass(frozen=True)
class _FrozenReference:
    policy: Policy
    frozen: Mapping[str, Tensor]

    @torch.no_grad()
    def __call__(self, x_t: Tensor, t: Tensor, conditions: Conditions, guidance_scale: float = 0.0) -> Tensor:
        inputs = (x_t, t, conditions, guidance_scale)
        velocity: Tensor = functional_call(self.policy, dict(self.frozen), inputs)
        return velocity


def _refuse(*_: object) -> Tensor:
    raise AssertionError("the reference was left out: its errors are cached")


@contextmanager
def weights_of(policy: Policy, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Run the block with other trainable weights, by `Policy.trainable`'s names; then put back the own."""
    own = {name: p.detach().clone() for name, p in policy.trainable().items()}
    load_weights(policy, weights)
    try:
        yield
    finally:
        load_weights(policy, own)


@torch.no_grad()
def load_weights(policy: Policy, weights: Mapping[str, Tensor]) -> None:
    """Copy trainable weights into the policy."""
    for name, parameter in policy.trainable().items():
        parameter.copy_(weights[name])


def checkpoint_blocks(network: nn.Module) -> int:
    """Recompute the network's repeated blocks in the backward pass instead of keeping their activations.

    Blocks are what stands in a `ModuleList` that is in no other. Returns how many there are.
    """
    lists = {name: module for name, module in network.named_modules() if isinstance(module, nn.ModuleList)}
    outer = [m for name, m in lists.items() if not any(name.startswith(f"{other}.") for other in lists)]
    blocks = [block for modules in outer for block in modules]
    for block in blocks:
        block.forward = _recomputed(block.forward)
    return len(blocks)


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def recompute(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return recompute
