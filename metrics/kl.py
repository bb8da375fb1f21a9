"""Kullback-Leibler divergence between the classes heard in generated and in real sound.

Goal
----
Does the generated sound of a clip contain the same events as its true sound? A
tagging network gives logits for both, and the score is how much of the
reference's class distribution the generated one misses.

    KL = mean over clips of Σ_c p_c (log p_c − log q_c)

with p = softmax(reference logits), q = softmax(generated logits), natural
logarithm. The direction is KL(reference ‖ generated). Lower is better, 0 for
equal distributions.

Conventions
-----------
- Clips pair by id; a clip without logits on either side does not enter.
- Logits are (classes,) a clip. All in float64 by log-softmax, without an epsilon.
- `epsilon` reproduces audioldm_eval, which takes log(q + 1e-6).
- The sigmoid variant is Σ_c σ(r)(log σ(r) − log σ(g)), without the (1 − σ)
  term. It is no divergence and may be negative; it is here because older tables
  report it.

References
----------
Kullback and Leibler 1951. Iashin and Rahtu, Taming Visually Guided Sound
Generation, 2021, arXiv:2110.08791 (as a metric of sound generation).
Agrees with hkchengrex/av-benchmark@050a5cd `metrics/kl.py` (float32 there) to
1e-6 relative, and with audioldm_eval 0.0.3 `metrics/kl.py` for epsilon 1e-6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import scipy.special

from v2abench.contracts import Bootstrap, Direction, Features, Score, Stream
from v2abench.metrics.bootstrap import UNBOUNDED, mean_score
from v2abench.metrics.samples import Floats, gather_vectors, paired_clips, row_wise


def softmax_divergences(reference: Floats, generated: Floats, epsilon: float = 0.0) -> Floats:
    """KL(softmax(reference) ‖ softmax(generated)) of each row, in nats.

    Both (clips, classes) logits of any float dtype; returns (clips,) float64.
    With `epsilon` the generated probabilities are raised by it first.
    """
    log_p = scipy.special.log_softmax(np.asarray(reference, dtype=np.float64), axis=1)
    log_q = scipy.special.log_softmax(np.asarray(generated, dtype=np.float64), axis=1)
    if epsilon:
        return _expected(log_p, np.log(np.exp(log_q) + epsilon))
    # A divergence is not negative; rounding of nearly equal rows may be.
    return np.maximum(_expected(log_p, log_q), 0.0)


def sigmoid_divergences(reference: Floats, generated: Floats, epsilon: float = 0.0) -> Floats:
    """Σ_c σ(r)(log σ(r) − log σ(g)) of each row: see the module's conventions."""
    log_p = scipy.special.log_expit(np.asarray(reference, dtype=np.float64))
    log_q = scipy.special.log_expit(np.asarray(generated, dtype=np.float64))
    return _expected(log_p, np.log(np.exp(log_q) + epsilon) if epsilon else log_q)


def _expected(log_p: Floats, log_q: Floats) -> Floats:
    divergences: Floats = np.einsum("ij,ij->i", np.exp(log_p), log_p - log_q)
    return divergences


@dataclass(frozen=True)
class KLDivergence:
    """KL(reference ‖ generated) over the feature `logits`, (classes,) a clip."""

    name: str = "KL"
    logits: str = "aisfx.logits"
    variant: Literal["softmax", "sigmoid"] = "softmax"
    epsilon: float = 0.0
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.LOWER
    unit: ClassVar[str] = "nat"
    citation: ClassVar[str] = "Iashin and Rahtu 2021, arXiv:2110.08791"

    def __post_init__(self) -> None:
        if self.variant not in ("softmax", "sigmoid"):
            raise ValueError(f"variant is {self.variant!r}, needs 'softmax' or 'sigmoid'")

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """Logits of both sides."""
        return {"generated": (self.logits,), "reference": (self.logits,)}

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {"logits": self.logits, "variant": self.variant, "epsilon": self.epsilon}

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """The mean over the clips that both sides have, with one value a clip."""
        clips = paired_clips(features, ("generated", self.logits), ("reference", self.logits))
        if not clips:
            return Score(None, (), warnings=(f"no clip has {self.logits} of generated and of reference",))
        divergences = softmax_divergences if self.variant == "softmax" else sigmoid_divergences
        values = row_wise(
            partial(divergences, epsilon=self.epsilon),
            gather_vectors(features, "reference", self.logits, clips).rows,
            gather_vectors(features, "generated", self.logits, clips).rows,
        )
        proper = self.variant == "softmax" and self.epsilon == 0
        return mean_score(clips, values, bootstrap, (0.0, math.inf) if proper else UNBOUNDED)
