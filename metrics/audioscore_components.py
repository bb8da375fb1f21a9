"""The component scores that AudioScore is made of: one number a clip from each frozen network.

Goal
----
Five opinions of one generated sound, as in the V2A-DPO paper:

1. `ib`: the cosine of video and sound in a shared space;
2. `clap`: the cosine of text and sound in a shared space, where there is a text;
3. `desync`: the mean |offset| in seconds that a synchronisation network chooses;
4. `inception`: exp(KL(p ‖ p̄)), the clip's term of the inception score. The paper says
   "inception score", which a single clip does not have; with p̄ the mean class posterior of
   the reference sounds, the mean log of this term over a set is the log of its score;
5. `pesq`: wide-band PESQ against the video's own sound, for clips of speech only.

`PAPER` is this list. `IMPACTS` is its counterpart on the embedded benchmark: its networks
stand in for ImageBind, Synchformer and PANNs; `clap` is the probability that the tagger gives
to the materials which the prompt names; and in the place of PESQ, the one that knows the true
sound, stands `level`, the difference in loudness from it.

Conventions
-----------
- A component is missing for a clip (no text, no speech, network unusable): no value, never a code.
- `sign` is 1 where more is better, −1 where less is.
- Everything is float64.

References
----------
V2A-DPO, arXiv:2603.11089. The per-clip inception term is v2abench's own choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, cast, get_args

import numpy as np
from scipy.special import rel_entr, softmax

from v2abench.contracts import Bootstrap, Direction, Features, Score, Stream
from v2abench.metrics.bootstrap import mean_score
from v2abench.metrics.desync import OFFSETS, chosen_offsets
from v2abench.metrics.samples import Floats, blocks, by_clip, finite, gather_vectors, paired_clips

Kind = Literal["cosine", "text_probability", "offset", "inception_term", "value", "difference"]


@dataclass(frozen=True)
class Component:
    """One component: how it is computed (`kind`), from which features, and which way is better.

    `reach` is the greatest offset, in seconds, of an `offset`; a sound without any of the
    optional third feature (onsets) counts as `reach`.
    """

    name: str
    kind: Kind
    features: tuple[tuple[Stream, str], ...]
    sign: Literal[1, -1] = 1
    speech: bool = False
    reach: float = 2.0

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """The features by stream; an `inception_term` without a given prior needs more."""
        streams = dict.fromkeys(stream for stream, _ in self.features)
        return {s: tuple(name for stream, name in self.features if stream == s) for s in streams}

    def as_data(self) -> dict[str, Any]:
        """Return what a card keeps."""
        return asdict(self)

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Component:
        """Return the component that a card has kept; raises `ValueError` for another kind."""
        if data.get("kind") not in get_args(Kind):
            raise ValueError(f"there is no component of kind {data.get('kind')!r}")
        features = tuple((stream, name) for stream, name in data["features"])
        return cls(**{**data, "features": cast(tuple[tuple[Stream, str], ...], features)})


PAPER: tuple[Component, ...] = (
    Component(
        "ib", "cosine", (("generated", "imagebind_audio.embedding"), ("video", "imagebind_video.embedding"))
    ),
    Component("clap", "cosine", (("generated", "clap_audio.embedding"), ("text", "clap_text.embedding"))),
    Component("desync", "offset", (("generated", "synchformer.logits"),), sign=-1),
    Component("inception", "inception_term", (("generated", "cnn14.logits"),)),
    Component("pesq", "value", (("generated", "pesq.wideband"),), speech=True),
)

IMPACTS: tuple[Component, ...] = (
    Component(
        "ib", "cosine", (("generated", "impacts_audio.embedding"), ("video", "impacts_video.embedding"))
    ),
    Component(
        "clap",
        "text_probability",
        (("generated", "impacts_tagger.logits"), ("text", "impacts_words.classes")),
    ),
    Component(
        "desync",
        "offset",
        (("generated", "impacts_sync.logits"), ("generated", "impacts_onsets.times")),
        sign=-1,
        reach=1.0,
    ),
    Component("inception", "inception_term", (("generated", "impacts_tagger.logits"),)),
    Component(
        "level", "difference", (("generated", "levels.loudness"), ("reference", "levels.loudness")), sign=-1
    ),
)

SETS: Mapping[str, tuple[Component, ...]] = {"paper": PAPER, "impacts": IMPACTS}


def component_values(
    component: Component, features: Features, prior: Floats | None = None
) -> dict[str, float]:
    """Return the component by clip id, for the clips that have what it needs.

    `prior` (classes,) is p̄ of an `inception_term`.
    """
    clips = paired_clips(features, *component.features)
    return {
        clip: _KINDS[component.kind](
            component,
            [finite(by_clip(features, s, name)[clip], s, name, clip) for s, name in component.features],
            prior,
        )
        for clip in clips
    }


def reference_prior(component: Component, features: Features) -> Floats | None:
    """Return p̄, (classes,): the mean class posterior of the reference sounds, None where there are none."""
    samples = gather_vectors(features, "reference", component.features[0][1])
    if not samples.clips:
        return None
    total = sum(softmax(block, axis=1).sum(axis=0) for _, block in blocks(samples.rows))
    return np.asarray(total / len(samples.clips))


@dataclass(frozen=True)
class ComponentScore:
    """A component as an ordinary metric, with one value a clip; p̄ is `prior`, else that of its references."""

    component: Component
    prior: tuple[float, ...] | None = None
    citation: ClassVar[str] = "arXiv:2603.11089"
    unit: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """The component's name."""
        return self.component.name

    @property
    def direction(self) -> Direction:
        """Which way is better."""
        return Direction.HIGHER if self.component.sign > 0 else Direction.LOWER

    @property
    def subset(self) -> Literal["all", "speech"]:
        """PESQ is for speech only."""
        return "speech" if self.component.speech else "all"

    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]:
        """What the component needs, and for p̄ the references' logits."""
        needs = dict(self.component.needs)
        if self._finds_prior:
            needs["reference"] = needs["generated"]
        return needs

    @property
    def _finds_prior(self) -> bool:
        return self.component.kind == "inception_term" and self.prior is None

    @property
    def parameters(self) -> Mapping[str, object]:
        """What the value depends on."""
        return {"kind": self.component.kind}

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """The mean over the clips that have what is needed; `details` keep p̄ as `prior.<class>`."""
        prior = None if self.prior is None else np.array(self.prior)
        if self._finds_prior:
            prior = reference_prior(self.component, features)
            if prior is None:
                return Score(None, (), warnings=("no reference sound: the mean class posterior is unknown",))
        values = component_values(self.component, features, prior)
        if not values:
            wanted = ", ".join(f"{name} ({stream})" for stream, name in self.component.features)
            return Score(None, (), warnings=(f"no clip has {wanted}",))
        score = mean_score(sorted(values), np.array([values[clip] for clip in sorted(values)]), bootstrap)
        if prior is None:
            return score
        details = {f"prior.{index}": float(share) for index, share in enumerate(prior)}
        return Score(score.value, score.clips, score.interval, score.per_clip, details)


def _cosine(_component: Component, given: list[Floats], _prior: Floats | None) -> float:
    first, second = given
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def _text_probability(_component: Component, given: list[Floats], _prior: Floats | None) -> float:
    logits, named = given
    return float(softmax(logits) @ named)


def _offset(component: Component, given: list[Floats], _prior: Floats | None) -> float:
    logits, *onsets = given
    if onsets and not len(onsets[0]):
        return component.reach
    return float(np.abs(chosen_offsets(logits, OFFSETS * (component.reach / 2))).mean())


def _inception_term(component: Component, given: list[Floats], prior: Floats | None) -> float:
    if prior is None:
        raise ValueError(f"component {component.name!r} needs the mean class posterior")
    return float(np.exp(rel_entr(softmax(given[0]), prior).sum()))


def _value(_component: Component, given: list[Floats], _prior: Floats | None) -> float:
    return float(given[0].reshape(()))


def _difference(_component: Component, given: list[Floats], _prior: Floats | None) -> float:
    first, second = given
    return float(abs(first.reshape(()) - second.reshape(())))


_KINDS: Mapping[Kind, Callable[[Component, list[Floats], Floats | None], float]] = {
    "cosine": _cosine,
    "text_probability": _text_probability,
    "offset": _offset,
    "inception_term": _inception_term,
    "value": _value,
    "difference": _difference,
}
