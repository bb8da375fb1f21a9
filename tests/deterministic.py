"""Deterministic signals and weights for parity tests.

The goldens were made with exactly these: the values depend only on names,
shapes and seeds, so no checkpoint and no recording is needed to reproduce them.
"""

import math
import re
import zlib
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

_SCALE = re.compile(r"(norm|bn|ln)\w*\.weight$|\.running_var$|\.weight_g$|\.gamma$|layer_scale")

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def values(name: str, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
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


def wave(seconds: float, rate: int, seed: int = 0) -> NDArray[np.float32]:
    """Return (samples,) float32 in [-1, 1]: three decaying chirps over faint noise."""
    t = np.arange(round(seconds * rate), dtype=np.float64) / rate
    generator = np.random.Generator(np.random.PCG64([7, seed]))
    x = 0.01 * generator.standard_normal(t.shape)
    for k in range(3):
        start = seconds * (0.1 + 0.3 * k)
        low, high = 200.0 * (k + 1), 1500.0 * (k + 1)
        u = np.clip(t - start, 0, None)
        chirp = np.exp(-6 * u) * np.sin(2 * np.pi * (low * u + (high - low) * u**2 / 2))
        x += np.where(t >= start, chirp, 0)
    scaled: NDArray[np.float32] = (0.5 * x / np.abs(x).max()).astype(np.float32)
    return scaled


def frames(count: int, size: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return (count, 3, size, size) uint8: a bright disc that bounces over a gradient."""
    yy, xx = np.mgrid[0:size, 0:size].astype(np.float64) / size
    out = np.empty((count, 3, size, size), dtype=np.uint8)
    for i in range(count):
        phase = (i / 25.0 * 1.3 + 0.17 * seed) % 1.0
        cy, cx = 0.85 - 0.7 * abs(math.sin(math.pi * phase)), 0.2 + 0.6 * ((i / 100.0 + 0.1 * seed) % 1.0)
        disc = ((yy - cy) ** 2 + (xx - cx) ** 2) < 0.01
        out[i, 0] = np.where(disc, 250, 40 + 120 * xx)
        out[i, 1] = np.where(disc, 220, 40 + 120 * yy)
        out[i, 2] = np.where(disc, 30, 90 + 60 * (xx * yy))
    return out
