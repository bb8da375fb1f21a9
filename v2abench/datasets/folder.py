"""`folder:DIR`: the videos directly inside a folder, each with its own sound as reference.

With `--reference DIR` the reference is instead the file of the same stem there.
"""

from collections import defaultdict
from pathlib import Path

from v2abench.clips import Clip, Dataset
from v2abench.datasets.opening import DatasetOptions, refuse_options
from v2abench.errors import V2ABenchError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v")
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")


def open_folder(argument: str, options: DatasetOptions) -> Dataset:
    """Open the folder `argument`; clips are sorted by id, the file's stem."""
    refuse_options(f"folder:{argument}", options, "data_root")
    videos = media_by_stem(Path(argument), VIDEO_SUFFIXES, f"--dataset folder:{argument}")
    if not videos:
        raise V2ABenchError(
            f"--dataset folder:{argument}: no videos directly inside; looked for {', '.join(VIDEO_SUFFIXES)}"
        )
    references = dict(videos)
    if options.reference is not None:
        suffixes = AUDIO_SUFFIXES + VIDEO_SUFFIXES
        references = media_by_stem(options.reference, suffixes, f"--reference {options.reference}")
        if not references.keys() & videos.keys():
            raise V2ABenchError(
                f"--reference {options.reference}: no file there has the stem of a video in {argument}; "
                "a reference is named like its video"
            )
    clips = tuple(Clip(stem, path, references.get(stem)) for stem, path in sorted(videos.items()))
    return Dataset(Path(argument).resolve().name, f"folder:{argument}", clips)


def media_by_stem(folder: Path, suffixes: tuple[str, ...], option: str) -> dict[str, Path]:
    """Return the media files directly inside `folder` by stem.

    Hidden files are left out. Raises `V2ABenchError` where `folder` is not one, or
    where two files share a stem.
    """
    if not folder.is_dir():
        raise V2ABenchError(f"{option}: {folder} is not a folder")
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and not path.is_dir():
            found[path.stem].append(path)
    if twice := [paths for paths in found.values() if len(paths) > 1]:
        names = "; ".join(" and ".join(p.name for p in paths) for paths in twice[:10])
        raise V2ABenchError(f"{option}: files must differ in more than their suffix, but there are {names}")
    return {stem: paths[0] for stem, paths in found.items()}
