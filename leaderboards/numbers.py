"""How numbers are shown, and how they rank by what is shown."""

import math
from collections.abc import Sequence
from typing import Literal

from v2abench.contracts import Direction

UNDEFINED = "–"

Rank = Literal[1, 2] | None
"""Best or second-best value of a column; None for every other cell."""


def number_format(values: Sequence[float]) -> str:
    """Return the format specification for a column of `values`, such as `.2f`.

    Two decimals, as in the tables of papers, or as many as the smallest magnitude
    needs for three significant digits; but at most five digits for the largest
    magnitude and at most six decimals. Scientific notation where fixed decimals
    would be unreadable: largest magnitude below 1e-4, or smallest from 1e6 on.
    """
    orders = [math.floor(math.log10(abs(value))) for value in values if value != 0]
    if not orders:
        return ".2f"
    if max(orders) < -4 or min(orders) >= 6:
        return ".2e"
    wanted = max(2, 2 - min(orders))
    return f".{max(0, min(wanted, 4 - max(orders), 6))}f"


def show(value: float | None, spec: str) -> str:
    """Return `value` in the format `spec`; `UNDEFINED` for None.

    A negative value that rounds to zero loses its sign, an exponent its leading zero.
    """
    if value is None:
        return UNDEFINED
    text = format(value, spec).replace("e-0", "e-").replace("e+0", "e+")
    return text.removeprefix("-") if float(text) == 0 else text


def ranks(shown: Sequence[float | None], direction: Direction) -> list[Rank]:
    """Return the rank of each competitor's value as shown; None stands for no competitor.

    Equal values share a rank, and rank 2 is the next value after the best. Nothing is
    ranked where the direction is neutral or all values are the same.
    """
    order = sorted({value for value in shown if value is not None}, reverse=direction == Direction.HIGHER)
    if direction == Direction.NEUTRAL or len(order) < 2:
        return [None] * len(shown)
    return [1 if value == order[0] else 2 if value == order[1] else None for value in shown]


def count_text(count: int) -> str:
    """Return a number of parameters as papers print it, to three digits: `159M`, `1.03B`."""
    for scale, letter in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "K")):
        if count >= scale:
            digits = 2 - min(2, math.floor(math.log10(count / scale)))
            text = f"{count / scale:.{digits}f}"
            whole = text.rstrip("0").rstrip(".") if digits and text.endswith("00") else text
            return f"{whole}{letter}"
    return str(count)


def signed(value: float, spec: str) -> str:
    """Return `value` in the format `spec` with its sign: `+0.42`, `-1.00`, `±0.00`."""
    text = show(abs(value), spec)
    if float(text) == 0:
        return f"±{text}"
    return f"{'+' if value > 0 else '-'}{text}"
