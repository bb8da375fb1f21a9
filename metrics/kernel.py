"""Kernel distances between two sets of embeddings: KID and KAD.

Goal
----
What the Fréchet distance asks, without taking the embeddings for Gaussians and
without its bias: the squared maximum mean discrepancy (MMD²) of Gretton et al.

    MMD² = Σ_{i≠j} k(x_i, x_j) / (n(n−1)) + Σ_{i≠j} k(y_i, y_j) / (m(m−1))
           − 2 Σ_{ij} k(x_i, y_j) / (nm)

for generated x and reference y. Unbiased: its expectation does not depend on n,
and it may be slightly negative for sets that are alike. Lower is better.

KID (Bińkowski et al. 2018)
---------------------------
k(x, y) = (γ x·y + 1)³ with γ = 1/d. Mean of MMD² over `subsets` random pairs of
subsets of `subset_size` samples, drawn without replacement by NumPy's legacy
`RandomState(seed)`, from the generated set and then from the reference set;
`details["std"]` is the population standard deviation over the subsets. Where a
side is smaller, the subsets are as large as that side, and the score warns.
Order and seed as in torch-fidelity and audioldm_eval.

KAD (Chung et al. 2025)
-----------------------
k(x, y) = exp(−|x − y|² / (2 b²)) over all samples, times 100. The bandwidth b is
the median distance between two different samples **of the reference set**, so
that all systems on a benchmark are measured with the same kernel. kadtk takes
the median over the second argument of its function, whichever set that is, adds
1e-8 to 2b², works in float32 and takes the lower of the two middle values for
the median; here the second argument is always the reference, nothing is added,
all is float64, and the median is the usual one. The median is over all pairs up
to `bandwidth_pairs`; above that, over all pairs of a seeded random subset of
the reference.

How it is computed
------------------
All of these are weighted sums Σ_ij u_i k_ij v_j: a subset of KID is a vector of
zeros and ones, a resample of the bootstrap a vector of counts. The kernel is
made in tiles, once, and every tile is summed with all the weights before the
next is made; memory stays at a few tiles and the weights. A sum over all pairs
has no statistic of fixed size that parts could merge: the samples themselves
are read again, block by block. In a resample, a pair of
copies of one sample is no pair of different samples and does not enter; a
resample of nothing but copies has no MMD² and is left out. The
replicates of KID are its expectation over subsets, MMD² of the whole resample,
so its interval leaves out the noise of drawing subsets.

References
----------
Gretton et al., A Kernel Two-Sample Test, JMLR 13, 2012.
Bińkowski et al., Demystifying MMD GANs, 2018, arXiv:1801.01401.
Chung et al., KAD: No More FAD!, 2025, arXiv:2502.15602.
KID agrees with hkchengrex/av-benchmark@050a5cd `metrics/kid.py` on float64 to
1e-9 relative, KAD with the definition above (upstream: github.com/YoonjinXD/kadtk).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from v2abench.contracts import Bootstrap, Direction, Features, Score, Stream
from v2abench.metrics.bootstrap import clip_counts, recentred
from v2abench.metrics.samples import (
    Floats,
    Matrix,
    Samples,
    blocks,
    gather_sets,
    one_sided,
    row_mean,
    too_few,
)

Kernel = Callable[[Floats, Floats], Floats]
"""From samples (n, d) and (m, d) to the kernel's values (n, m)."""

_BLOCK = 1 << 22
"""Kernel values held at once: 32 MiB."""


def polynomial_kernel(degree: int = 3, gamma: float | None = None, coefficient: float = 1.0) -> Kernel:
    """k(x, y) = (γ x·y + coefficient)^degree; γ is 1/d unless given."""

    def kernel(first: Floats, second: Floats) -> Floats:
        scale = 1 / first.shape[1] if gamma is None else gamma
        values: Floats = (scale * (first @ second.T) + coefficient) ** degree
        return values

    return kernel


def gaussian_kernel(bandwidth: float) -> Kernel:
    """k(x, y) = exp(−|x − y|² / (2 bandwidth²))."""

    def kernel(first: Floats, second: Floats) -> Floats:
        values = _squared_distances(first, second)
        values /= -2 * bandwidth**2
        exponentials: Floats = np.exp(values, out=values)
        return exponentials

    return kernel


def squared_mmd(
    generated: Matrix, reference: Matrix, kernel: Kernel, generated_weights: Floats, reference_weights: Floats
) -> Floats:
    """MMD² of each of several weightings of the same samples: (weightings,).

    Samples (n, d) and (m, d) float64; weights (weightings, n) and (weightings, m),
    how often a sample counts. Pairs of a sample with itself never enter.
    """
    within = [
        _weighted_sums(kernel, samples, samples, weights, weights, same=True)
        / (weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1))
        for samples, weights in ((generated, generated_weights), (reference, reference_weights))
    ]
    across = _weighted_sums(kernel, generated, reference, generated_weights, reference_weights, same=False)
    between = across / (generated_weights.sum(axis=1) * reference_weights.sum(axis=1))
    mmd: Floats = within[0] + within[1] - 2 * between
    return mmd


def kernel_inception_distance(
    generated: Matrix,
    reference: Matrix,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    kernel: Kernel | None = None,
    seed: int = 2020,
) -> tuple[float, float]:
    """KID between samples (n, d) and (m, d): mean and population std over subsets.

    `kernel` is the cubic one of the module's docstring unless given.
    """
    weights = _subset_weights(len(generated), len(reference), subsets, subset_size, seed)
    values = squared_mmd(generated, reference, kernel or polynomial_kernel(), *weights)
    return float(values.mean()), float(values.std())


def kernel_audio_distance(generated: Matrix, reference: Matrix, bandwidth: float | None = None) -> float:
    """KAD between samples (n, d) and (m, d), times 100.

    `bandwidth` is the median distance within `reference` unless given.
    """
    first, second = _centred(generated, reference)
    kernel = gaussian_kernel(median_distance(second) if bandwidth is None else bandwidth)
    return 100 * float(squared_mmd(first, second, kernel, *_ones(first, second))[0])


def median_distance(samples: Matrix, pairs: int = 5_000_000, seed: int = 0) -> float:
    """The median Euclidean distance between two different rows of `samples` (n, d).

    With more than `pairs` pairs, over those of a random subset of rows, drawn
    without replacement by NumPy's default generator with `seed`.
    """
    most = int((1 + np.sqrt(1 + 8 * pairs)) / 2)
    if len(samples) > most:
        samples = samples[np.random.default_rng(seed).choice(len(samples), size=most, replace=False)]
    chosen = samples[:]
    distances = np.sqrt(_squared_distances(chosen, chosen))
    return float(np.median(distances[np.triu(np.ones(distances.shape, dtype=bool), k=1)]))


def _squared_distances(first: Floats, second: Floats) -> Floats:
    squared = first @ second.T
    squared *= -2
    squared += np.einsum("ij,ij->i", first, first)[:, None]
    squared += np.einsum("ij,ij->i", second, second)
    distances: Floats = np.maximum(squared, 0, out=squared)
    return distances


def _weighted_sums(
    kernel: Kernel, first: Matrix, second: Matrix, left: Floats, right: Floats, *, same: bool
) -> Floats:
    """Σ_ij left_ci k(first_i, second_j) right_cj for each c; without i = j where both are the `same`."""
    sums = np.zeros(len(left))
    for across, others in blocks(second):
        step = max(1, _BLOCK // len(others))
        for start in range(0, len(first), step):
            values = kernel(np.asarray(first[start : start + step], dtype=np.float64), others)
            if same:
                here = np.arange(max(start, across.start), min(start + len(values), across.stop))
                values[here - start, here - across.start] = 0
            sums += np.einsum("ci,ic->c", left[:, start : start + step], values @ right[:, across].T)
    return sums


def _subset_weights(
    generated: int, reference: int, subsets: int, subset_size: int, seed: int
) -> tuple[Floats, Floats]:
    size = min(generated, reference, subset_size)
    rng = np.random.RandomState(seed)
    weights = np.zeros((subsets, generated)), np.zeros((subsets, reference))
    for subset in range(subsets):
        for side in weights:
            side[subset, rng.choice(side.shape[1], size, replace=False)] = 1
    return weights


def _ones(generated: Matrix, reference: Matrix) -> tuple[Floats, Floats]:
    return np.ones((1, len(generated))), np.ones((1, len(reference)))


def _centred(generated: Matrix, reference: Matrix) -> tuple[Matrix, Matrix]:
    """Both sets around the mean of the reference, where distances lose fewest digits."""
    mean = row_mean(reference)
    return generated - mean, reference - mean


def _resamples(
    generated: Samples, reference: Samples, bootstrap: Bootstrap | None, name: str
) -> tuple[Floats, Floats]:
    """The weights of the replicates, none of them where no interval is wanted or possible."""
    counts = bootstrap and clip_counts(generated.clips, reference.clips, bootstrap, name)
    if not counts:
        return np.empty((0, len(generated.rows))), np.empty((0, len(reference.rows)))
    weights = generated.row_weights(counts[0]), reference.row_weights(counts[1])
    defined = np.logical_and(*((side > 0).sum(axis=1) > 1 for side in weights))
    return weights[0][defined], weights[1][defined]


@dataclass(frozen=True)
class KernelInceptionDistance:
    """KID over a set feature `embedding`, (d,) or (examples, d) a clip."""

    name: str = "KID"
    embedding: str = "aisfx.embedding"
    subsets: int = 100
    subset_size: int = 1000
    degree: int = 3
    gamma: float | None = None
    coefficient: float = 1.0
    seed: int = 2020
    paired: bool = False
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.LOWER
    unit: ClassVar[str] = ""
    citation: ClassVar[str] = "Bińkowski et al. 2018, arXiv:1801.01401"

    def __post_init__(self) -> None:
        if self.subsets < 1 or self.subset_size < 2:
            raise ValueError("subsets needs to be at least 1, subset_size at least 2")

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """Embeddings of both sides."""
        return {"generated": (self.embedding,), "reference": (self.embedding,)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {
            "embedding": self.embedding,
            "subsets": self.subsets,
            "subset_size": self.subset_size,
            "degree": self.degree,
            "gamma": self.gamma,
            "coefficient": self.coefficient,
            "seed": self.seed,
            "paired": self.paired,
        }

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """The mean over subsets; None where a side has fewer than two samples."""
        generated, reference = gather_sets(features, self.embedding, paired=self.paired)
        if reason := too_few(generated, reference, self.embedding):
            return Score(None, (), warnings=(reason,))
        size = min(len(generated.rows), len(reference.rows))
        subsets = _subset_weights(
            len(generated.rows), len(reference.rows), self.subsets, self.subset_size, self.seed
        )
        resamples = _resamples(generated, reference, bootstrap, self.name)
        values = squared_mmd(
            generated.rows,
            reference.rows,
            polynomial_kernel(self.degree, self.gamma, self.coefficient),
            np.concatenate([subsets[0], resamples[0]]),
            np.concatenate([subsets[1], resamples[1]]),
        )
        value = float(values[: self.subsets].mean())
        small = f"subsets hold {size} samples, not {self.subset_size}: the smaller side has no more"
        return Score(
            value,
            generated.clips,
            interval=recentred(value, values[self.subsets :], bootstrap),
            details={"std": float(values[: self.subsets].std())},
            warnings=(*((small,) if size < self.subset_size else ()), *one_sided(generated, reference)),
            replicates=values[self.subsets :],
        )


@dataclass(frozen=True)
class KernelAudioDistance:
    """KAD over a set feature `embedding`, (d,) or (examples, d) a clip, times 100."""

    name: str = "KAD"
    embedding: str = "aisfx.embedding"
    bandwidth_pairs: int = 5_000_000
    seed: int = 0
    paired: bool = False
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.LOWER
    unit: ClassVar[str] = "1e-2"
    citation: ClassVar[str] = "Chung et al. 2025, arXiv:2502.15602"

    def __post_init__(self) -> None:
        if self.bandwidth_pairs < 1:
            raise ValueError(f"bandwidth_pairs is {self.bandwidth_pairs}, needs at least 1")

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """Embeddings of both sides."""
        return {"generated": (self.embedding,), "reference": (self.embedding,)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {
            "embedding": self.embedding,
            "bandwidth_pairs": self.bandwidth_pairs,
            "seed": self.seed,
            "paired": self.paired,
        }

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """100 MMD²; None for under two samples a side or a reference of equal samples."""
        generated, reference = gather_sets(features, self.embedding, paired=self.paired)
        if reason := too_few(generated, reference, self.embedding):
            return Score(None, (), warnings=(reason,))
        first, second = _centred(generated.rows, reference.rows)
        bandwidth = median_distance(second, self.bandwidth_pairs, self.seed)
        # Equal rows leave a distance of rounding size, not exactly 0.
        if bandwidth <= 1e-9 * max(np.abs(block).max() for _, block in blocks(reference.rows)):
            reason = (
                f"most of the reference's samples of {self.embedding} are equal: their median distance is 0"
            )
            return Score(None, (), warnings=(reason,))
        resamples = _resamples(generated, reference, bootstrap, self.name)
        whole = _ones(first, second)
        values = 100 * squared_mmd(
            first,
            second,
            gaussian_kernel(bandwidth),
            np.concatenate([whole[0], resamples[0]]),
            np.concatenate([whole[1], resamples[1]]),
        )
        value = float(values[0])
        return Score(
            value,
            generated.clips,
            interval=recentred(value, values[1:], bootstrap),
            details={"bandwidth": bandwidth},
            warnings=one_sided(generated, reference),
            replicates=values[1:],
        )
