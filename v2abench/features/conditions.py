"""What networks say of clips, for models that are told of them: computed once, kept in the feature store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from v2abench.clips import Clip
from v2abench.contracts import Network
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.contents import hash_contents
from v2abench.features.extraction import Content, Extractor
from v2abench.features.store import Record


@dataclass(frozen=True)
class ConditionStore:
    """Features of contents in the `extractor`'s window; networks are in memory only while they work."""

    extractor: Extractor
    _videos: dict[Path, Content | ClipFault] = field(default_factory=dict)

    def videos(self, clips: Sequence[Clip]) -> list[Content | ClipFault]:
        """Return the content of each clip's video, hashed once, or why there is none."""
        self._videos.update(hash_contents(clip.video for clip in clips if clip.video not in self._videos))
        return [self._videos[clip.video] for clip in clips]

    def compute(self, wanted: Mapping[Network, Sequence[Content]], stage: str) -> None:
        """Compute and store what is missing of each network on each content."""
        # What this one loads is gone with it.
        replace(self.extractor, _loaded={}).extract(wanted, stage)
        if self.extractor.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def read(self, network: Network, contents: Sequence[Content]) -> dict[str, Record]:
        """Return the record of each content's hash; `compute` was called before."""
        keys = {content.hash: self.extractor.key(content.hash) for content in contents}
        stored = self.extractor.store(network).read(keys.values())
        if len(stored) < len(keys):
            raise V2ABenchError(
                "conditions went from the cache while they were used (`cache gc`?); run the command again"
            )
        return {digest: stored[key] for digest, key in keys.items()}
