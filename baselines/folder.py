"""`folder:DIR`: a model as the files it made, one a clip, named like the clip."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from v2abench.contracts import Generated, ModelInfo, Request
from v2abench.datasets.folder import AUDIO_SUFFIXES, VIDEO_SUFFIXES, media_by_stem
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.models import ModelContext


@dataclass(frozen=True)
class FolderModel:
    """Files directly inside a folder, by stem; sound files, or videos with sound."""

    info: ModelInfo
    folder: Path
    files: dict[str, Path]
    extra_files: tuple[str, ...]
    recipe: Mapping[str, bool | int | float | str] = field(default_factory=dict)

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        """Yield each clip's file, or the fault that it is missing."""
        for request in requests:
            path = self.files.get(request.clip.id)
            fault = (
                None if path else ClipFault("missing", f"no file {request.clip.id}.* in {self.folder.name}/")
            )
            yield Generated(request.clip.id, path=path, fault=fault)


def open_folder_model(argument: str, context: ModelContext) -> FolderModel:
    """Open the folder `argument`; files that belong to no clip are listed as extra.

    Raises `V2ABenchError` where the folder holds nothing for this dataset.
    """
    folder, dataset = Path(argument), context.dataset
    files = media_by_stem(folder, AUDIO_SUFFIXES + VIDEO_SUFFIXES, f"--model folder:{argument}")
    ids = {clip.id for clip in dataset.clips}
    if not ids & files.keys():
        found = f"e.g. {next(iter(files.values())).name}" if files else "no sound files at all"
        raise V2ABenchError(
            f"--model folder:{argument}: no file is named like a clip of {dataset.name} "
            f"(e.g. {dataset.clips[0].id}.wav); there is {found}"
        )
    extra = tuple(path.name for stem, path in files.items() if stem not in ids)
    name = folder.resolve().name
    return FolderModel(ModelInfo(name, source=f"files in {name}/"), folder, files, extra)
