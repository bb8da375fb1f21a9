"""Judging clips before any score: is the sound there, long enough, finite, audible?"""

from collections.abc import Mapping, Set

from v2abench.contracts import Stream
from v2abench.errors import ClipFault
from v2abench.features.plan import Plan, is_media
from v2abench.features.streams import StreamFeatures
from v2abench.protocols.schema import Window
from v2abench.runs.ledger import Ledger

MEDIA: Set[Stream] = {"generated", "reference", "video"}
"""The streams that are files."""

SILENCE_PEAK = 10 ** (-60 / 20)
"""A sound whose every sample in the window is below -60 dBFS counts as silent."""


def judge(ledger: Ledger, streams: StreamFeatures, plan: Plan, window: Window) -> None:
    """Enter into the ledger what is wrong with each clip's streams, and what networks noted."""
    for clip_id in ledger.ids:
        for stream in MEDIA & streams.sides.keys():
            _judge_stream(ledger, streams, stream, clip_id, window)
    for stream, wanted in plan.media.items():
        for name, ids in wanted.items():
            network = plan.networks[name]
            records = streams.remarks(stream, network) if is_media(network) else {}
            for clip_id in sorted(ids & records.keys()):
                _notes(ledger, clip_id, f"{stream} {name}", records[clip_id].notes, records[clip_id].fault)


def note_adjustments(ledger: Ledger, notes: Mapping[str, tuple[str, ...]]) -> None:
    """Enter into the ledger what a model adjusted to get its sound; the clips are degraded by it."""
    for clip_id, said in notes.items():
        for note in said:
            if not ledger.failed(clip_id):
                ledger.degrade(clip_id, "generated", "adjusted", note)


def _judge_stream(
    ledger: Ledger, streams: StreamFeatures, stream: Stream, clip_id: str, window: Window
) -> None:
    content = streams.sides[stream].get(clip_id)
    if content is None:
        return
    record = None if isinstance(content, ClipFault) else streams.facts(stream)[clip_id]
    fault = content if isinstance(content, ClipFault) else record.fault if record else None
    if stream != "video" and fault is None and record is not None:
        fault = _sound_fault(record.notes)
    if fault is None and stream == "generated":
        seconds = streams.fact(stream, clip_id, "sound_seconds") or 0.0
        if seconds < window.minimum:
            fault = ClipFault(
                "too-short", f"{seconds:.3g} s of sound, at least {window.minimum:g} s are needed"
            )
    if fault is not None and stream == "generated":
        ledger.fail(clip_id, stream, fault)
    elif fault is not None:
        ledger.degrade(clip_id, stream, fault.code, fault.detail)
    elif stream != "video":
        _judge_sound(ledger, streams, stream, clip_id, window)


def _judge_sound(
    ledger: Ledger, streams: StreamFeatures, stream: Stream, clip_id: str, window: Window
) -> None:
    wanted = min(window.seconds, streams.clip_seconds(clip_id) or window.seconds)
    seconds = streams.fact(stream, clip_id, "sound_seconds") or 0.0
    if seconds < wanted - window.tolerance:
        ledger.degrade(clip_id, stream, "short", f"{seconds:.2f} s of sound for {wanted:.2f} s of video")
    if (streams.fact(stream, clip_id, "peak") or 0.0) < SILENCE_PEAK:
        ledger.degrade(clip_id, stream, "silent", "no sample reaches -60 dBFS")


def _sound_fault(notes: tuple[str, ...]) -> ClipFault | None:
    for note in notes:
        if note.startswith("sound|"):
            _, code, detail = note.split("|", 2)
            return ClipFault(code, detail)
    return None


def _notes(ledger: Ledger, clip_id: str, about: str, notes: tuple[str, ...], fault: ClipFault | None) -> None:
    if ledger.failed(clip_id):
        return
    for note in notes:
        ledger.degrade(clip_id, about, "adjusted", note)
    if fault is not None and not ledger.knows(clip_id, about.split(maxsplit=1)[0], fault.code):
        ledger.degrade(clip_id, about, fault.code, fault.detail)
