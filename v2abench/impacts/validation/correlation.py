"""Spearman's correlation of metrics with the oracle's grades, with bootstrap intervals.

Over clips: all conditions and clips together, values of a metric a clip against grades of a
clip; a resample draws clips, each with all its conditions, since conditions of a clip share
its picture. Over conditions: values of whole sets against mean grades; a resample draws
conditions. Intervals are percentiles of 500 resamples, 95 %. A metric that is better when
lower counts negative, so 1 is the best for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from v2abench.impacts.validation.conditions import GRADES, Evidence

Floats = NDArray[np.float64]

RESAMPLES = 500


@dataclass(frozen=True)
class Correlation:
    """Spearman's rho of `metric` with `grade`, None where either is constant; `over` clips or conditions."""

    metric: str
    grade: str
    over: str
    rho: float | None
    low: float | None
    high: float | None
    count: int


def correlations(evidence: Evidence, resamples: int = RESAMPLES, seed: int = 0) -> list[Correlation]:
    """Return the correlations of every metric with every grade, over clips where it has values of clips."""
    found = []
    for metric, sign in evidence.signs.items():
        for number, grade in enumerate(GRADES):
            pairs = {"conditions": (_whole(evidence.sets, metric), _whole(evidence.sets, grade))}
            if metric in evidence.clips:
                pairs["clips"] = _grid(evidence.clips, metric), _grid(evidence.clips, grade)
            for over, (values, grades) in pairs.items():
                rng = np.random.default_rng([seed, number])
                low, high = _interval(sign * values, grades, rng, resamples)
                count = int((np.isfinite(values) & np.isfinite(grades)).sum())
                rho = spearman(sign * values, grades)
                found.append(Correlation(metric, grade, over, rho, low, high, count))
    return found


def spearman(first: Floats, second: Floats) -> float | None:
    """Return Spearman's rho of two arrays of one shape, over the pairs that are whole.

    None where there are fewer than three, or where either side is constant.
    """
    both = np.isfinite(first) & np.isfinite(second)
    ranks = np.array([rankdata(values[both]) for values in (first, second)])
    if both.sum() < 3 or np.ptp(ranks, axis=1).min() == 0:
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _grid(clips: pd.DataFrame, column: str) -> Floats:
    """The values by condition and clip, NaN where there is none."""
    table = clips.pivot(index="condition", columns="clip", values=column)
    return table.to_numpy(dtype=np.float64)


def _whole(sets: pd.DataFrame, column: str) -> Floats:
    return sets[column].to_numpy(dtype=np.float64)


def _interval(
    values: Floats, grades: Floats, rng: np.random.Generator, resamples: int
) -> tuple[float | None, float | None]:
    """Percentiles over resamples of the last axis; none where no resample has a correlation."""
    drawn = []
    for _ in range(resamples):
        chosen = rng.integers(0, values.shape[-1], size=values.shape[-1])
        rho = spearman(values[..., chosen], grades[..., chosen])
        if rho is not None:
            drawn.append(rho)
    if not drawn:
        return None, None
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
