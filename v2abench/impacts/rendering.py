"""Scenes become files: `<id>.mp4` (pictures only), `<id>.flac` (their sound), `manifest.jsonl`.

Each file appears whole or not at all, and depends on its scene only, so a
killed run goes on where it stopped and any number of workers gives the same
bytes (on one machine with one set of library versions: encoders differ).
"""

import json
import multiprocessing
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Any

from v2abench.clips import Clip
from v2abench.errors import V2ABenchError
from v2abench.impacts.pictures import render_frames
from v2abench.impacts.scenes import FRAME_RATE, SAMPLE_RATE, SECONDS, VERSION, Scene, make_scene
from v2abench.impacts.sounds import render_sound
from v2abench.media.writing import write_audio, write_video

Progress = Callable[[int, int], None]
"""Called with the number of clips that are there and the number that were asked for."""

_ID = re.compile(r"(train|val|test)-(\d{6})")
_WORTH_A_POOL = 64
"""Fewer clips are done before worker processes have started."""


def render(
    split: str,
    indices: Iterable[int],
    folder: Path,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Clip, ...]:
    """Write the clips of `split` that `folder` lacks and return all asked for, in order.

    A clip is there when both its files are. `workers` processes share the work
    (1: in this process; None: one a CPU where there is enough to do).
    `manifest.jsonl` gets one line for every clip of the world in the folder.
    Raises `V2ABenchError` for an unknown split or index, for a folder that
    cannot be written, and for one whose manifest belongs to something else.
    """
    scenes = [make_scene(split, index) for index in indices]
    clips = tuple(_clip(scene, folder) for scene in scenes)
    missing = [scene for scene, clip in zip(scenes, clips, strict=True) if not _is_there(clip)]
    report = progress or (lambda _done, _total: None)
    report(len(scenes) - len(missing), len(scenes))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        listed = _listed(folder)
        for done, _ in enumerate(_rendered(missing, folder, workers), 1 + len(scenes) - len(missing)):
            report(done, len(scenes))
        _write_manifest(folder, listed)
    except OSError as error:
        raise V2ABenchError(
            f"cannot write the impacts clips to {folder}: {error.strerror or error}; "
            "free space there or name a folder that you may write to"
        ) from error
    except BrokenProcessPool as error:
        raise V2ABenchError(
            "a worker process that rendered impacts clips died: it ran out of memory, or your script "
            "lacks `if __name__ == '__main__':`; call it again (what is done is kept) with workers=1"
        ) from error
    return clips


def _clip(scene: Scene, folder: Path) -> Clip:
    return Clip(
        id=scene.id,
        video=folder / f"{scene.id}.mp4",
        reference=folder / f"{scene.id}.flac",
        prompt=scene.prompt,
        label=scene.material.name,
    )


def _is_there(clip: Clip) -> bool:
    return clip.video.is_file() and clip.reference is not None and clip.reference.is_file()


def _rendered(scenes: Sequence[Scene], folder: Path, workers: int | None) -> Iterator[None]:
    """Render every scene; yield once for each that is done."""
    default = os.cpu_count() or 1 if len(scenes) >= _WORTH_A_POOL else 1
    count = min(workers or default, len(scenes))
    if count <= 1:
        for scene in scenes:
            _write_clip(scene, folder)
            yield
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        yield from pool.map(_write_clip, scenes, repeat(folder))


def _write_clip(scene: Scene, folder: Path) -> None:
    clip = _clip(scene, folder)
    write_video(clip.video, render_frames(scene), Fraction(FRAME_RATE))
    write_audio(folder / f"{scene.id}.flac", render_sound(scene))


def _listed(folder: Path) -> dict[str, str]:
    """Return the lines of the folder's manifest by id, none if there is no manifest."""
    manifest = folder / "manifest.jsonl"
    if not manifest.exists():
        return {}
    lines = {}
    for line in manifest.read_text(encoding="utf-8").splitlines():
        record = _record_in(line)
        if record is None or record.get("version") != VERSION or not _ID.fullmatch(str(record.get("id"))):
            raise V2ABenchError(
                f"{manifest} does not list clips of impacts version {VERSION}: name an empty folder"
            )
        lines[str(record["id"])] = line
    return lines


def _record_in(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _write_manifest(folder: Path, listed: dict[str, str]) -> None:
    """List every clip that is in the folder, by split and index; atomic."""
    present = [match for path in sorted(folder.glob("*.mp4")) if (match := _ID.fullmatch(path.stem))]
    lines = [
        listed.get(match[0]) or json.dumps(record_of(make_scene(match[1], int(match[2]))))
        for match in present
        if (folder / f"{match[0]}.flac").is_file()
    ]
    if lines != list(listed.values()):
        temporary = folder / f".manifest-{os.getpid()}.tmp"
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        temporary.replace(folder / "manifest.jsonl")


def record_of(scene: Scene) -> dict[str, Any]:
    """Return what the manifest says of a scene; plain JSON."""
    return {
        "id": scene.id,
        "video": f"{scene.id}.mp4",
        "reference": f"{scene.id}.flac",
        "label": scene.material.name,
        "prompt": scene.prompt,
        "objects": [{"motion": actor.kind, "size_m": round(actor.size, 4)} for actor in scene.actors],
        "events": [
            {
                "time_s": round(event.time_s, 6),
                "speed": round(event.speed, 4),
                "material": event.material,
                "object": event.actor,
            }
            for event in scene.events
        ],
        "seconds": SECONDS,
        "fps": FRAME_RATE,
        "sample_rate": SAMPLE_RATE,
        "version": VERSION,
    }
