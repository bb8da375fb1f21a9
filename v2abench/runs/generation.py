"""Asking a model for the audio of every clip, resumably, by any number of processes at once."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from v2abench import __version__
from v2abench.contracts import Generated, Model, Request
from v2abench.engines.contract import Engine
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.files import strangers, write_text
from v2abench.media.writing import write_audio
from v2abench.models import ModelContext, NamedModel, open_model
from v2abench.progress import Progress

CARD = "recipe.json"
LEDGER = "generation.json"
NOTES = "notes.jsonl"
"""A line a clip whose sound was adjusted: `[id, [note, ...]]`; the last one of an id counts.

Where several processes write, each has a file of its own, `notes-<...>.jsonl`.
"""

Notes = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Answers:
    """The file, or the fault, for every clip id; and notes on those that were adjusted."""

    files: Mapping[str, Path | ClipFault]
    notes: Notes


Suffix = Literal[".flac", ".wav"]
SUFFIXES: tuple[Suffix, ...] = (".flac", ".wav")


@dataclass(frozen=True)
class Place:
    """Where sounds go, and what they depend on (`recipe`, the text of the card).

    Where others write here too (`shared`), nothing of an earlier recipe is removed.
    """

    folder: Path
    suffix: Suffix
    recipe: str
    shared: bool = False
    notes: str = NOTES

    def sound(self, clip_id: str) -> Path:
        """Return the file of one clip's sound."""
        return self.folder / f"{clip_id}{self.suffix}"


@dataclass(frozen=True)
class Answer:
    """How one request ended: its file, or why there is none, and what was adjusted."""

    clip_id: str
    file: Path | ClipFault
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Generation:
    """The work of asking a model, which is opened where the work is."""

    spec: str
    context: ModelContext
    place: Place

    def start(self, device: str) -> Callable[[Sequence[Request]], Iterator[Answer]]:
        """Open the model on `device`."""
        named = open_model(self.spec, self.context.on(device))
        own = replace(self.place, notes=f"notes-{uuid.uuid4().hex}.jsonl")
        return partial(_make, named.model, own)


def generate(
    named: NamedModel,
    requests: Sequence[Request],
    place: Place,
    progress: Progress,
    engine: Engine,
) -> Answers:
    """Return the file, or the fault, for every clip id, and the notes on them.

    Samples that a model makes are written to the place as 16-bit FLAC or WAV, with a card
    that says what they depend on. Where the card is the same, the model is not asked again
    for what is there; files of another card give way once the model makes new ones. Raises
    `V2ABenchError` where the folder holds files that are not ours, or, if it is shared, of
    another card.
    """
    kept = _is_card(place)
    found: dict[str, Path | ClipFault] = {
        r.clip.id: path for r in requests if kept and (path := place.sound(r.clip.id)).is_file()
    }
    notes = {clip_id: said for clip_id, said in _read_notes(place.folder).items() if clip_id in found}
    wanted = [request for request in requests if request.clip.id not in found]
    with progress(f"generate {named.info.name}", len(wanted)) as advance:
        for answer in _answers(named, wanted, place, engine):
            found[answer.clip_id] = answer.file
            if answer.notes:
                notes[answer.clip_id] = answer.notes
            advance(1)
    fault = ClipFault("missing", f"{named.info.name} gave no answer for this clip")
    return Answers({request.clip.id: found.get(request.clip.id, fault) for request in requests}, notes)


def recipe_card(named: NamedModel, dataset: str, asked: Mapping[str, object], suffix: Suffix) -> str:
    """Return the text of the card: the model, the `dataset` fingerprint, and what is `asked`."""
    card: Mapping[str, object] = {
        "model": named.spec,
        "recipe": dict(named.model.recipe),
        "dataset": dataset,
        "format": suffix.removeprefix("."),
        "asked": dict(asked),
        "v2abench": __version__,
    }
    return json.dumps(card, indent=2, sort_keys=True) + "\n"


def _answers(named: NamedModel, wanted: Sequence[Request], place: Place, engine: Engine) -> Iterator[Answer]:
    if not wanted or named.context is None or not engine.elsewhere:
        return _make(named.model, place, wanted)
    if not place.shared and not _is_card(place) and (place.folder / CARD).is_file():
        _make_room(place.folder)
    # The engine and the progress of this process do not travel.
    work = Generation(named.spec, named.context.on("cpu"), replace(place, shared=True))
    return engine.map(work, wanted)


def _make(model: Model, place: Place, wanted: Sequence[Request]) -> Iterator[Answer]:
    """Ask `model` in this process, and write what it makes."""
    ours = False
    for answer in model.generate(wanted):
        if answer.audio is not None and not ours:
            _claim(place)
            ours = True
        if answer.notes:
            _write_note(answer, place)
        yield Answer(answer.clip_id, _settle(answer, place.sound(answer.clip_id)), answer.notes)


def _settle(answer: Generated, path: Path) -> Path | ClipFault:
    if answer.audio is None:
        return (
            answer.path or answer.fault or ClipFault("missing", "the model gave neither sound nor a reason")
        )
    try:
        write_audio(path, answer.audio)
    except ClipFault as fault:
        return fault
    return path


def _write_note(answer: Generated, place: Place) -> None:
    """Before the sound itself, so that none that is kept can lack its note."""
    if answer.audio is not None:
        with (place.folder / place.notes).open("a", encoding="utf-8") as stream:
            # On a line of its own even where a kill cut the one before.
            stream.write("\n" + json.dumps([answer.clip_id, answer.notes]) + "\n")


def _read_notes(folder: Path) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.glob("notes*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            # A kill may have cut a line; the sound that it spoke of was then not written.
            with suppress(ValueError):
                clip_id, notes = json.loads(line)
                found[clip_id] = tuple(notes)
    return found


def _is_card(place: Place) -> bool:
    card = place.folder / CARD
    return card.is_file() and card.read_text(encoding="utf-8") == place.recipe


def _claim(place: Place) -> None:
    """Put the card there before the first sound, unless another process did."""
    if _is_card(place):
        return
    if not place.shared:
        _make_room(place.folder)
    elif strangers(place.folder, LEDGER) and not _is_card(place):
        raise V2ABenchError(
            f"{place.folder} holds sounds of another recipe, or other files; where several processes write "
            "nothing is removed; delete it, or choose another --output"
        )
    write_text(place.folder / CARD, place.recipe)


def _make_room(folder: Path) -> None:
    """Remove what an earlier recipe made here, and nothing else."""
    present = strangers(folder, LEDGER)
    if present and not (folder / CARD).is_file():
        raise V2ABenchError(
            f"{folder} holds files that v2abench did not make; move them, or choose another --output"
        )
    for path in present:
        if path.suffix in SUFFIXES or path.name == CARD or path.match("notes*.jsonl"):
            path.unlink(missing_ok=True)
