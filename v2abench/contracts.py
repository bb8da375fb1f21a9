"""The contracts between the rooms: what a metric, a network and a model are.

Small protocols and frozen dataclasses. A feature is one named array that a
network gives for one clip (`aisfx.logits`); a stream says of which medium of
the clip it speaks: `generated` (audio), `reference` (audio), `video` or `text`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from numpy.typing import NDArray

if TYPE_CHECKING:
    from v2abench.clips import Clip
    from v2abench.errors import ClipFault
    from v2abench.media.audio import Audio
    from v2abench.media.reading import FrameStream

Stream = Literal["generated", "reference", "video", "text"]
STREAMS: tuple[Stream, ...] = ("generated", "reference", "video", "text")
Array = NDArray[Any]

Features = Mapping[Stream, Mapping[str, Mapping[str, Array]]]
"""stream -> feature name -> clip id -> array."""


class Direction(StrEnum):
    """Which way a score is better; `neutral` describes and does not rank."""

    HIGHER = "higher"
    LOWER = "lower"
    NEUTRAL = "neutral"


@dataclass(frozen=True)
class Interval:
    """A confidence interval: bounds in the unit of the score, nominal level, method."""

    low: float
    high: float
    level: float
    method: str


@dataclass(frozen=True)
class Score:
    """What a metric says of one run.

    `value` is a finite float, or None where the metric is undefined for these
    clips (`warnings` then says why); it is never NaN, complex or a code.
    `clips` are the ids it stands on. `undefined` names clips that had features
    but no defined value, with the reason. `replicates` are the values of the resamples
    behind the interval of a set metric, in the order of the draws: two runs on the same
    clips have the same draws, so their replicates pair.
    """

    value: float | None
    clips: tuple[str, ...]
    interval: Interval | None = None
    per_clip: Mapping[str, float] | None = None
    details: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    undefined: Mapping[str, str] = field(default_factory=dict)
    replicates: Array | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are estimated: number of resamples, nominal level, seed."""

    replicates: int = 200
    level: float = 0.95
    seed: int = 0


class Metric(Protocol):
    """A score over the features of a run. Instances are frozen dataclasses.

    `needs` names the features by stream. `subset` restricts a metric to the
    clips it is meant for (`speech`). `parameters` go into the signature.

    A metric may also have `speech_only`, the features that it wants of clips of speech only,
    and `stands_on`, what it was fitted with as `features.plan.stands_on` says it: with
    anything else it has no value.
    """

    @property
    def name(self) -> str: ...
    @property
    def direction(self) -> Direction: ...
    @property
    def unit(self) -> str: ...
    @property
    def citation(self) -> str: ...
    @property
    def subset(self) -> Literal["all", "speech"]: ...
    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]: ...
    @property
    def parameters(self) -> Mapping[str, object]: ...

    def compute(self, features: Features, bootstrap: Bootstrap | None) -> Score:
        """Return the score; `bootstrap=None` leaves the interval out."""
        ...


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made of one clip on the CPU: named tensors or arrays, and
    notes that degrade the clip (`padded to one window`).
    """

    inputs: Mapping[str, Any]
    notes: tuple[str, ...] = ()


Forward = Callable[[Sequence[Prepared]], Sequence[Mapping[str, Array]]]
"""From a batch of prepared clips to one {feature: array} a clip, in order."""

PairForward = Callable[[Mapping[Stream, Mapping[str, Array]]], Mapping[str, Array]]
"""From one clip's features by stream to its pair features. Raises `ClipFault`."""


class Network(Protocol):
    """A feature extractor over one medium. Instances are frozen, picklable dataclasses.

    A network may also have `memory`, the bytes of its weights once loaded, so that
    networks that do not fit together run one after the other; `most_at_once`, the clips
    that it takes at once where more would bring nothing; and `package`, the distribution
    outside of the core that it imports.

    `prepare` runs in worker processes and never touches weights; `load` returns
    the device half. Values never depend on the batch. `features` are the names
    without the network's own (`logits`, stored as `<name>.logits`).
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def modality(self) -> Literal["audio", "video", "text", "container"]: ...
    @property
    def weights(self) -> tuple[str, ...]: ...
    @property
    def features(self) -> tuple[str, ...]: ...
    @property
    def parameters(self) -> Mapping[str, object]: ...
    @property
    def frames(self) -> FrameStream | None:
        """The frames a video network wants; None for an audio network."""
        ...

    def prepare(self, media: Any) -> Prepared:
        """Make the inputs of one clip: from an `AudioWindow` for an audio network, from
        the uint8 frames of `frames` for a video network, from the string for a text
        network, from the whole `Media` for a container network. Raises `ClipFault`.
        """
        ...

    def load(self, device: str) -> Forward:
        """Load the weights, checked, onto `device` and return the forward half."""
        ...


class PairNetwork(Protocol):
    """A feature of two streams together (PESQ of generated against reference),
    computed from stored features, never from media.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def features(self) -> tuple[str, ...]: ...
    @property
    def parameters(self) -> Mapping[str, object]: ...
    @property
    def needs(self) -> Mapping[Stream, tuple[str, ...]]: ...

    def load(self, device: str) -> PairForward:
        """Load what it needs, checked, onto `device` and return what compares one clip's streams.

        Raises `UnavailableError` where it cannot be had.
        """
        ...


@dataclass(frozen=True)
class ModelInfo:
    """What a table says of a model."""

    name: str
    sample_rate: int | None = None
    channels: int | None = None
    parameters: int | None = None
    license: str | None = None
    source: str | None = None
    text_conditioned: bool = False
    control: bool = False


@dataclass(frozen=True)
class Request:
    """One clip for which audio is wanted: its seconds and its own seed."""

    clip: Clip
    seconds: float
    seed: int


@dataclass(frozen=True)
class Generated:
    """A model's answer for one clip: a file that exists, or samples to be written,
    or a fault. Exactly one of the three is set. `notes` say what was adjusted to get
    there (padding, an input that was too short); they degrade the clip.
    """

    clip_id: str
    path: Path | None = None
    audio: Audio | None = None
    fault: ClipFault | None = None
    notes: tuple[str, ...] = ()


class Model(Protocol):
    """Anything that turns clips into audio."""

    @property
    def info(self) -> ModelInfo: ...
    @property
    def recipe(self) -> Mapping[str, bool | int | float | str]:
        """What its sounds depend on beside the request: weights, sampling, precision. Plain scalars."""
        ...

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        """Yield one answer a request, in order; a draw depends on `Request.seed` only."""
        ...
