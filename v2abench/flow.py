"""The contract of flow models: what can be sampled step by step, and aligned.

Everywhere outside of an adapter time runs from t = 0 (noise) to t = 1 (data):
x_t = (1 - t) · noise + t · data, and the velocity is data - noise. An adapter whose
upstream runs the other way converts inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from torch import Generator, Tensor, nn

from v2abench.contracts import Model, Request

if TYPE_CHECKING:
    from v2abench.errors import ClipFault
    from v2abench.media.audio import Audio

Conditions = Mapping[str, Tensor]
"""What a model is told of clips: named tensors. The frozen encoders' outputs, which never
change in training, so that they are computed once for each clip and stored.
"""

Embedded = Mapping[str, Tensor]
"""Conditions after the network's own, trainable projections; the batch is the first axis."""


@dataclass(frozen=True)
class Sampling:
    """How the flow's ordinary differential equation is solved.

    `guidance_scale` w: the velocity is empty + w · (conditional - empty); with w below 1
    only the conditional one is computed. `shift` s moves the time grid towards the noise,
    where s > 1: of equidistant noise levels n = 1 - t it makes s·n / (1 + (s - 1)·n)
    (Esser et al., "Scaling Rectified Flow Transformers", 2024, equation 23).
    """

    steps: int = 25
    guidance_scale: float = 4.5
    method: Literal["euler", "heun"] = "euler"
    shift: float = 1.0


class FlowModel(Model, Protocol):
    """A model that also exposes latents, conditions, velocity and decoding.

    All tensors are float32 on the model's device unless told otherwise; B is the batch.
    """

    @property
    def network(self) -> nn.Module:
        """The module that `embed` and `velocity` use: what is trained."""
        ...

    @property
    def sampling(self) -> Sampling:
        """How this model is sampled unless told otherwise."""
        ...

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        """The shape of one clip's latent, without the batch."""
        ...

    def encode(self, audio: Sequence[Audio], seconds: float) -> Tensor:
        """Return the (B, *latent_shape) latents that training uses (normalised) of sounds.

        Raises `ClipFault` for a sound that is too short for `seconds`.
        """
        ...

    def decode(self, latents: Tensor) -> list[Audio]:
        """Return the sounds of (B, *latent_shape) latents."""
        ...

    def condition(self, requests: Sequence[Request]) -> list[Conditions | ClipFault]:
        """Return what the frozen encoders say of each clip, on the CPU and without a batch axis.

        It depends on the clip's content alone, and may come from the feature store.
        """
        ...

    def empty(self, conditions: Conditions) -> Conditions:
        """Return conditions of the same (batched) shapes that say nothing: guidance's other branch."""
        ...

    def embed(self, conditions: Conditions) -> Embedded:
        """Return batched conditions after the network's projections: once for all steps of sampling."""
        ...

    def velocity(self, x_t: Tensor, t: Tensor, embedded: Embedded) -> Tensor:
        """Return the velocity data - noise at (B, *latent_shape) `x_t` and (B,) times `t` in [0, 1]."""
        ...


class SupervisedFlowModel(FlowModel, Protocol):
    """A flow model that brings the loss of its own training, which alignment can mix in."""

    def training_loss(self, latents: Tensor, conditions: Conditions, generator: Generator) -> Tensor:
        """Return each clip's flow-matching loss, (B,), on latents as `encode` gives them.

        Times, noise and which conditions are withheld are drawn from `generator`, on the CPU,
        as in the model's own training. Conditions are batched.
        """
        ...
