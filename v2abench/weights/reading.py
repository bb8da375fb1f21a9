"""Reading checkpoints that may hold more than weights."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from v2abench.errors import V2ABenchError


def read_checkpoint(path: Path) -> Any:
    """Return what torch saved at `path`, on the CPU; of mapped tensors nothing is read before it is used.

    Raises `V2ABenchError` where it holds objects that only their own code can restore,
    or is no such file.
    """
    mappable = zipfile.is_zipfile(path)  # torch's older format is not
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mappable)
    except pickle.UnpicklingError as error:
        cause = next((line for line in str(error).splitlines() if "GLOBAL" in line), "it is no such file")
        raise V2ABenchError(
            f"{path} is not a checkpoint of tensors alone, and nothing else is loaded, for that may run "
            f"code ({cause.strip()}); save its `state_dict` alone where you trust it, "
            "and install that with `v2abench weights pull NAME --file FILE`"
        ) from error
