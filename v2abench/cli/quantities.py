"""Sizes as a person writes them."""

import re
from collections.abc import Sequence

from v2abench.errors import V2ABenchError

_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_BYTES = re.compile(r"(?P<number>\d+(\.\d+)?) ?(?P<unit>[kmgt]?)(?P<binary>i?)b?", re.IGNORECASE)


def parse_bytes(text: str) -> float:
    """Return the bytes of `6GB`, `512 MiB`, `1.5g`; raises `V2ABenchError` for anything else."""
    found = _BYTES.fullmatch(text.strip())
    if found is None or float(found["number"]) == 0:
        raise V2ABenchError(f"--max-memory {text}: give a size such as 6GB or 512MiB")
    unit = _UNITS[found["unit"].lower()]
    factor = 1024 ** round(list(_UNITS.values()).index(unit)) if found["binary"] else unit
    return float(found["number"]) * factor


def parse_batch_sizes(texts: Sequence[str]) -> dict[str, int]:
    """Return network -> clips at once of `passt=4`, under "" of a bare `16`.

    Raises `V2ABenchError` for what is no number from 1 on, or is given twice.
    """
    sizes: dict[str, int] = {}
    for text in texts:
        network, _, number = text.rpartition("=")
        if not re.fullmatch(r"0*[1-9]\d{0,8}", number):
            raise V2ABenchError(f"--batch-size {text}: give a number from 1 on, or NETWORK=NUMBER")
        if network in sizes:
            raise V2ABenchError(f"--batch-size {text}: given twice for {network or 'all networks'}")
        sizes[network] = int(number)
    return sizes
