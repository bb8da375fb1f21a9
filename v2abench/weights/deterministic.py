"""Weights that depend on names alone: the whole path without a checkpoint, to try it out and to test it.

What networks with such weights say means nothing, and every signature names them. They
also serve parity: two implementations that agree on the names and shapes of their
entries hold the same weights, and must give the same outputs.
"""

import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

IDENTITY = "deterministic"
"""What stands for any checkpoint in fingerprints and signatures while `weights_mode` says so."""

Mode = Literal["official", "deterministic"]
ModuleT = TypeVar("ModuleT", bound=nn.Module)

_mode: ContextVar[Mode] = ContextVar("weights", default="official")
_SCALE = re.compile(r"(norm|bn|ln)\w*\.weight$|\.running_var$|\.weight_g$|\.gamma$|layer_scale")


@contextmanager
def weights_mode(mode: Mode) -> Iterator[None]:
    """Load `official` checkpoints, or make `deterministic` weights, inside of the `with`."""
    token = _mode.set(mode)
    try:
        yield
    finally:
        _mode.reset(token)


def current_mode() -> Mode:
    """Return where weights come from just now."""
    return _mode.get()


def is_deterministic() -> bool:
    """Say whether deterministic weights stand in for every checkpoint just now."""
    return current_mode() == "deterministic"


def values(name: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Return the float32 values of the state-dict entry `name` with `shape`.

    For n standard normal from PCG64 seeded with crc32(name) and `seed`: scale-like
    entries (norm weights, running variances, weight-norm gains) are 1 + 0.1·|n|,
    matrices and kernels n/√fan_in, all else 0.1·n.
    """
    generator = np.random.Generator(np.random.PCG64([zlib.crc32(name.encode()), seed]))
    n: NDArray[Any] = generator.standard_normal(shape, dtype=np.float32)
    if _SCALE.search(name):
        n = 1 + 0.1 * np.abs(n)
    elif len(shape) >= 2:
        n = n / math.sqrt(max(1, math.prod(shape[1:])))
    else:
        n = 0.1 * n
    return torch.from_numpy(np.ascontiguousarray(n, dtype=np.float32)).reshape(shape)


@torch.no_grad()
def fill_(module: ModuleT, seed: int = 0, skip: Iterable[str] = ()) -> ModuleT:
    """Overwrite the floating-point state of `module` in place with `values`.

    Names that match a regular expression in `skip` (fixed filter banks, windows)
    keep what they hold.
    """
    patterns = [re.compile(pattern) for pattern in skip]
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not any(pattern.search(name) for pattern in patterns):
            tensor.copy_(values(name, tuple(tensor.shape), seed).to(tensor.dtype))
    return module


def filled(make: Callable[[], ModuleT], seed: int = 0) -> ModuleT:
    """Return the module that `make` builds with deterministic weights, in eval mode on the CPU.

    It is built on the meta device first, as one that loads a checkpoint is: no memory
    beyond its weights is needed, and all its state must be entries of the state dict.
    """
    with torch.device("meta"):
        module = make()
    module.load_state_dict(deterministic_state(module.state_dict(), seed), strict=True, assign=True)
    return module.eval().requires_grad_(False)


def deterministic_state(like: Mapping[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Return `values` for each floating-point entry of a state dict, zeros for the others."""
    return {
        name: values(name, tuple(entry.shape), seed).to(entry.dtype)
        if entry.is_floating_point()
        else torch.zeros(entry.shape, dtype=entry.dtype)
        for name, entry in like.items()
    }
