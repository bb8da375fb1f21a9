"""Comparing networks with what the reference implementation gave for the same weights."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor, nn

GOLDENS = Path(__file__).parent / "goldens"


def entries(name: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of each entry in the listing `goldens/<name>.keys.tsv` of a checkpoint."""
    rows = [line.split("\t") for line in (GOLDENS / f"{name}.keys.tsv").read_text().splitlines()]
    return {row[0]: () if row[1] == "scalar" else tuple(map(int, row[1].split("x"))) for row in rows}


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Name and shape of each entry of a module's state."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def deviation(found: ArrayLike, golden: ArrayLike) -> float:
    """The largest absolute difference over the golden's largest magnitude."""
    expected = np.asarray(golden, dtype=np.float64)
    actual = np.asarray(found, dtype=np.float64)
    assert actual.shape == expected.shape
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def assert_parity(found: ArrayLike, golden: ArrayLike, tolerance: float = 1e-4) -> None:
    """The goldens' own tolerance: 1e-4 of each array's largest magnitude."""
    assert deviation(found, golden) <= tolerance


@contextmanager
def recorded(module: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Record the output of the first call of each named submodule."""
    outputs: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for name in names:

            def record(_: nn.Module, __: object, output: Tensor, name: str = name) -> None:
                outputs.setdefault(name, output)

            stack.enter_context(module.get_submodule(name).register_forward_hook(record))
        yield outputs
