"""From a file to the inputs of every network that wants it: the half of a pass that needs no device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from v2abench.contracts import Network, Prepared
from v2abench.errors import ClipFault
from v2abench.media.reading import Media, read_media

if TYPE_CHECKING:
    from v2abench.features.extraction import Job

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class JobDataset:
    """A map-style dataset over jobs, as the data loader wants it."""

    jobs: Sequence[Job]
    seconds: float

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, index: int) -> list[Prepared | ClipFault]:
        return prepare(self.jobs[index], self.seconds)


def prepare(job: Job, seconds: float) -> list[Prepared | ClipFault]:
    """Open a file once and make the inputs of every network that wants it."""
    if job.content.text is not None:
        return [_prepared(network, job.content.text, "a text") for network in job.networks]
    streams = list(dict.fromkeys(n.frames for n in job.networks if n.frames is not None))
    sound = any(network.modality != "video" for network in job.networks)
    path = job.content.path
    try:
        media = read_media(path, seconds=seconds, sound=sound, frames=streams)
    except ClipFault as fault:
        return [_nameless(fault, path)] * len(job.networks)
    frames = {wanted: _nameless(pictures, path) for wanted, pictures in media.frames.items()}
    media = replace(media, sound=_nameless(media.sound, path), frames=frames)
    return [_prepare_one(network, media, path) for network in job.networks]


def _nameless(thing: Thing | ClipFault, path: Path) -> Thing | ClipFault:
    """A record belongs to a content, whatever the file is called: its fault must not name a path."""
    if isinstance(thing, ClipFault):
        return ClipFault(thing.code, thing.detail.replace(str(path), "the file"))
    return thing


def _prepare_one(network: Network, media: Media, path: Path) -> Prepared | ClipFault:
    source: object = media
    if network.modality == "audio":
        source = media.sound
    elif network.modality == "video" and network.frames is not None:
        source = media.frames[network.frames]
    return source if isinstance(source, ClipFault) else _prepared(network, source, str(path))


def _prepared(network: Network, source: object, what: str) -> Prepared | ClipFault:
    try:
        return network.prepare(source)
    except ClipFault as fault:
        return fault
    except Exception as error:
        error.add_note(f"while network {network.name!r} prepared {what}")
        raise
