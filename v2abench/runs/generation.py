"""Asking a model for the audio of every clip, resumably."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from v2abench.contracts import Generated, Request
from v2abench.errors import ClipFault
from v2abench.files import write_text
from v2abench.media.writing import write_audio
from v2abench.models import NamedModel
from v2abench.progress import Progress


def generate(
    named: NamedModel,
    requests: Sequence[Request],
    folder: Path,
    recipe: Mapping[str, object],
    progress: Progress,
) -> dict[str, Path | ClipFault]:
    """Return the file, or the fault, for every clip id.

    Samples that a model makes are written to `folder` as 16-bit FLAC. Where that
    folder already holds a clip made by the same `recipe`, the model is not asked again;
    what another recipe made is removed.
    """
    _keep_only(folder, recipe)
    found: dict[str, Path | ClipFault] = {
        request.clip.id: path for request in requests if (path := _file(folder, request.clip.id)).is_file()
    }
    wanted = [request for request in requests if request.clip.id not in found]
    with progress(f"generate {named.info.name}", len(wanted)) as advance:
        for answer in named.model.generate(wanted):
            found[answer.clip_id] = _settle(answer, folder, recipe)
            advance(1)
    fault = ClipFault("missing", f"{named.info.name} gave no answer for this clip")
    return {request.clip.id: found.get(request.clip.id, fault) for request in requests}


def _settle(answer: Generated, folder: Path, recipe: Mapping[str, object]) -> Path | ClipFault:
    if answer.audio is None:
        return (
            answer.path or answer.fault or ClipFault("missing", "the model gave neither sound nor a reason")
        )
    path = _file(folder, answer.clip_id)
    if not (folder / "recipe.json").exists():
        write_text(folder / "recipe.json", _text(recipe))
    try:
        write_audio(path, answer.audio)
    except ClipFault as fault:
        return fault
    return path


def _file(folder: Path, clip_id: str) -> Path:
    return folder / f"{clip_id}.flac"


def _text(recipe: Mapping[str, object]) -> str:
    return json.dumps(recipe, indent=2, sort_keys=True) + "\n"


def _keep_only(folder: Path, recipe: Mapping[str, object]) -> None:
    card = folder / "recipe.json"
    if folder.exists() and not (card.is_file() and card.read_text(encoding="utf-8") == _text(recipe)):
        shutil.rmtree(folder)
