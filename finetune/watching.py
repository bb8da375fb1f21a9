"""What a training warns of: errors of winners and losers that rise together."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from statistics import fmean

_log = logging.getLogger(__name__)

SPAN = 5
"""Lines of the log that are averaged."""


def warn_where_both_rise(rows: Sequence[Mapping[str, float]]) -> bool:
    """Warn, once in `SPAN` lines, where both errors are above the reference's and still rising.

    The loss then falls because losers are unlearnt faster than winners. It may be harmless: runs that
    improved the samples have shown it. So training goes on.
    """
    if not rows or len(rows) % SPAN or len(rows) < 2 * SPAN:
        return False
    found = []
    for side in ("drift/chosen", "drift/rejected"):
        before, now = (fmean(row[side] for row in part) for part in (rows[-2 * SPAN : -SPAN], rows[-SPAN:]))
        found.append((before, now))
    if not all(now > max(before, 0.0) for before, now in found):
        return False
    (_, winner), (_, loser) = found
    _log.warning(
        "step %d: the errors of winners (%+.3g) and of losers (%+.3g) rise together above the reference's; "
        "if held-out metrics fall, lower learning_rate, raise beta, or set sft_weight or loser_weight",
        rows[-1]["step"],
        winner,
        loser,
    )
    return True
