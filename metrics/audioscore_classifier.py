"""AudioScore's classifier: component scores in, P(Good), P(Medium), P(Bad) out; and its file.

Goal
----
Linear(k → 32) → ReLU → Linear(32 → 3) → softmax over standardised components (V2A-DPO). A
missing component enters as the mean, 0 after standardisation. `fit` of `audioscore_fit` makes one.

The file is one safetensors file: mean and deviation of the components, the four parameters and
the priors p̄ in float64; its metadata hold the card (JSON): the components, what they stand on
(fingerprints of the networks, window, text), the hash of the ratings, and the metrics of the fit.

References
----------
V2A-DPO, arXiv:2603.11089; hidden width, standardisation and missing values are v2abench's choice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy.special import softmax

from v2abench.errors import V2ABenchError
from v2abench.metrics.audioscore_components import Component
from v2abench.metrics.samples import Floats

CLASSES = ("Good", "Medium", "Bad")
GOOD, MEDIUM, BAD = range(3)
HIDDEN = 32
_PARAMETERS = ("mean", "deviation", "hidden.weight", "hidden.bias", "output.weight", "output.bias")
_PRIOR = "prior."


@dataclass(frozen=True, eq=False)
class Classifier:
    """A fitted AudioScore: `arrays` as in the file, `card` as in its metadata, `digest` of the file."""

    components: tuple[Component, ...]
    arrays: Mapping[str, Floats]
    card: Mapping[str, Any]
    digest: str

    @property
    def stands_on(self) -> Mapping[str, str]:
        """What the components were made with: network -> fingerprint, and `window`, `text`."""
        return dict(self.card["stands_on"])

    def prior(self, component: Component) -> Floats | None:
        """Return p̄ of an inception term, None of another component."""
        return self.arrays.get(_PRIOR + component.name)

    def standardised(self, values: Floats) -> Floats:
        """Return (n, k) components, NaN where missing, in deviations from the mean; 0 where missing."""
        given = np.asarray(values, dtype=np.float64)
        return np.nan_to_num((given - self.arrays["mean"]) / self.arrays["deviation"], nan=0.0)

    def probabilities(self, values: Floats) -> Floats:
        """Return (n, 3): P(Good), P(Medium), P(Bad) of (n, k) components, NaN where one is missing."""
        return self._forward(self.standardised(values))

    def reasons(self, values: Floats) -> Floats:
        """Return (n, k): by how much each component raises P(Good) − P(Bad) over its mean's.

        The difference between the sound as it is and the same with that component at its mean.
        """
        standard = self.standardised(values)
        whole = quality(self._forward(standard))
        without = np.repeat(standard[:, None], standard.shape[1], axis=1)
        without[:, np.arange(standard.shape[1]), np.arange(standard.shape[1])] = 0.0
        rest = quality(self._forward(without.reshape(-1, standard.shape[1])))
        return np.asarray(whole[:, None] - rest.reshape(standard.shape))

    def _forward(self, standard: Floats) -> Floats:
        hidden = standard @ self.arrays["hidden.weight"].T + self.arrays["hidden.bias"]
        logits = np.maximum(hidden, 0) @ self.arrays["output.weight"].T + self.arrays["output.bias"]
        return np.asarray(softmax(logits, axis=1))


def quality(probabilities: Floats) -> Floats:
    """Return P(Good) − P(Bad), (n,): one number to order sounds by."""
    return np.asarray(probabilities[:, GOOD] - probabilities[:, BAD])


def composite(values: Floats, components: Sequence[Component]) -> Floats:
    """Return (n,): the mean of the components, signed so that more is better, in deviations over the n.

    It is not calibrated and knows no ratings: it orders these n sounds among themselves and says
    nothing across sets. NaN counts as the mean; a component without spread says nothing.
    """
    present = ~np.isnan(values)
    counts = np.maximum(present.sum(axis=0), 1)
    mean = np.where(present, values, 0.0).sum(axis=0) / counts
    centred = np.where(present, values - mean, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=0) / counts)
    standard = np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 0)
    return np.asarray((standard * [component.sign for component in components]).mean(axis=1))


def as_bytes(components: Sequence[Component], arrays: Mapping[str, Floats], card: Mapping[str, Any]) -> bytes:
    """Return the file of a fitted AudioScore."""
    whole = {**card, "components": [component.as_data() for component in components]}
    return save(
        {name: np.ascontiguousarray(array, dtype=np.float64) for name, array in sorted(arrays.items())},
        {"audioscore": json.dumps(whole, sort_keys=True)},
    )


def of_bytes(data: bytes, source: str) -> Classifier:
    """Return the AudioScore of a file's bytes; `source` names it in errors."""
    try:
        arrays = load(data)
        card = json.loads(_metadata(data)["audioscore"])
        components = tuple(Component.of_data(entry) for entry in card["components"])
        _check(arrays, components)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise V2ABenchError(
            f"{source} is not a fitted AudioScore ({error}); make one with `v2abench audioscore fit`"
        ) from error
    return Classifier(components, arrays, card, sha256(data).hexdigest()[:16])


def read_classifier(path: Path) -> Classifier:
    """Return the AudioScore in a file; raises `V2ABenchError`."""
    if not path.is_file():
        raise V2ABenchError(f"{path} does not exist; make it with `v2abench audioscore fit`")
    return of_bytes(path.read_bytes(), str(path))


def _check(arrays: Mapping[str, Floats], components: Sequence[Component]) -> None:
    k = len(components)
    shapes = ((k,), (k,), (HIDDEN, k), (HIDDEN,), (len(CLASSES), HIDDEN), (len(CLASSES),))
    for name, shape in zip(_PARAMETERS, shapes, strict=True):
        if arrays[name].shape != shape:
            raise ValueError(f"{name} is {arrays[name].shape}, not {shape}")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")


def _metadata(data: bytes) -> Mapping[str, str]:
    """The metadata of a safetensors file: its header is JSON, after its length in 8 bytes."""
    length = int.from_bytes(data[:8], "little")
    found: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return found
