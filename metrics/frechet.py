"""Fréchet distance between two sets of embeddings (FD, FAD), and its limit FD∞.

Goal
----
How far the distribution of generated sounds is from that of real ones, seen
through a network: both sets of embeddings are taken for Gaussians, and the
squared 2-Wasserstein distance of the Gaussians is the score.

    FD = |m1 − m2|² + tr C1 + tr C2 − 2 tr (C1 C2)^½

with m the mean and C the covariance with denominator n − 1 (ddof 1). Lower is
better, 0 for equal moments. FD-VGG is what papers call FAD.

How it is computed
------------------
Exactly, for any number of samples and dimensions, without a matrix square root:
see `frechet_statistics`. All in float64. Rounding below zero is cut at 0. The
interval is a re-centred bootstrap over clips: see `bootstrap`.

Bias, and FD∞
-------------
FD of n samples overestimates, about linearly in 1/n, more so the more
dimensions. `FrechetDistanceInfinity` follows Chong and Forsyth: FD of random
subsets of the generated clips against the whole reference, a least-squares line
in 1/n, and its value at 1/n = 0. Exactly: `points` subset sizes, equally spaced
from `smallest` · n to n and rounded; one subset a size, the first clips of a
fresh permutation by NumPy's default generator with `seed`; n counts clips.
Chong and Forsyth use 15 sizes from 5 000 to 50 000, hence the defaults; fadtk
uses 25 sizes from 500 on and counts examples. The line removes the bias of the
generated set only, so the reference must be the same for all that is compared.
The value may be slightly negative for sets that are alike. It has no interval:
the points of the line share clips, so its residuals say too little, and a
bootstrap would cost `points` times that of FD.

References
----------
Fréchet 1957; Dowson and Landau 1982 (the closed form).
Heusel et al., GANs Trained by a Two Time-Scale Update Rule, 2017, arXiv:1706.08500 (FID).
Kilgour et al., Fréchet Audio Distance, 2019, arXiv:1812.08466 (FAD).
Chong and Forsyth, Effectively Unbiased FID and Inception Score, 2020, arXiv:1911.07023.
Gui et al., Adapting Fréchet Audio Distance, 2024, arXiv:2311.01616 (fadtk).
Agrees with hkchengrex/av-benchmark@050a5cd `metrics/fad.py` to 1e-6 relative
(upstream takes the mean in float32).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from v2abench.contracts import Bootstrap, Direction, Features, Score, Stream
from v2abench.metrics.bootstrap import clip_counts, recentred
from v2abench.metrics.frechet_statistics import FrechetStatistics
from v2abench.metrics.samples import Floats, Integers, Matrix, Samples, gather_sets, one_sided, too_few


def frechet_distance(generated: Matrix, reference: Matrix) -> float:
    """FD between samples (n, d) and (m, d) of any float dtype, n and m at least 2."""
    return FrechetStatistics.of(generated, reference).distance()


def frechet_distance_infinity(
    generated: Matrix,
    reference: Matrix,
    *,
    points: int = 15,
    smallest: float = 0.1,
    seed: int = 0,
    owner: Integers | None = None,
) -> tuple[float, float]:
    """FD∞ between samples (n, d) and (m, d), and R² of the line behind it.

    `owner` (n,) tells which clip a generated sample belongs to, clips counting
    from 0; without it every sample is a clip. Raises `ValueError` where the smallest
    subset has fewer than two clips, or all subsets are of one size.
    """
    owner = np.arange(len(generated)) if owner is None else owner
    clips = int(owner.max()) + 1
    sizes = subset_sizes(clips, points, smallest)
    if sizes[0] < 2 or len(sizes) < 2:
        raise ValueError(f"no line through subsets of {sizes.tolist()} of {clips} clips")
    statistics = FrechetStatistics.of(generated, reference)
    rng = np.random.default_rng(seed)
    distances = np.empty(len(sizes))
    for point, size in enumerate(sizes):
        drawn = np.zeros(clips)
        drawn[rng.permutation(clips)[:size]] = 1
        distances[point] = statistics.distance(drawn[owner])
    slope, intercept = np.polyfit(1 / sizes, distances, deg=1)
    left = float(np.var(distances - slope / sizes - intercept))
    total = float(np.var(distances))
    return float(intercept), 1 - left / total if total > 0 else 1.0


def subset_sizes(clips: int, points: int, smallest: float) -> Integers:
    """The distinct subset sizes of FD∞, ascending: from `smallest` · clips to clips."""
    return np.unique(np.rint(np.linspace(smallest * clips, clips, points)).astype(np.int64))


@dataclass(frozen=True)
class FrechetDistance:
    """FD over a set feature `embedding`, (d,) or (examples, d) a clip.

    All clips of both sides enter; with `paired` only those that both sides have
    (av-benchmark does so for FD-PASST).
    """

    name: str = "FD"
    embedding: str = "aisfx.embedding"
    paired: bool = False
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.LOWER
    unit: ClassVar[str] = ""
    citation: ClassVar[str] = "Heusel et al. 2017, arXiv:1706.08500; Kilgour et al. 2019, arXiv:1812.08466"

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """Embeddings of both sides."""
        return {"generated": (self.embedding,), "reference": (self.embedding,)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {"embedding": self.embedding, "paired": self.paired}

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """FD of all clips; None where a side has fewer than two samples."""
        generated, reference = gather_sets(features, self.embedding, paired=self.paired)
        if reason := too_few(generated, reference, self.embedding):
            return Score(None, (), warnings=(reason,))
        statistics = FrechetStatistics.of(generated.rows, reference.rows)
        value = statistics.distance()
        replicates = self._replicates(statistics, generated, reference, bootstrap)
        return Score(
            value,
            generated.clips,
            interval=recentred(value, replicates, bootstrap, bounds=(0.0, np.inf)),
            warnings=(
                *_thin(min(len(generated.rows), len(reference.rows)), generated.rows.shape[1]),
                *one_sided(generated, reference),
            ),
            replicates=replicates,
        )

    def _replicates(
        self,
        statistics: FrechetStatistics,
        generated: Samples,
        reference: Samples,
        bootstrap: Bootstrap | None,
    ) -> Floats | None:
        counts = bootstrap and clip_counts(generated.clips, reference.clips, bootstrap, self.name)
        if not counts:
            return None
        return np.array(
            [
                statistics.distance(
                    generated.row_weights(first), reference.row_weights(second), replicate=True
                )
                for first, second in zip(*counts, strict=True)
            ]
        )


@dataclass(frozen=True)
class FrechetDistanceInfinity:
    """FD∞ over a set feature `embedding`: FD extrapolated to infinitely many generated clips."""

    name: str = "FD-inf"
    embedding: str = "aisfx.embedding"
    points: int = 15
    smallest: float = 0.1
    seed: int = 0
    paired: bool = False
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.LOWER
    unit: ClassVar[str] = ""
    citation: ClassVar[str] = "Chong and Forsyth 2020, arXiv:1911.07023"

    def __post_init__(self) -> None:
        if self.points < 3 or not 0 < self.smallest < 1:
            raise ValueError("points needs to be at least 3, smallest between 0 and 1")

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """Embeddings of both sides."""
        return {"generated": (self.embedding,), "reference": (self.embedding,)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {
            "embedding": self.embedding,
            "points": self.points,
            "smallest": self.smallest,
            "seed": self.seed,
            "paired": self.paired,
        }

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:  # noqa: ARG002
        """FD∞ of all clips, without an interval; None where there are too few for a line."""
        generated, reference = gather_sets(features, self.embedding, paired=self.paired)
        if reason := too_few(generated, reference, self.embedding):
            return Score(None, (), warnings=(reason,))
        sizes = subset_sizes(len(generated.clips), self.points, self.smallest)
        if sizes[0] < 2 or len(sizes) < 3:
            reason = (
                f"needs 3 subset sizes of 2 clips or more, {len(generated.clips)} clips give {sizes.tolist()}"
            )
            return Score(None, (), warnings=(reason,))
        value, fit = frechet_distance_infinity(
            generated.rows,
            reference.rows,
            points=self.points,
            smallest=self.smallest,
            seed=self.seed,
            owner=generated.owner,
        )
        smallest_set = len(generated.rows) * int(sizes[0]) // len(generated.clips)
        return Score(
            value,
            generated.clips,
            details={"r_squared": fit},
            warnings=(
                *_thin(min(smallest_set, len(reference.rows)), generated.rows.shape[1]),
                *one_sided(generated, reference),
            ),
        )


def _thin(samples: int, dimensions: int) -> tuple[str, ...]:
    if samples >= 2 * dimensions:
        return ()
    return (
        f"{samples} samples in {dimensions} dimensions: the covariance is poorly known and FD strongly "
        "biased; compare only with runs on equally many clips",
    )
