"""Reading the clips of a run: `clips.parquet`."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from v2abench.errors import V2ABenchError

NOT_METRICS = ("id", "status", "reasons")


def read_clips(folder: Path) -> Mapping[str, Mapping[str, float]]:
    """Return metric -> clip id -> value of the run in `folder`; clips without a value are left out.

    Raises `V2ABenchError` where the table is missing or damaged.
    """
    file = folder / "clips.parquet"
    try:
        table = pd.read_parquet(file).set_index("id")
    except (OSError, ValueError, KeyError) as error:
        raise V2ABenchError(
            f"{file} cannot be read ({str(error).splitlines()[0]}); evaluate again"
        ) from error
    return {
        str(name): {str(clip): float(value) for clip, value in table[name].dropna().items()}
        for name in table.columns
        if name not in NOT_METRICS
    }
