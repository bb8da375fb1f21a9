"""Asking a model for the audio of every clip, resumably."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from v2abench import __version__
from v2abench.contracts import Generated, Request
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.files import write_text
from v2abench.media.writing import write_audio
from v2abench.models import NamedModel
from v2abench.progress import Progress

CARD = "recipe.json"
LEDGER = "generation.json"
NOTES = "notes.jsonl"
"""A line a clip whose sound was adjusted: `[id, [note, ...]]`; the last one of an id counts."""

Notes = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Answers:
    """The file, or the fault, for every clip id; and notes on those that were adjusted."""

    files: Mapping[str, Path | ClipFault]
    notes: Notes


Suffix = Literal[".flac", ".wav"]
SUFFIXES: tuple[Suffix, ...] = (".flac", ".wav")


def generate(
    named: NamedModel,
    requests: Sequence[Request],
    folder: Path,
    dataset: str,
    progress: Progress,
    *,
    suffix: Suffix = ".flac",
) -> Answers:
    """Return the file, or the fault, for every clip id, and the notes on them.

    Samples that a model makes are written to `folder` as 16-bit FLAC or WAV, with a card
    that says what they depend on: the model, the requests and the `dataset` fingerprint.
    Where the card is the same, the model is not asked again for what is there; files of
    another card give way once the model makes new ones. Raises `V2ABenchError` where
    `folder` holds files that are not ours, or links, which might lead anywhere.
    """
    _refuse_links(folder)
    recipe = _recipe(named, requests, dataset, suffix)
    kept = _is_card(folder, recipe)
    paths = {request.clip.id: folder / f"{request.clip.id}{suffix}" for request in requests}
    found: dict[str, Path | ClipFault] = {
        clip_id: path for clip_id, path in paths.items() if kept and path.is_file() and not path.is_symlink()
    }
    notes = {clip_id: said for clip_id, said in _read_notes(folder).items() if clip_id in found}
    wanted = [request for request in requests if request.clip.id not in found]
    with progress(f"generate {named.info.name}", len(wanted)) as advance:
        for answer in named.model.generate(wanted):
            if answer.audio is not None and not kept:
                _make_room(folder)
                write_text(folder / CARD, recipe)
                kept = True
            if answer.notes:
                notes[answer.clip_id] = answer.notes
                _write_note(answer, folder)
            found[answer.clip_id] = _settle(answer, paths[answer.clip_id])
            advance(1)
    fault = ClipFault("missing", f"{named.info.name} gave no answer for this clip")
    return Answers({request.clip.id: found.get(request.clip.id, fault) for request in requests}, notes)


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


def _write_note(answer: Generated, folder: Path) -> None:
    """Before the sound itself, so that none that is kept can lack its note."""
    if answer.audio is not None:
        with (folder / NOTES).open("a", encoding="utf-8") as stream:
            # On a line of its own even where a kill cut the one before.
            stream.write("\n" + json.dumps([answer.clip_id, answer.notes]) + "\n")


def _read_notes(folder: Path) -> dict[str, tuple[str, ...]]:
    path = folder / NOTES
    found: dict[str, tuple[str, ...]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        # A kill may have cut a line; the sound that it spoke of was then not written.
        with suppress(ValueError):
            clip_id, notes = json.loads(line)
            found[clip_id] = tuple(notes)
    return found


def _recipe(named: NamedModel, requests: Sequence[Request], dataset: str, suffix: Suffix) -> str:
    asked = [(r.clip.id, r.seconds, r.seed, r.clip.prompt) for r in requests]
    card: Mapping[str, object] = {
        "model": named.spec,
        "recipe": dict(named.model.recipe),
        "dataset": dataset,
        "format": suffix.removeprefix("."),
        "requests": hashlib.sha256(json.dumps(asked).encode()).hexdigest(),
        "v2abench": __version__,
    }
    return json.dumps(card, indent=2, sort_keys=True) + "\n"


def _is_card(folder: Path, recipe: str) -> bool:
    card = folder / CARD
    return card.is_file() and card.read_text(encoding="utf-8") == recipe


def _refuse_links(folder: Path) -> None:
    for place in (folder, folder / CARD, folder / NOTES):
        if place.is_symlink():
            raise V2ABenchError(
                f"{place} is a link, and sounds are not written through links; remove it, or choose another "
                "--output (which may be a link itself)"
            )


def _make_room(folder: Path) -> None:
    """Remove what an earlier recipe made here, and nothing else."""
    present = [path for path in folder.iterdir() if path.name != LEDGER] if folder.is_dir() else []
    if present and not (folder / CARD).is_file():
        raise V2ABenchError(
            f"{folder} holds files that v2abench did not make; move them, or choose another --output"
        )
    for path in present:
        if path.suffix in SUFFIXES or path.name in {CARD, NOTES}:
            path.unlink()
