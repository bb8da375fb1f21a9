"""Looking at the file that a model in another process wrote, before anything believes it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from v2abench.errors import ClipFault
from v2abench.media.audio import Audio
from v2abench.media.reading import read_audio

PADDED_SECONDS = 0.05
"""How much may lack at the end: models that work in frames end a little early (ThinkSound 12 ms at 8 s,
V-AURA 1 ms). It is filled with silence, and the ledger says so."""


@dataclass(frozen=True)
class Announced:
    """What a worker said of its sound; None where it said nothing."""

    sample_rate: int | None = None
    channels: int | None = None
    samples: int | None = None


def accept(path: Path, seconds: float, announced: Announced) -> tuple[Audio, tuple[str, ...]]:
    """Return the first `seconds` of the sound in `path`, and notes on what was done to it.

    Raises `ClipFault`: `missing`, `unreadable`, `truncated`, `not-finite`, `too-short`,
    or `mismatch` where the file is not what its worker announced.
    """
    if not path.is_file():
        raise ClipFault("missing", "the model said that it was done, but wrote no file")
    try:
        audio = read_audio(path)
    except ClipFault as fault:
        raise ClipFault(fault.code, fault.detail.replace(str(path), "the file")) from fault
    _compare(audio, announced)
    wanted = round(seconds * audio.sample_rate)
    lacking = wanted - audio.samples.shape[1]
    if lacking > PADDED_SECONDS * audio.sample_rate:
        raise ClipFault("too-short", f"{audio.seconds:.3f} s of sound where {seconds:.3f} s were asked for")
    notes: tuple[str, ...] = ()
    samples = audio.samples[:, :wanted]
    if lacking > 0:
        samples = np.pad(samples, ((0, 0), (0, lacking)))
        notes = (f"{lacking / audio.sample_rate * 1000:.1f} ms of silence added at the end",)
    return Audio(samples, audio.sample_rate), notes


def _compare(audio: Audio, announced: Announced) -> None:
    found = {
        "sample_rate": audio.sample_rate,
        "channels": audio.samples.shape[0],
        "samples": audio.samples.shape[1],
    }
    for name, value in found.items():
        said = getattr(announced, name)
        if said is not None and said != value:
            what = name.replace("_", " ")
            raise ClipFault("mismatch", f"the file has {what} {value}, but the model announced {said}")
