"""What went into a run: its protocol in full, and for every clip its texts and files.

`inputs.json` lets others come back to a run: a page that plays its sounds, a test that
reads its features from the store. Unlike `report.json` it holds the paths of this
machine: files inside the run's folder are named relative to it, others absolutely.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from v2abench.clips import Clip, Dataset
from v2abench.contracts import Stream
from v2abench.errors import V2ABenchError
from v2abench.features.extraction import Content
from v2abench.features.streams import Side
from v2abench.files import write_text
from v2abench.protocols.schema import Protocol

INPUTS = "inputs.json"

FILES: tuple[Stream, ...] = ("generated", "reference", "video")
"""The streams of a clip that are files."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileRecord(_Record):
    """A file as it was read: where it lies, and the hash of its content."""

    path: str
    hash: str


class ClipInputs(_Record):
    """One clip; a stream that could not be read has no file."""

    id: str
    prompt: str | None
    label: str | None
    speech: bool
    video: str
    files: dict[Stream, FileRecord]


class Inputs(_Record):
    """The protocol, and the clips in the dataset's order."""

    protocol: Protocol
    clips: tuple[ClipInputs, ...]

    def dataset(self, name: str, spec: str) -> Dataset:
        """Return the clips as the dataset they were, without distractors."""
        return Dataset(name, spec, tuple(_clip(clip) for clip in self.clips))

    def side(self, stream: Stream) -> Side:
        """Return what was read of `stream` by clip id; clips without it are left out."""
        if stream == "text":
            texts = {clip.id: self.protocol.text_of(_clip(clip)) for clip in self.clips}
            return {clip_id: Content.of_text(text) for clip_id, text in texts.items() if text}
        records = {clip.id: clip.files[stream] for clip in self.clips if stream in clip.files}
        return {clip_id: Content(Path(record.path), record.hash) for clip_id, record in records.items()}


def record_inputs(dataset: Dataset, protocol: Protocol, sides: Mapping[Stream, Side]) -> Inputs:
    """Return the inputs of a run whose streams are `sides`."""
    return Inputs(
        protocol=protocol,
        clips=tuple(
            ClipInputs(
                id=clip.id,
                prompt=clip.prompt,
                label=clip.label,
                speech=clip.speech,
                video=str(clip.video.absolute()),
                files=_files(clip.id, sides),
            )
            for clip in dataset.clips
        ),
    )


def write_inputs(inputs: Inputs, folder: Path) -> Path:
    """Write `inputs.json` into the run's folder, atomically."""
    path = folder / INPUTS
    here = folder.absolute()
    data = inputs.model_dump(mode="json", exclude_defaults=False)
    for clip in data["clips"]:
        for record in clip["files"].values():
            file = Path(record["path"])
            if file.is_relative_to(here):
                record["path"] = file.relative_to(here).as_posix()
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    return path


def read_inputs(folder: Path) -> Inputs:
    """Read `inputs.json` of a run, with all paths absolute; raises `V2ABenchError`."""
    file = folder / INPUTS
    if not file.is_file():
        raise V2ABenchError(
            f"{folder} has no {INPUTS}, so its files cannot be found; run the same `v2abench eval` again "
            "(nothing that is stored is computed anew)"
        )
    try:
        inputs = Inputs.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise V2ABenchError(
            f"{file} is not what v2abench wrote: {str(error).splitlines()[0]}; evaluate again"
        ) from error
    return inputs.model_copy(update={"clips": tuple(_placed(clip, folder) for clip in inputs.clips)})


def _files(clip_id: str, sides: Mapping[Stream, Side]) -> dict[Stream, FileRecord]:
    contents = {stream: sides[stream].get(clip_id) for stream in FILES if stream in sides}
    return {
        stream: FileRecord(path=str(content.path.absolute()), hash=content.hash)
        for stream, content in contents.items()
        if isinstance(content, Content)
    }


def _placed(clip: ClipInputs, folder: Path) -> ClipInputs:
    files = {
        stream: record.model_copy(update={"path": str((folder / record.path).absolute())})
        for stream, record in clip.files.items()
    }
    return clip.model_copy(update={"files": files})


def _clip(clip: ClipInputs) -> Clip:
    reference = clip.files.get("reference")
    return Clip(
        clip.id,
        Path(clip.video),
        Path(reference.path) if reference else None,
        clip.prompt,
        clip.label,
        clip.speech,
    )
