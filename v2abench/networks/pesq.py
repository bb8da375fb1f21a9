"""PESQ, wide band: perceived quality of generated speech against the video's own.

ITU-T P.862 with the wide-band extension P.862.2, by the reference C code in the
package `pesq`. The score is MOS-LQO, at most 4.64. The package divides both
waveforms by their common peak, and the C code then brings each to a standard
level of its own, so that gain hardly matters: a score says nothing of loudness.
The code aligns the two in time by utterances, which it finds in the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import ClassVar

import numpy as np

from v2abench.contracts import Array, PairForward, Stream
from v2abench.errors import ClipFault, UnavailableError
from v2abench.networks.speech import SAMPLE_RATE

_WAVEFORM = "speech.waveform"

# The C code holds 50 utterances and writes past them without a check. An utterance
# and the pause after it take at least 97 of its 4 ms frames.
_LONGEST_SECONDS = 19
_AUDIBLE = 2.0**-15


@dataclass(frozen=True)
class PESQWideband:
    """The `pesq` pair network: `wideband` () float64, MOS-LQO of generated against reference."""

    name: ClassVar[str] = "pesq"
    version: ClassVar[int] = 1
    features: ClassVar[tuple[str, ...]] = ("wideband",)
    parameters: ClassVar[Mapping[str, object]] = {}
    needs: ClassVar[Mapping[Stream, tuple[str, ...]]] = {
        "generated": (_WAVEFORM,),
        "reference": (_WAVEFORM,),
    }

    def load(self, device: str) -> PairForward:  # noqa: ARG002 (the package computes on the CPU)
        """Return what scores one clip, both sides cut to their common length.

        It raises `ClipFault` where PESQ is undefined (a silent side, no utterance, under a
        quarter of a second, over 19 s). Raises `UnavailableError` where the package is not
        installed.
        """
        package = _package()

        def forward(inputs: Mapping[Stream, Mapping[str, Array]]) -> Mapping[str, Array]:
            generated, reference = inputs["generated"][_WAVEFORM], inputs["reference"][_WAVEFORM]
            length = min(len(generated), len(reference))
            return {"wideband": np.array(_score(package, reference[:length], generated[:length]))}

        return forward


def _score(package: ModuleType, reference: Array, generated: Array) -> float:
    if len(reference) > _LONGEST_SECONDS * SAMPLE_RATE:
        raise ClipFault("undefined", f"PESQ takes at most {_LONGEST_SECONDS} s of speech")
    for side, waveform in (("reference", reference), ("generated", generated)):
        if not len(waveform) or np.abs(waveform).max() < _AUDIBLE:
            raise ClipFault("undefined", f"PESQ of silence: the {side} sound is under one 16-bit step")
    try:
        return float(package.pesq(SAMPLE_RATE, reference, generated, "wb"))
    except package.PesqError as problem:
        raise ClipFault("undefined", f"PESQ: {_text(problem)}") from problem


def _package() -> ModuleType:
    try:
        return import_module("pesq")
    except ImportError as problem:
        raise UnavailableError('PESQ needs the package pesq: pip install "v2abench[speech]"') from problem


def _text(problem: Exception) -> str:
    """The package raises with bytes from C."""
    said = problem.args[0] if problem.args else ""
    return said.decode() if isinstance(said, bytes) else str(said)
