"""`vggsound`: the VGGSound test set in MMAudio's layout.

The list is `vgg-test.tsv` (`id<TAB>label`, with that header) in `--data-root`, or
the file named in `vggsound:LIST`; the videos are `<data-root>/<id>.mp4`. The label
serves as prompt too, as in MMAudio's evaluation.
"""

from pathlib import Path

from v2abench.clips import Clip, Dataset
from v2abench.datasets.manifest import read_rows
from v2abench.datasets.opening import DatasetOptions, refuse_options
from v2abench.errors import V2ABenchError

SPEECH_LABELS = frozenset(
    {"male speech, man speaking", "female speech, woman speaking", "child speech, kid speaking"}
)


def open_vggsound(argument: str, options: DatasetOptions) -> Dataset:
    """Open the list; videos that are not there stay in the set and end in the ledger."""
    refuse_options("vggsound", options, "reference")
    root = options.data_root
    if root is None:
        raise V2ABenchError("--dataset vggsound needs --data-root, the folder with the videos <id>.mp4")
    if not root.is_dir():
        raise V2ABenchError(f"--data-root {root} is not a folder")
    path = Path(argument) if argument else root / "vgg-test.tsv"
    if not path.is_file():
        raise V2ABenchError(
            f"--dataset vggsound: there is no list {path}; put MMAudio's vgg-test.tsv there, "
            "or name it as vggsound:LIST.tsv"
        )
    clips = tuple(
        _clip(row.get("id", ""), row.get("label", ""), root, place) for place, row in read_rows(path)
    )
    if clips and not any(clip.video.is_file() for clip in clips):
        raise V2ABenchError(
            f"--data-root {root}: none of the {len(clips)} videos is there, e.g. {clips[0].video.name}"
        )
    return Dataset("vggsound", "vggsound", clips)


def _clip(name: str, label: str, root: Path, place: str) -> Clip:
    if not name:
        raise V2ABenchError(f"{place} has no id; the list needs a header line with `id` and `label`, by tabs")
    video = root / f"{name}.mp4"
    return Clip(name, video, video, prompt=label or None, label=label or None, speech=label in SPEECH_LABELS)
