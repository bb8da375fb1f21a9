"""Opening the checkpoints of models, with a word to the user about what cannot be opened."""

import pickle
from pathlib import Path
from typing import Any

from v2abench.errors import V2ABenchError
from v2abench.weights.reading import read_pickle


def read_checkpoint(path: Path) -> Any:
    """Return what torch saved at `path`, on the CPU and mapped, as `read_pickle` does.

    Raises `V2ABenchError` where it holds objects that only their own code can restore,
    or is no such file.
    """
    try:
        return read_pickle(path)
    except pickle.UnpicklingError as error:
        cause = next((line for line in str(error).splitlines() if "GLOBAL" in line), "it is no such file")
        raise V2ABenchError(
            f"{path} is not a checkpoint of tensors alone, and nothing else is loaded, for that may run "
            f"code ({cause.strip()}); save its `state_dict` alone where you trust it, "
            "and install that with `v2abench weights pull NAME --file FILE`"
        ) from error
