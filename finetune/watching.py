"""What a training warns of: small stages, and errors of winners and losers that rise together."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from statistics import fmean

from v2abench.finetune.curriculum import Schedule

_log = logging.getLogger(__name__)

SPAN = 5
"""Lines of the log that are averaged."""
TOO_OFTEN = 3.0
"""A stage whose pairs come so many times as often as those of all stages on average is told of."""


def warn_of_small_stages(schedule: Schedule) -> list[int]:
    """Warn of stages, from 1, with so few pairs that each is seen far more often than those of the others.

    Scores depend on who scored: a threshold for one AudioScore can leave a stage of another nearly empty.
    """
    starts = [0, *schedule.ends]
    looks = [(end - start) * schedule.batch_size for start, end in zip(starts, schedule.ends, strict=False)]
    usual = sum(looks) / len({pair for stage in schedule.stages for pair in stage})
    small = []
    for number, (stage, seen) in enumerate(zip(schedule.stages, looks, strict=True), start=1):
        if seen / len(stage) > TOO_OFTEN * usual:
            small.append(number)
            _log.warning(
                "stage %d has only %d pairs and sees each %.0f times (on average %.1f times); set "
                "curriculum_thresholds to what suits these scores, stage_steps, or curriculum_thresholds=[]",
                number,
                len(stage),
                seen / len(stage),
                usual,
            )
    return small


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
