"""What shards leave in a run's folder, so that `--merge` knows who did what: `shards/<i>-of-<n>.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from v2abench.errors import ClipFault, V2ABenchError
from v2abench.files import sha256_of_text, write_text
from v2abench.runs.generation import Answers, Place
from v2abench.shards import Shard

FOLDER = "shards"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AnswerRecord(_Record):
    """One clip's file, in `audio/` by its name and else by its path, or the fault; and what was adjusted."""

    id: str
    file: str | None = None
    fault: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()

    def answer(self, sounds: Path) -> Path | ClipFault:
        """Return the file, below `sounds` where it was made there, or the fault."""
        return ClipFault(*self.fault) if self.fault else sounds / str(self.file)


class ShardRecord(_Record):
    """One shard that is done: on what it stood, how its clips were answered, which networks it lacked."""

    signature: str
    recipe: str
    index: int
    count: int
    answers: tuple[AnswerRecord, ...]
    unavailable: dict[str, str]

    @classmethod
    def of(
        cls, shard: Shard, signature: str, place: Place, answers: Answers, unavailable: Mapping[str, str]
    ) -> Self:
        """Return the record of what `shard` did."""
        return cls(
            signature=signature,
            recipe=sha256_of_text(place.recipe),
            index=shard.index,
            count=shard.count,
            answers=tuple(_recorded(c, file, place, answers) for c, file in answers.files.items()),
            unavailable=dict(unavailable),
        )


def write_record(record: ShardRecord, folder: Path) -> None:
    """Write the record into the run's folder, atomically."""
    path = folder / FOLDER / f"{record.index}-of-{record.count}.json"
    write_text(path, record.model_dump_json(indent=1) + "\n")


def merge_records(folder: Path, signature: str, place: Place) -> tuple[Answers, dict[str, str]]:
    """Return what all shards answered, and the networks that none of them could use, with the reason.

    Raises `V2ABenchError`, naming shards or clips, where a shard is missing, was of other data
    or another recipe, could not use a network that others could, or its sounds have gone.
    """
    records = _complete(folder, signature, sha256_of_text(place.recipe))
    unavailable: dict[str, str] = {}
    for record in records:
        unavailable |= record.unavailable
    for record in records:
        if record.unavailable.keys() != unavailable.keys():
            names = ", ".join(sorted(unavailable.keys() - record.unavailable.keys()))
            raise V2ABenchError(
                f"--merge: shard {record.index}/{record.count} used {names}, and other shards could not "
                f"({next(iter(unavailable.values()))}); run those again, or leave --merge out"
            )
    entries = [entry for record in records for entry in record.answers]
    files = {entry.id: entry.answer(place.folder) for entry in entries}
    gone = [clip_id for clip_id, file in files.items() if isinstance(file, Path) and not file.is_file()]
    if gone:
        raise V2ABenchError(
            f"--merge: the sounds of {len(gone)} clips have gone since their shards were done "
            f"({_listed(gone)}); run the shards again, or leave --merge out"
        )
    return Answers(files, {entry.id: entry.notes for entry in entries if entry.notes}), unavailable


def _complete(folder: Path, signature: str, recipe: str) -> Sequence[ShardRecord]:
    records = [_read(path) for path in sorted((folder / FOLDER).glob("*-of-*.json"))]
    ours = [r for r in records if (r.signature, r.recipe) == (signature, recipe)]
    for count in sorted({record.count for record in ours}):
        found = [record for record in ours if record.count == count]
        if len(found) == count:
            return sorted(found, key=lambda record: record.index)
    raise V2ABenchError(f"--merge: {_missing(folder, records, ours)}")


def _missing(folder: Path, records: Sequence[ShardRecord], ours: Sequence[ShardRecord]) -> str:
    remedy = "run them with the same options, or leave --merge out to do here what is missing"
    if not records:
        return f"no shard has ended in {folder}; run each with --shard i/n, or leave --merge out"
    if not ours:
        return f"the shards in {folder} were of other data, networks, or sounds; {remedy}"
    counts = [record.count for record in ours]
    count = max(counts, key=lambda n: counts.count(n) / n)
    lacking = set(range(1, count + 1)) - {record.index for record in ours if record.count == count}
    named = _listed([f"{index}/{count}" for index in sorted(lacking)])
    return f"shards {named} are missing in {folder}; {remedy}"


def _read(path: Path) -> ShardRecord:
    try:
        return ShardRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        cause = str(error).splitlines()[0]
        raise V2ABenchError(
            f"{path} is not what a shard wrote: {cause}; delete it and run that shard again"
        ) from error


def _recorded(clip_id: str, file: Path | ClipFault, place: Place, answers: Answers) -> AnswerRecord:
    if isinstance(file, ClipFault):
        return AnswerRecord(id=clip_id, fault=(file.code, file.detail))
    own = file == place.sound(clip_id)
    return AnswerRecord(
        id=clip_id, file=file.name if own else str(file.absolute()), notes=answers.notes.get(clip_id, ())
    )


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
