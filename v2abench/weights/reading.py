"""Reading checkpoints that are pickles, without running what is in them. torch and NumPy alone."""

from pathlib import Path
from typing import Any

import numpy as np
import torch


def read_pickle(path: Path) -> Any:
    """Return what `torch.save` wrote to `path`, on the CPU: tensors, and NumPy's scalars and arrays.

    Files of training runs hold the latter beside their weights, pickled under the module
    names of NumPy 1 or 2. Raises `pickle.UnpicklingError` for anything else in the file.
    """
    scalar, array = np.int64(0).__reduce__()[0], np.empty(0).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in (np.int64, np.float64, np.float32)}
    allowed: list[Any] = [np.ndarray, np.dtype, *kinds]
    for core in ("core", "_core"):
        allowed.append((scalar, f"numpy.{core}.multiarray.scalar"))
        allowed.append((array, f"numpy.{core}.multiarray._reconstruct"))
    with torch.serialization.safe_globals(allowed):
        return torch.load(path, map_location="cpu", weights_only=True)
