"""Arrays that the reference implementations gave, with deterministic weights and signals.

Where each comes from, and for what input, is told by the test module of the same name
and by `v2abench.selftest.checks`.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import as_file, files

import numpy as np

from v2abench.contracts import Array


@cache
def golden(name: str) -> Mapping[str, Array]:
    """Return the arrays of `<name>.npz` by name."""
    with as_file(files(__package__).joinpath(f"{name}.npz")) as path, np.load(path) as arrays:
        return dict(arrays)


def golden_entries(name: str) -> list[tuple[str, tuple[int, ...], str]]:
    """Return name, shape and dtype of each entry of the checkpoint in `<name>.keys.tsv`."""
    lines = files(__package__).joinpath(f"{name}.keys.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return [(row[0], tuple(int(n) for n in row[1].split("x") if n.isdecimal()), row[2]) for row in rows]
