"""Controls: answers whose place on a sane board is known beforehand.

`ground-truth` is the reference itself; `shifted:SECONDS` the reference, late
(early where negative), what is shifted in being silence; `shuffled` the reference
of another clip; `noise` white noise at -20 dBFS; `silence` digital zero.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from v2abench.clips import Clip, Dataset
from v2abench.contracts import Generated, ModelInfo, Request
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow, read_media
from v2abench.models import ModelContext

NOISE_LEVEL = 0.1
SAMPLE_RATE = 16000

Answer = Callable[[Request], Path | Audio]


@dataclass(frozen=True)
class Control:
    """A model of one function from a request to a file or samples."""

    info: ModelInfo
    answer: Answer
    recipe: Mapping[str, bool | int | float | str] = field(default_factory=dict)

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        """Yield one answer a request; a fault where the clip has no usable reference."""
        for request in requests:
            try:
                answer = self.answer(request)
            except ClipFault as fault:
                yield Generated(request.clip.id, fault=fault)
            else:
                path, audio = (answer, None) if isinstance(answer, Path) else (None, answer)
                yield Generated(request.clip.id, path=path, audio=audio)


def open_ground_truth(argument: str, context: ModelContext) -> Control:  # noqa: ARG001 (the opener's signature)
    """The clip's own reference."""
    return _control("ground-truth", argument, lambda request: _reference(request.clip))


def open_silence(argument: str, context: ModelContext) -> Control:  # noqa: ARG001
    """Digital zero of the clip's length, 16 kHz mono."""
    return _control("silence", argument, lambda r: Audio(np.zeros(_shape(r), np.float32), SAMPLE_RATE))


def open_noise(argument: str, context: ModelContext) -> Control:  # noqa: ARG001
    """White Gaussian noise at -20 dBFS of the clip's length, 16 kHz mono, by the clip's seed."""

    def answer(request: Request) -> Audio:
        noise = np.random.default_rng(request.seed).standard_normal(_shape(request))
        return Audio(np.clip(NOISE_LEVEL * noise, -1, 1).astype(np.float32), SAMPLE_RATE)

    return _control("noise", argument, answer)


def open_shuffled(argument: str, context: ModelContext) -> Control:
    """The reference of another clip: of the dataset's distractors, else of the next clip in a fixed order."""
    donors = _donors(context.dataset)
    return _control("shuffled", argument, lambda request: _reference(donors[request.clip.id]))


def open_shifted(argument: str, context: ModelContext) -> Control:  # noqa: ARG001
    """The reference, `argument` seconds late."""
    try:
        seconds = float(argument)
    except ValueError:
        seconds = np.nan
    if not np.isfinite(seconds):
        raise V2ABenchError(f"--model shifted:{argument}: give the seconds, e.g. shifted:0.4 or shifted:-0.2")

    def answer(request: Request) -> Audio:
        window = read_media(_reference(request.clip), seconds=request.seconds).sound
        if not isinstance(window, AudioWindow):
            raise window or ClipFault("no-audio", "the reference has no sound to shift")
        return shift(_at_most_stereo(window.audio), seconds)

    return Control(ModelInfo(f"shifted:{seconds:g}", source="control", control=True), answer)


def shift(audio: Audio, seconds: float) -> Audio:
    """Return `audio` that many seconds later (earlier if negative), of the same length."""
    samples = np.zeros_like(audio.samples)
    n = round(seconds * audio.sample_rate)
    length = samples.shape[1]
    if n >= 0:
        samples[:, n:] = audio.samples[:, : max(length - n, 0)]
    else:
        samples[:, : max(length + n, 0)] = audio.samples[:, -n:]
    return Audio(samples, audio.sample_rate)


def _at_most_stereo(audio: Audio) -> Audio:
    """More than two channels become their mean, which is what the networks hear."""
    if audio.samples.shape[0] <= 2:
        return audio
    return Audio(audio.samples.mean(axis=0, keepdims=True), audio.sample_rate)


def _control(name: str, argument: str, answer: Answer) -> Control:
    if argument:
        raise V2ABenchError(f"--model {name}:{argument}: {name} takes nothing behind a colon")
    return Control(ModelInfo(name, source="control", control=True), answer)


def _reference(clip: Clip) -> Path:
    if clip.reference is None or not clip.reference.is_file():
        raise ClipFault("missing", f"clip {clip.id} has no reference sound")
    return clip.reference


def _shape(request: Request) -> tuple[int, int]:
    return 1, round(request.seconds * SAMPLE_RATE)


def _donors(dataset: Dataset) -> Mapping[str, Clip]:
    """Pair every clip with another one; which one depends on the set of ids, not on their order."""
    pool = sorted((c for c in dataset.distractors or dataset.clips if c.reference is not None), key=_rank)
    if len(pool) < 2:
        raise V2ABenchError(
            f"--model shuffled needs two clips with a reference or more, {dataset.name} has {len(pool)}"
        )
    places = {clip.id: place for place, clip in enumerate(pool)}
    donors = {}
    for place, clip in enumerate(sorted(dataset.clips, key=_rank)):
        own = places.get(clip.id)
        donors[clip.id] = pool[(place if own is None else own + 1) % len(pool)]
    return donors


def _rank(clip: Clip) -> str:
    return hashlib.sha256(f"shuffled {clip.id}".encode()).hexdigest()
