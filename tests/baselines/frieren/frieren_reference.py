"""The reference's inputs and small sizes: `goldens/frieren.npz` was made with exactly these.

It holds what cyanbx/Frieren-V2A@0c39692 computes with weights from `fill_`, at full size
(`real.`) and at small sizes (`tiny.`).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache

import numpy as np
import torch
from deterministic import fill_, values
from parity import GOLDENS
from torch import Tensor, nn

from v2abench.baselines.frieren.autoencoder import AutoencoderSize
from v2abench.baselines.frieren.estimator import EstimatorSize, FlowNetwork
from v2abench.baselines.frieren.model import FRIEREN, Architecture, Frieren
from v2abench.clips import Dataset
from v2abench.models import ModelContext

GOLDEN = np.load(GOLDENS / "frieren.npz")

TINY = EstimatorSize(channels=4, rows=16, context=24, width=64, heads=2, blocks=2, positions=100)
TINY_AUTOENCODER = AutoencoderSize(bands=16, channels=4, widths=(32, 64, 128))

OFFICIAL_SCALE = 4.5


def unit(name: str, *shape: int) -> Tensor:
    """Standard normal values."""
    return 10 * values(name, (math.prod(shape),), seed=3).reshape(shape)


def rows(name: str, *shape: int) -> Tensor:
    """Rows of length 1."""
    return nn.functional.normalize(unit(name, *shape), dim=-1)


@cache
def flow_network(size: EstimatorSize) -> FlowNetwork:
    """Weights are named without the prefixes of the checkpoint."""
    network = FlowNetwork(size)
    fill_(network.estimator)
    fill_(network.cond_stage_model)
    return network.eval()


def both_branches(network: FlowNetwork, told: Tensor) -> Tensor:
    """The embedded rows, and those of nothing."""
    return network.embed(torch.cat([told, torch.zeros_like(told)]))


def guided_velocity(network: FlowNetwork, x: Tensor, thousandth: int, both: Tensor) -> Tensor:
    steps = torch.full((2 * len(x),), thousandth)
    told, empty = network(torch.cat([x, x]), steps, both).chunk(2)
    return empty + OFFICIAL_SCALE * (told - empty)


def tiny_model() -> Frieren:
    """The flow model around a copy of the small network, whose parameters can be trained."""
    context = ModelContext(Dataset("none", "none", ()))
    model = Frieren(FRIEREN, context, Architecture(estimator=TINY))
    model.__dict__["network"] = deepcopy(flow_network(TINY)).requires_grad_(True)
    return model


@contextmanager
def recorded_input(module: nn.Module) -> Iterator[list[Tensor]]:
    """Record what a module gets."""
    seen: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0])

    handle = module.register_forward_pre_hook(keep)
    yield seen
    handle.remove()
