"""Facts of a media file that the ledger needs: lengths, rates, level.

Not a score: `facts.sound_seconds` decides whether a clip is short,
`facts.peak` whether it is silent, `facts.video_seconds` how much sound a model
is asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from v2abench.contracts import Array, Forward, Prepared
from v2abench.errors import ClipFault
from v2abench.media.reading import FrameStream, Media


@dataclass(frozen=True)
class Facts:
    """A container network: scalars as (1,) float64 arrays, (0,) where there is no such stream.

    `sound_seconds` and `video_seconds` are lengths of the whole file, `sample_rate`
    is in Hz, `peak` is the largest absolute sample in the window. A sound that
    cannot be used leaves a note `sound|<code>|<detail>`.
    """

    name: str = "facts"
    version: int = 1
    modality: Literal["container"] = "container"
    weights: tuple[str, ...] = ()
    features: tuple[str, ...] = ("sound_seconds", "video_seconds", "sample_rate", "channels", "peak")
    frames: FrameStream | None = None

    @property
    def parameters(self) -> Mapping[str, object]:
        """Nothing to choose."""
        return {}

    def prepare(self, media: Media) -> Prepared:
        """Return the facts of one file; a sound that cannot be used is a note, not a fault."""
        facts: dict[str, float | None] = dict.fromkeys(self.features)
        facts["video_seconds"] = media.video_seconds
        notes: tuple[str, ...] = ()
        if isinstance(media.sound, ClipFault):
            notes = (f"sound|{media.sound.code}|{media.sound.detail}",)
        elif media.sound is not None:
            audio = media.sound.audio
            facts["sound_seconds"] = media.sound.file_seconds
            facts["sample_rate"] = audio.sample_rate
            facts["channels"] = audio.samples.shape[0]
            facts["peak"] = float(np.abs(audio.samples).max())
        arrays = {k: np.array([] if v is None else [v], dtype=np.float64) for k, v in facts.items()}
        return Prepared(arrays, notes)

    def load(self, device: str) -> Forward:  # noqa: ARG002 (the contract's signature)
        """Return the forward half, which hands on what `prepare` found."""
        return pass_through


def pass_through(batch: Sequence[Prepared]) -> Sequence[Mapping[str, Array]]:
    """The forward half of a network whose `prepare` does all the work."""
    return [prepared.inputs for prepared in batch]
