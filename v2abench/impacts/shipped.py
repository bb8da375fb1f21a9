"""Weights that come with the package: safetensors in half precision, each with a card.

A card is JSON: what the network was trained on, with which seed and how long, what it
reaches on held-out clips, and the log of its training.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load, save_file
from torch import Tensor, nn

from v2abench.errors import UnavailableError
from v2abench.files import atomic, write_text

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def weights_bytes(name: str) -> bytes:
    """Return the shipped weights `name`; raises `UnavailableError` where the package lacks them."""
    path = files(__package__).joinpath("weights", f"{name}.safetensors")
    if not path.is_file():
        raise UnavailableError(
            f"the package has no weights of {name!r}; train them with `v2abench impacts train {name}`"
        )
    return path.read_bytes()


@cache
def digest(name: str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the shipped weights `name`."""
    return hashlib.sha256(weights_bytes(name)).hexdigest()[:16]


def card(name: str) -> dict[str, Any]:
    """Return the card of the shipped weights `name`."""
    text = files(__package__).joinpath("weights", f"{name}.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def with_shipped(network: ModuleT, name: str) -> ModuleT:
    """Return `network` with the shipped weights, in float32, for inference."""
    state = {key: value.float() for key, value in load(weights_bytes(name)).items()}
    network.load_state_dict(state, strict=False)
    missing = [
        key for key, value in network.state_dict().items() if value.is_floating_point() and key not in state
    ]
    if missing or state.keys() - network.state_dict().keys():
        raise UnavailableError(f"the weights of {name!r} are of another network; train them again")
    return network.eval().requires_grad_(False)


def save(network: nn.Module, facts: Mapping[str, Any], path: Path) -> None:
    """Write `<path>.safetensors`, the floating-point state in half precision, and `<path>.json`, the card.

    The network itself is rounded too, so that what is measured of it holds for the file.
    """
    state: dict[str, Tensor] = {}
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                state[key] = value.half().contiguous()
                value.copy_(state[key])
    with atomic(path.with_suffix(".safetensors")) as temporary:
        save_file(state, temporary)
    write_text(path.with_suffix(".json"), json.dumps(facts, indent=1) + "\n")
