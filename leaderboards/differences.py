"""Two runs clip by clip: where one wins and loses most, and how the differences spread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from v2abench.contracts import Direction
from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.leaderboards.significance import WrittenRun, sign_flip_p
from v2abench.runs.report import ScoreRecord
from v2abench.runs.tables import read_clips

FLIPS = 10_000


@dataclass(frozen=True)
class ClipDifference:
    """One clip under two models; `gain` is positive where the second is better."""

    clip: str
    first: float
    second: float
    gain: float


@dataclass(frozen=True)
class Difference:
    """A metric of two runs on the clips that both have, largest gain first.

    `p` is that of a sign-flip test. `left_out` are clips that only one run has a value of.
    """

    metric: str
    unit: str
    direction: Direction
    first: str
    second: str
    clips: tuple[ClipDifference, ...]
    left_out: tuple[str, ...]
    p: float

    @property
    def gains(self) -> NDArray[np.float64]:
        """The gains, largest first."""
        return np.array([clip.gain for clip in self.clips])

    def counts(self) -> tuple[int, int, int]:
        """Return on how many clips the second model wins, ties and loses."""
        gains = self.gains
        return int((gains > 0).sum()), int((gains == 0).sum()), int((gains < 0).sum())

    def extremes(self, most: int) -> tuple[Sequence[ClipDifference], Sequence[ClipDifference]]:
        """Return up to `most` wins, largest first, and up to `most` losses, largest first."""
        wins = [clip for clip in self.clips if clip.gain > 0]
        losses = [clip for clip in reversed(self.clips) if clip.gain < 0]
        return wins[:most], losses[:most]


def clip_metrics(run: WrittenRun) -> list[ScoreRecord]:
    """Return the metrics of a run that have a value a clip and a direction, in the report's order."""
    known = read_clips(run.folder)
    return [
        score
        for score in run.report.scores
        if score.direction != Direction.NEUTRAL.value and known.get(score.name)
    ]


def difference_of(
    first: WrittenRun, second: WrittenRun, metric: str, *, force: bool = False, seed: int = 0
) -> Difference:
    """Return the second run's gains over the first by `metric`.

    Raises `UnknownNameError` for a metric without values a clip, `V2ABenchError` where the
    signatures differ and `force` does not allow it, and where no clip has both values.
    """
    if first.report.signature != second.report.signature and not force:
        raise V2ABenchError(
            f"{first.folder} and {second.folder} are not comparable: their signatures differ; evaluate both "
            "under one protocol and version, or compare all the same with --force"
        )
    scores = {score.name: score for score in clip_metrics(first)}
    if metric not in scores:
        raise UnknownNameError("metric with a direction and values a clip", metric, scores)
    values = [read_clips(run.folder).get(metric, {}) for run in (first, second)]
    clips = _clip_differences(values[0], values[1], Direction(scores[metric].direction))
    if not clips:
        raise V2ABenchError(
            f"{first.folder} and {second.folder} have no clip with {metric} in common; "
            "evaluate both models on the same clips"
        )
    gains = np.array([clip.gain for clip in clips])
    return Difference(
        metric,
        scores[metric].unit,
        Direction(scores[metric].direction),
        first.report.model.name,
        second.report.model.name,
        clips,
        tuple(sorted(values[0].keys() ^ values[1].keys())),
        sign_flip_p(gains, FLIPS, seed),
    )


def histogram(
    gains: NDArray[np.float64], most_bins: int = 24
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return counts and edges of a histogram of `gains` in which 0 is an edge.

    The bins are as wide as Freedman and Diaconis say, but at most `most_bins`.
    """
    low, high = min(0.0, float(gains.min())), max(0.0, float(gains.max()))
    if low == high:
        return np.array([len(gains)]), np.array([-0.5, 0.5])
    quartiles = np.quantile(gains, [0.25, 0.75])
    width = 2 * float(quartiles[1] - quartiles[0]) / len(gains) ** (1 / 3)
    width = max(width, (high - low) / (most_bins - 2))
    edges = np.arange(np.floor(low / width), np.ceil(high / width) + 1) * width
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
    counts, _ = np.histogram(gains, edges)
    return counts.astype(np.int64), edges


def _clip_differences(
    first: Mapping[str, float], second: Mapping[str, float], direction: Direction
) -> tuple[ClipDifference, ...]:
    sign = -1 if direction == Direction.LOWER else 1
    found = [
        ClipDifference(clip, first[clip], second[clip], sign * (second[clip] - first[clip]))
        for clip in sorted(first.keys() & second.keys())
    ]
    return tuple(sorted(found, key=lambda item: -item.gain))
