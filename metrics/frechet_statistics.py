"""The numerics of the Fréchet distance: exact at every rank, and cheap to repeat.

Goal
----
FD = |m1 − m2|² + tr C1 + tr C2 − 2 tr (C1 C2)^½ of two sets of samples, and of
many resamples of them for a bootstrap, in float64.

The trace of the root
---------------------
The usual `scipy.linalg.sqrtm(C1 C2)` takes, for fewer samples than dimensions,
the root of a singular matrix: slow, sometimes complex, sometimes not finite.
Instead, with X̂ = (X − m1)/√(n1−1), Ŷ likewise and K = X̂ Ŷᵀ,

    tr (C1 C2)^½ = sum of the singular values of K,    tr C1 = |X̂|²_F

because C1 C2 = X̂ᵀX̂ ŶᵀŶ has the non-zero eigenvalues of K Kᵀ. This holds for
every rank, is real, and needs no covariance. A side with more samples than
dimensions is replaced by the triangular factor R of its QR, which has the same
X̂ᵀX̂.

Where the roots of eigenvalues are as good as singular values
-------------------------------------------------------------
The eigenvalues of K Kᵀ, or of Lᵀ C2 L with L Lᵀ = C1 for two tall sides, come
three times faster, but squaring costs the small ones their digits. By Weyl's
inequality each is off by at most δ, a few roundings of the matrix's norm, so a
root √λ is off by at most δ/√λ, and never by more than √δ. These bounds are added
up; where they could reach 1e-6 of the distance, or an eigenvalue cannot be told
from 0, singular values are taken instead: for sets that are alike, steep spectra,
dead dimensions. The bound is a worst case; what passes deviates by less than 1e-9
(tested on white to steep spectra). A bootstrap replicate is content with a bound of 1e-3.

Resamples
---------
A resample is a vector of weights w (how often each sample was drawn), and scales
row i by √w_i; samples that were not drawn drop out, so the matrix of a bootstrap
replicate has about 0.63 n rows. Where neither side has more samples than
dimensions, all replicates share the products X Yᵀ, of which a replicate takes
rows and columns.

Memory
------
A side with more samples than dimensions is never in memory as a whole: its
covariance is merged, and its R folded, block by block (see `moments`), so memory
is a few times d² plus a block, however many samples there are. Up to one block
it is all there at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from v2abench.metrics.moments import moments
from v2abench.metrics.samples import (
    BLOCK_ROWS,
    Floats,
    Integers,
    Matrix,
    StackedRows,
    blocks,
    row_mean,
    row_wise,
)

_ROUNDING = 16 * float(np.finfo(np.float64).eps)
"""Bound on the error of a symmetric eigenvalue, relative to the matrix's norm."""


@dataclass(frozen=True)
class _Side:
    """Samples around their mean: rows (n, d), mean (d,), squared lengths (n,)."""

    rows: Matrix
    mean: Floats
    squares: Floats

    @classmethod
    def of(cls, samples: Matrix) -> _Side:
        if not isinstance(samples, StackedRows):
            samples = np.asarray(samples, dtype=np.float64)
        mean = row_mean(samples)
        rows = samples - mean
        return cls(rows, mean, np.asarray(row_wise(_squared_lengths, rows)))


@dataclass(frozen=True)
class _Resample:
    """A weighted side.

    `drawn` indexes the samples of positive weight w, `scale` is √(w / (Σw − 1))
    of these, `shift` the weighted mean minus the side's mean, `trace` that of
    the covariance.
    """

    side: _Side
    weights: Floats
    drawn: Integers
    scale: Floats
    shift: Floats
    trace: float

    @classmethod
    def of(cls, side: _Side, weights: Floats | None) -> _Resample:
        weights = np.ones(len(side.rows)) if weights is None else weights
        total = float(weights.sum())
        shift = np.asarray(sum(weights[where] @ block for where, block in blocks(side.rows)) / total)
        trace = float(weights @ side.squares - total * (shift @ shift)) / (total - 1)
        drawn = np.flatnonzero(weights)
        return cls(side, weights, drawn, np.sqrt(weights[drawn] / (total - 1)), shift, trace)

    @property
    def tall(self) -> bool:
        """Whether there are more samples than dimensions."""
        return len(self.drawn) > len(self.shift)

    def rows(self, some: slice = slice(None)) -> Floats:
        """X̂, whose X̂ᵀ X̂ is the covariance, or `some` of its rows."""
        rows = self.side.rows[self.drawn[some]]
        rows -= self.shift
        rows *= self.scale[some, None]
        return rows

    def factor(self) -> Floats:
        """X̂, or the R of its QR where that is smaller."""
        if not self.tall:
            return self.rows()
        factor = np.empty((0, len(self.shift)))
        for start in range(0, len(self.drawn), BLOCK_ROWS):
            block = np.concatenate([factor, self.rows(slice(start, start + BLOCK_ROWS))])
            factor = scipy.linalg.qr(block, mode="r", check_finite=False)[0][: len(self.shift)]
        return factor

    def covariance(self) -> Floats:
        """Of a side with more samples than dimensions."""
        return moments(self.side.rows, self.weights).covariance


@dataclass(frozen=True)
class FrechetStatistics:
    """Two sets of samples, prepared once for the distances of many resamples."""

    generated: _Side
    reference: _Side

    @classmethod
    def of(cls, generated: Matrix, reference: Matrix) -> FrechetStatistics:
        """From samples (n, d) and (m, d) of any float dtype."""
        return cls(_Side.of(generated), _Side.of(reference))

    def distance(
        self,
        generated_weights: Floats | None = None,
        reference_weights: Floats | None = None,
        *,
        replicate: bool = False,
    ) -> float:
        """FD where sample i counts w_i times; without weights every sample once.

        Weights are (n,) and (m,), none negative, with a sum of at least 2 a side.
        A `replicate` of a bootstrap gets a bound of 1e-3, and is in truth far nearer.
        """
        first = _Resample.of(self.generated, generated_weights)
        second = _Resample.of(self.reference, reference_weights)
        offset = (self.generated.mean + first.shift) - (self.reference.mean + second.shift)
        rest = float(offset @ offset) + first.trace + second.trace
        cross = None if first.tall and second.tall else self._cross(first, second)
        squares = (
            _from_covariances(first.covariance(), second.covariance())
            if cross is None
            else _from_cross(cross)
        )
        if squares and squares.error <= squares.allowed(replicate) * (rest - 2 * squares.root):
            return max(0.0, rest - 2 * squares.root)
        cross = first.factor() @ second.factor().T if cross is None else cross
        return max(0.0, rest - 2 * float(scipy.linalg.svdvals(cross, check_finite=False).sum()))

    @cached_property
    def _products(self) -> Floats | None:
        most = max(len(self.generated.rows), len(self.reference.rows))
        return self.generated.rows[:] @ self.reference.rows[:].T if most <= len(self.generated.mean) else None

    def _cross(self, first: _Resample, second: _Resample) -> Floats:
        """K of a resample, by multiplying out its two shifts where products are shared."""
        if self._products is None:
            return first.factor() @ second.factor().T
        by_second = self.generated.rows[:] @ second.shift
        by_first = self.reference.rows[:] @ first.shift - first.shift @ second.shift
        cross = self._products[np.ix_(first.drawn, second.drawn)]
        cross -= by_second[first.drawn, None]
        cross -= by_first[second.drawn]
        cross *= first.scale[:, None]
        cross *= second.scale
        return cross


@dataclass(frozen=True)
class _Squares:
    """Squared singular values of K, ascending, each off by `rounding` at most."""

    values: NDArray[np.floating]
    rounding: float

    @property
    def root(self) -> float:
        """Tr (C1 C2)^½, the sum of their roots."""
        return float(np.sqrt(np.maximum(self.values, 0)).sum())

    @property
    def error(self) -> float:
        """The most by which `root` may move the distance."""
        if self.rounding == 0:
            return 0.0
        roots = np.sqrt(np.maximum(self.values, self.rounding))
        return 2 * float((self.rounding / roots).sum())

    def allowed(self, replicate: bool) -> float:
        """The relative error that the distance may have."""
        if replicate:
            return 1e-3
        singular = self.values.size > 0 and self.values[0] <= self.rounding
        return 0.0 if singular else 1e-6


def _squared_lengths(rows: Floats) -> Floats:
    lengths: Floats = np.einsum("ij,ij->i", rows, rows)
    return lengths


def _from_cross(cross: Floats) -> _Squares:
    """From the eigenvalues of K Kᵀ."""
    small = cross if len(cross) <= cross.shape[1] else cross.T
    eigenvalues = np.linalg.eigvalsh(small @ small.T)
    # Centring gives a side that is not tall a null vector, its scales: one eigenvalue is 0.
    return _Squares(eigenvalues[1:], _ROUNDING * max(0.0, float(eigenvalues[-1])))


def _from_covariances(covariance: Floats, other: Floats) -> _Squares | None:
    """From the eigenvalues of Lᵀ C2 L, for C1 and C2; None for a singular C1."""
    try:
        factor = scipy.linalg.cholesky(covariance, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    eigenvalues = np.linalg.eigvalsh(factor.T @ other @ factor)
    norms = float(np.linalg.norm(covariance)) * float(np.linalg.norm(other))
    return _Squares(eigenvalues, _ROUNDING * norms)
