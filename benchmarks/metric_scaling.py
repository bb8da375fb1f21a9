"""What the metrics cost as clips are added: random features through `Metric.compute`."""

from collections.abc import Mapping, Sequence

import numpy as np
from tables import Row, Table
from timing import seconds_of

from v2abench.contracts import Array, Bootstrap, Features, Metric
from v2abench.metrics.frechet import FrechetDistance
from v2abench.metrics.inception import InceptionScore
from v2abench.metrics.kernel import KernelAudioDistance, KernelInceptionDistance
from v2abench.metrics.kl import KLDivergence

EMBEDDING, LOGITS = "network.embedding", "network.logits"
WIDTHS = {EMBEDDING: 512, LOGITS: 527}
RESAMPLES = 20


def metrics() -> list[Metric]:
    """Return the metrics whose cost grows faster than, or as fast as, the clips."""
    return [
        FrechetDistance(embedding=EMBEDDING),
        KernelInceptionDistance(embedding=EMBEDDING),
        KernelAudioDistance(embedding=EMBEDDING),
        InceptionScore(logits=LOGITS),
        KLDivergence(logits=LOGITS),
    ]


def features(clips: int) -> Features:
    """Return random features of `clips` clips, as wide as those of networks of the field."""
    rng = np.random.default_rng(clips)

    def side() -> Mapping[str, Mapping[str, Array]]:
        return {
            name: {
                f"{index:05d}": row
                for index, row in enumerate(rng.standard_normal((clips, width), dtype=np.float32))
            }
            for name, width in WIDTHS.items()
        }

    return {"generated": side(), "reference": side()}


def scaling(counts: Sequence[int]) -> list[Table]:
    """Return processor seconds of each metric for each number of clips, without an interval and with one."""
    rows: list[Row] = []
    for clips in counts:
        given = features(clips)
        for metric in metrics():
            plain = seconds_of(lambda metric=metric, given=given: metric.compute(given, None), rounds=1)
            drawn = seconds_of(
                lambda metric=metric, given=given: metric.compute(given, Bootstrap(RESAMPLES)), rounds=1
            )
            rows.append(
                {
                    "clips": clips,
                    "metric": metric.name,
                    "value s": plain,
                    f"value and {RESAMPLES} resamples s": drawn,
                }
            )
    note = "Processor seconds of one call on random float32 features, 512 wide, and 527 logits."
    return [Table("rows", "Metrics against number of clips", rows, note)]
