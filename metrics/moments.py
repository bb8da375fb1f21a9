"""Mean and covariance of samples as sufficient statistics that merge.

Goal
----
What the Fréchet distance needs of more samples than dimensions, in d² numbers
however many samples there are: their count, mean and covariance.

How parts merge
---------------
With n = n1 + n2 and δ = m2 − m1 (Chan, Golub and LeVeque),

    m = m1 + δ n2 / n,    (n − 1) C = (n1 − 1) C1 + (n2 − 1) C2 + δ δᵀ n1 n2 / n

which never subtracts large numbers from one another. Merging is exact but for
the rounding of its sums (tested to 1e-12 relative, for any cut and any order).
To the last bit it depends on the order of the sums, so `moments` always goes
through the fixed blocks of the sorted clips, in their order: that is why a
report is the same byte for byte however features were computed, sharded and
stored. A state that was kept can be gone on with: `moments(rest, after=state)`
is one pass over all, bit for bit, where `state` ends at the end of a block.

References
----------
Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance, The
American Statistician 37, 1983.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from v2abench.metrics.samples import Floats, Matrix, blocks


@dataclass(frozen=True)
class Moments:
    """Of samples that weigh `count` together: mean (d,), covariance (d, d) with denominator count − 1.

    The covariance of a single sample is 0.
    """

    count: float
    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, rows: Floats, weights: Floats | None = None) -> Moments:
        """From rows (n, d) float64 at once; row i counts w_i times, of which the sum is at least 1."""
        weights = np.ones(len(rows)) if weights is None else weights
        count = float(weights.sum())
        mean = weights @ rows / count
        drawn = np.flatnonzero(weights)
        centred = rows[drawn]
        centred -= mean
        centred *= np.sqrt(weights[drawn] / max(count - 1, 1))[:, None]
        return cls(count, mean, centred.T @ centred)

    def merge(self, other: Moments) -> Moments:
        """Those of both sets of samples together."""
        count = self.count + other.count
        shift = other.mean - self.mean
        scatter = (self.count - 1) * self.covariance
        scatter += (other.count - 1) * other.covariance
        scatter += np.outer(shift, shift) * (self.count * other.count / count)
        scatter /= count - 1
        return Moments(count, self.mean + shift * (other.count / count), scatter)


def moments(rows: Matrix, weights: Floats | None = None, after: Moments | None = None) -> Moments:
    """The moments of rows (n, d), merged in the order of their blocks, onto those of `after`.

    `weights` (n,) are none negative; at least one of them is 1 or more.
    """
    found = after
    for where, block in blocks(rows):
        drawn = None if weights is None else weights[where]
        if drawn is None or drawn.any():
            part = Moments.of(block, drawn)
            found = part if found is None else found.merge(part)
    if found is None:
        raise ValueError("no samples, so no moments")
    return found
