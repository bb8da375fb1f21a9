"""The 16 kHz waveform of a clip of speech, for metrics that compare two waveforms (PESQ)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from v2abench.contracts import Forward, Prepared
from v2abench.networks.facts import pass_through

if TYPE_CHECKING:
    from v2abench.media.reading import AudioWindow

SAMPLE_RATE = 16000


@dataclass(frozen=True)
class SpeechWaveform:
    """The `speech` network: `waveform` (samples,) float32, mono at 16 kHz.

    Meant for clips marked as speech only: it stores the sound itself.
    """

    name: ClassVar[str] = "speech"
    version: ClassVar[int] = 1
    modality: ClassVar[Literal["audio"]] = "audio"
    weights: ClassVar[tuple[str, ...]] = ()
    features: ClassVar[tuple[str, ...]] = ("waveform",)
    frames: ClassVar[None] = None
    parameters: ClassVar[Mapping[str, object]] = {}

    def prepare(self, media: AudioWindow) -> Prepared:
        """Resample; nothing is left for the device."""
        return Prepared({"waveform": media.waveform(SAMPLE_RATE)})

    def load(self, device: str) -> Forward:  # noqa: ARG002 (the contract's signature)
        """Return the forward half, which hands on what `prepare` made."""
        return pass_through
