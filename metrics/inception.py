"""Inception score (IS): are the generated sounds clear, and are they varied?

Goal
----
A tagging network gives a class distribution p for every generated sound. IS is
large when each p is sharp and their mean is flat:

    IS = exp( mean_i KL(p_i ‖ mean_j p_j) )

computed on `splits` disjoint parts and averaged. Between 1 (all sounds alike)
and the number of classes; higher is better. It knows no reference.

Conventions
-----------
- p is the softmax of the logits, although audio taggers are multi-label; the
  field does so. Logits are (classes,) a clip; float64.
- Rows are the clips sorted by id, then permuted by NumPy's legacy
  `RandomState(seed).permutation`, seed 2020; `seed=None` leaves them sorted.
- Split k holds rows k·n//splits up to (k+1)·n//splits. The value is the mean
  over splits, `details["std"]` their population standard deviation (ddof 0).
- IS rises with the size of a split, so the number of splits and of clips belong
  to the number: scores of different n must not be compared.
- Fewer clips than splits leave it undefined (upstream gives NaN).

With H the entropy, mean_i KL(p_i ‖ m) = H(m) − mean_i H(p_i) for m the mean of
the p_i; that form needs no logarithm of a probability that underflowed.

The interval is a re-centred bootstrap over clips: a resample is drawn, cut into
splits in the order drawn, and scored.

References
----------
Salimans et al., Improved Techniques for Training GANs, 2016, arXiv:1606.03498.
Agrees with hkchengrex/av-benchmark@050a5cd `metrics/isc.py` to 1e-9 relative.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import scipy.special

from v2abench.contracts import Bootstrap, Direction, Features, Score, Stream
from v2abench.metrics.bootstrap import generator, recentred
from v2abench.metrics.samples import Floats, Integers, Matrix, blocks, gather_vectors


def inception_score(logits: Matrix, splits: int = 10, seed: int | None = 2020) -> tuple[float, float]:
    """IS of `logits` (clips, classes): mean and population std over the splits.

    Raises `ValueError` for fewer clips than splits.
    """
    clips = len(logits)
    if clips < splits:
        raise ValueError(f"{clips} clips cannot fill {splits} splits")
    order = np.arange(clips) if seed is None else np.random.RandomState(seed).permutation(clips)
    scores = _scores(logits, [_cut(order, splits)])[0]
    return float(scores.mean()), float(scores.std())


def _cut(order: Integers, splits: int) -> list[Integers]:
    edges = [k * len(order) // splits for k in range(splits + 1)]
    return [order[start:stop] for start, stop in itertools.pairwise(edges)]


def _scores(logits: Matrix, drawings: Sequence[list[Integers]]) -> Floats:
    """exp(H(mean p) − mean H(p)) of each part of each drawing: (drawings, parts).

    The parts are row indices. Of a part only the sums of p and of H are kept.
    """
    classes, splits = logits.shape[1], len(drawings[0])
    marginals, entropies = np.zeros((len(drawings), splits, classes)), np.zeros((len(drawings), splits))
    for where, block in blocks(logits):
        probabilities = scipy.special.softmax(block, axis=1)
        entropy = scipy.special.entr(probabilities).sum(axis=1)
        for drawing, parts in enumerate(drawings):
            shares = np.stack([_shares(part, where) for part in parts])
            marginals[drawing] += shares @ probabilities
            entropies[drawing] += shares @ entropy
    scores: Floats = np.exp(scipy.special.entr(marginals).sum(axis=2) - entropies)
    return scores


def _shares(part: Integers, where: slice) -> Floats:
    """How much of a part each row of a block is."""
    here = part[(part >= where.start) & (part < where.stop)] - where.start
    shares: Floats = np.bincount(here, minlength=where.stop - where.start) / len(part)
    return shares


@dataclass(frozen=True)
class InceptionScore:
    """IS of the generated clips over the feature `logits`, (classes,) a clip."""

    name: str = "IS"
    logits: str = "aisfx.logits"
    splits: int = 10
    seed: int | None = 2020
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.HIGHER
    unit: ClassVar[str] = ""
    citation: ClassVar[str] = "Salimans et al. 2016, arXiv:1606.03498"

    def __post_init__(self) -> None:
        if self.splits < 1:
            raise ValueError(f"splits is {self.splits}, needs at least 1")

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """Logits of the generated side."""
        return {"generated": (self.logits,)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {"logits": self.logits, "splits": self.splits, "seed": self.seed}

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """The mean over splits; None where there are fewer clips than splits."""
        samples = gather_vectors(features, "generated", self.logits)
        if len(samples.clips) < self.splits:
            reason = (
                f"needs at least {self.splits} generated clips with {self.logits}, has {len(samples.clips)}"
            )
            return Score(None, (), warnings=(reason,))
        value, std = inception_score(samples.rows, self.splits, self.seed)
        replicates = self._replicates(samples.rows, bootstrap)
        return Score(
            value,
            samples.clips,
            recentred(value, replicates, bootstrap, (1.0, float(samples.rows.shape[1]))),
            details={"std": std},
            replicates=replicates,
        )

    def _replicates(self, logits: Matrix, bootstrap: Bootstrap | None) -> Floats | None:
        if bootstrap is None or len(logits) < 2:
            return None
        rng = generator(bootstrap, self.name)
        drawings = [
            _cut(rng.integers(len(logits), size=len(logits)), self.splits)
            for _ in range(bootstrap.replicates)
        ]
        return np.asarray(_scores(logits, drawings).mean(axis=1)) if drawings else None
