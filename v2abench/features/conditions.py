"""What networks say of clips' videos, for models that are told of them: computed once, kept in the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from v2abench.clips import Clip
from v2abench.contracts import Array, Network
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.contents import hash_contents
from v2abench.features.extraction import Content, Extractor
from v2abench.features.store import Record
from v2abench.protocols.schema import Window


@dataclass(frozen=True)
class VideoConditions:
    """Features of the first `seconds` of videos by one network, whatever a protocol's window is.

    `extractor` says where the store is, and on which device and with how many workers.
    """

    extractor: Extractor
    network: Network
    seconds: float
    _contents: dict[Path, Content | ClipFault] = field(default_factory=dict)

    def compute(self, clips: Sequence[Clip]) -> None:
        """Compute and store what is missing; the network is gone from memory afterwards."""
        unknown = [clip.video for clip in clips if clip.video not in self._contents]
        self._contents.update(hash_contents(unknown))
        present = [item for clip in clips if isinstance(item := self._contents[clip.video], Content)]
        self._own_extractor().extract({self.network: present}, f"conditions {self.network.name}")

    def read(self, clips: Sequence[Clip]) -> list[Mapping[str, Array] | ClipFault]:
        """Return the features of each clip's video, or why there are none; `compute` was called before."""
        own = self._own_extractor()
        contents = [self._contents[clip.video] for clip in clips]
        stored = own.store(self.network).read(own.key(c.hash) for c in contents if isinstance(c, Content))
        return [
            content if isinstance(content, ClipFault) else _said(stored.get(own.key(content.hash)))
            for content in contents
        ]

    def _own_extractor(self) -> Extractor:
        """One with a window of its own, and that keeps no network longer than it lives itself."""
        return replace(self.extractor, window=Window(seconds=self.seconds), _loaded={})


def _said(record: Record | None) -> Mapping[str, Array] | ClipFault:
    if record is None:
        raise V2ABenchError(
            "conditions went from the cache while they were used (`cache gc`?); run the command again"
        )
    return record.fault or record.features
