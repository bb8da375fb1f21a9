"""Models that publish only their sound: files of theirs, given to the clips that they belong to.

V2A-Mapper names its VGGSound samples `<YouTube id>_<start second>`. A file belongs to the
clip of the same name; failing that, to the clip of the same YouTube id and start second,
however the second is written (`_30`, `_000030`, `_30000_40000` in milliseconds).
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from v2abench.baselines.workers.cards import Card, built_in_card
from v2abench.baselines.workers.examining import describe_card
from v2abench.clips import Dataset
from v2abench.contracts import Generated, ModelInfo, Request
from v2abench.datasets.folder import AUDIO_SUFFIXES, media_by_stem
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.models import Description, ModelContext

logger = logging.getLogger(__name__)

_SECOND = re.compile(r"^(?P<video>[\w-]{11})_(?P<start>\d{1,6})$")
_MILLISECONDS = re.compile(r"^(?P<video>[\w-]{11})_(?P<start>\d+)_(?P<end>\d+)$")

Key = tuple[str, float]


@dataclass(frozen=True)
class SampleModel:
    """Files of a model by clip id, and those that belong to no clip."""

    info: ModelInfo
    files: Mapping[str, Path]
    extra_files: tuple[str, ...]
    recipe: Mapping[str, bool | int | float | str]

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        """Yield each clip's file, or the fault that it is missing."""
        for request in requests:
            path = self.files.get(request.clip.id)
            fault = None if path else ClipFault("missing", f"no sample of {self.info.name} for this clip")
            yield Generated(request.clip.id, path=path, fault=fault)


@dataclass(frozen=True)
class PublishedSamples:
    """A model of which only samples are published; the argument is their folder."""

    name: str

    def __call__(self, argument: str, context: ModelContext) -> SampleModel:
        """Open the folder; raises `V2ABenchError` where no file in it belongs to a clip."""
        card = built_in_card(self.name)
        if not argument:
            raise V2ABenchError(
                f"--model {card.name} needs its published samples: --model {card.name} --samples DIR "
                f"(get them from {card.source})"
            )
        stems = media_by_stem(Path(argument), AUDIO_SUFFIXES, f"--samples {argument}")
        matches = match(stems, context.dataset)
        if not matches:
            found = f"e.g. {next(iter(stems))}" if stems else "no sound files"
            raise V2ABenchError(
                f"--samples {argument}: no file belongs to a clip of {context.dataset.name} "
                f"(e.g. {context.dataset.clips[0].id}); there is {found}"
            )
        return self._model(card, stems, matches, context.dataset, Path(argument))

    def describe(self) -> Description:
        """Return what `models list` says, from the card."""
        return describe_card(built_in_card(self.name))

    def _model(
        self,
        card: Card,
        stems: Mapping[str, Path],
        matches: Mapping[str, str],
        dataset: Dataset,
        folder: Path,
    ) -> SampleModel:
        by_second = {clip: stem for clip, stem in matches.items() if clip != stem}
        word = f"{len(matches)} of {len(dataset.clips)} clips have a sample of {card.title}"
        if by_second:
            clip, stem = next(iter(by_second.items()))
            word += (
                f", {len(by_second)} of them found by YouTube id and start second "
                f"(e.g. {stems[stem].name} for clip {clip})"
            )
        extra = tuple(path.name for stem, path in stems.items() if stem not in set(matches.values()))
        logger.warning("%s; %d files belong to no clip", word, len(extra))
        info = ModelInfo(
            card.name,
            parameters=card.parameters,
            license=str(card.license),
            source=f"published samples in {folder.resolve().name}/",
        )
        recipe: dict[str, bool | int | float | str] = {
            "samples": "published",
            "named_like_clips": len(matches) - len(by_second),
            "by_second": len(by_second),
        }
        return SampleModel(info, {c: stems[s] for c, s in matches.items()}, extra, recipe)


v2a_mapper = PublishedSamples("v2a-mapper")


def match(stems: Mapping[str, Path], dataset: Dataset) -> dict[str, str]:
    """Return clip id -> stem, in the order of the dataset.

    Raises `V2ABenchError` where two files could belong to the same clip.
    """
    by_key: dict[Key, list[str]] = {}
    for stem in stems:
        if (key := clip_key(stem)) is not None:
            by_key.setdefault(key, []).append(stem)
    found = {}
    for clip in dataset.clips:
        key = clip_key(clip.id)
        same_second = by_key.get(key, []) if key else []
        if clip.id in stems:
            found[clip.id] = clip.id
        elif len(same_second) > 1:
            names = ", ".join(stems[stem].name for stem in same_second)
            raise V2ABenchError(f"--samples: {names} could each belong to clip {clip.id}; remove all but one")
        elif same_second:
            found[clip.id] = same_second[0]
    return found


def clip_key(name: str) -> Key | None:
    """Return YouTube id and start in seconds of a VGGSound name, or None."""
    if found := _MILLISECONDS.match(name):
        return found["video"], int(found["start"]) / 1000
    if found := _SECOND.match(name):
        return found["video"], float(found["start"])
    return None
