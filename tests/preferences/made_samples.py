"""A made model that knocks, and components without weights, for the tests of preference data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from knocking import SAMPLE_RATE, knocks

from v2abench.contracts import Generated, ModelInfo, Request
from v2abench.errors import ClipFault
from v2abench.media.audio import Audio
from v2abench.metrics.audioscore_components import Component
from v2abench.models import NamedModel

PROTOCOL = """
name: tiny
version: 1
summary: Levels, on two seconds.
window: {seconds: 2.0, minimum: 0.3, tolerance: 0.1}
metrics:
  - {metric: loudness, name: Loudness}
"""

COMPONENTS = (
    Component("loud", "value", (("generated", "levels.loudness"),)),
    Component(
        "level", "difference", (("generated", "levels.loudness"), ("reference", "levels.loudness")), sign=-1
    ),
    Component("peak", "value", (("generated", "levels.true_peak"),), speech=True),
)


@dataclass(frozen=True)
class Knocker:
    """Knocks of the seed, at a level of its own; it cannot do `faulty` clips."""

    faulty: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)
    info: ModelInfo = field(default_factory=lambda: ModelInfo("knocker", SAMPLE_RATE))
    recipe: Mapping[str, str] = field(default_factory=lambda: {"made": "in tests"})

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        for request in requests:
            self.asked.append(request.clip.id)
            if request.clip.id in self.faulty:
                yield Generated(request.clip.id, fault=ClipFault("undefined", "no knocks for this one"))
                continue
            sound = knocks(request.seed % 1000, request.seconds)[1]
            gain = 10 ** (-(request.seed % 30) / 20)
            yield Generated(
                request.clip.id, audio=Audio((sound.samples * gain).astype(np.float32), SAMPLE_RATE)
            )


def named(model: Knocker) -> NamedModel:
    return NamedModel(model, model.info, model.info.name)
