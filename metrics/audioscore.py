"""AudioScore: how likely would a person call this sound good?

Goal
----
Mean P(Good) over clips, by a small classifier over component scores (meaning, text, timing,
clarity, quality) that was fitted on ratings Good, Medium, Bad by people. `details` has the shares
of clips whose most likely class is each of the three.

Conventions
-----------
- `fitted` names a shipped AudioScore (`impacts`) or a file that `v2abench audioscore fit` wrote.
- It holds for the networks, window and texts it was fitted with: with others it has no value.
- A clip without any component has no value; a single missing component counts as its mean.
- The shipped one was fitted on the ratings of a noisy oracle of the embedded benchmark, not of
  people. No public one exists for real clips.

References
----------
V2A-DPO, arXiv:2603.11089. Its weights and ratings were not published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from v2abench.contracts import Bootstrap, Direction, Features, Score, Stream
from v2abench.errors import UnavailableError
from v2abench.metrics.audioscore_classifier import CLASSES, GOOD, Classifier, of_bytes, read_classifier
from v2abench.metrics.audioscore_components import component_values
from v2abench.metrics.bootstrap import mean_score
from v2abench.metrics.samples import Floats

SHIPPED = ("impacts",)


@cache
def open_audioscore(name: str) -> Classifier:
    """Return the shipped AudioScore of that name, or the one in that file.

    Raises `V2ABenchError` for what is neither.
    """
    if name in SHIPPED:
        path = files(__package__).joinpath("fitted", f"{name}.safetensors")
        if not path.is_file():
            raise UnavailableError(
                f"the package has no AudioScore {name!r}; fit one with `v2abench audioscore`"
            )
        return of_bytes(path.read_bytes(), name)
    return read_classifier(Path(name))


@dataclass(frozen=True)
class AudioScore:
    """Mean P(Good) of a fitted AudioScore, with one value a clip."""

    name: str = "AudioScore"
    fitted: str = "impacts"
    subset: Literal["all", "speech"] = "all"

    direction: ClassVar[Direction] = Direction.HIGHER
    unit: ClassVar[str] = "P(Good)"
    citation: ClassVar[str] = "V2A-DPO, arXiv:2603.11089"

    @property
    def classifier(self) -> Classifier:
        """The fitted classifier."""
        return open_audioscore(self.fitted)

    @property
    def stands_on(self) -> Mapping[str, str]:
        """The network fingerprints, window and text source that it was fitted with; others are refused."""
        return self.classifier.stands_on

    @property
    def speech_only(self) -> tuple[str, ...]:
        """The features that are wanted of clips of speech only."""
        return tuple(
            name
            for component in self.classifier.components
            if component.speech
            for _, name in component.features
        )

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """What all components need together."""
        needs: dict[Stream, tuple[str, ...]] = {}
        for component in self.classifier.components:
            for stream, name in component.features:
                needs[stream] = tuple(dict.fromkeys((*needs.get(stream, ()), name)))
        return needs

    @property
    def parameters(self) -> Mapping[str, object]:
        """The file, by its contents."""
        return {"fitted": self.classifier.digest}

    def components(self, features: Features) -> tuple[tuple[str, ...], Floats]:
        """Return the clips that have any component, and (clips, k) values, NaN where one is missing."""
        columns = [
            component_values(component, features, self.classifier.prior(component))
            for component in self.classifier.components
        ]
        clips = tuple(sorted(set().union(*columns)))
        rows = [[column.get(clip, np.nan) for column in columns] for clip in clips]
        return clips, np.array(rows, dtype=np.float64).reshape(len(clips), len(columns))

    def grade(self, features: Features) -> dict[str, Floats]:
        """Return (P(Good), P(Medium), P(Bad)) by clip id."""
        clips, values = self.components(features)
        return dict(zip(clips, self.classifier.probabilities(values), strict=True))

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """The mean P(Good) over the clips that have any component."""
        clips, values = self.components(features)
        if not clips:
            return Score(None, (), warnings=("no clip has any of AudioScore's components",))
        probabilities = self.classifier.probabilities(values)
        score = mean_score(clips, probabilities[:, GOOD], bootstrap, (0.0, 1.0))
        said = np.bincount(probabilities.argmax(axis=1), minlength=len(CLASSES)) / len(clips)
        details = {f"share_{name.lower()}": float(share) for name, share in zip(CLASSES, said, strict=True)}
        warnings = self._incomplete(values)
        return replace(score, details=details, warnings=warnings)

    def _incomplete(self, values: Floats) -> tuple[str, ...]:
        """Say which components are missing where they should not be."""
        lacking = np.isnan(values).sum(axis=0)
        return tuple(
            f"component {component.name} is missing for {count} of {len(values)} clips and counts as its mean"
            for component, count in zip(self.classifier.components, lacking.tolist(), strict=True)
            if count and not component.speech
        )
