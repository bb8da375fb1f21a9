"""The features of a run by stream and clip, read from the store."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from v2abench.contracts import Array, Network, PairNetwork, Stream
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.extraction import FACTS, Content, Extractor, description
from v2abench.features.plan import Plan, is_media, is_pair
from v2abench.features.store import Record

Side = Mapping[str, Content | ClipFault]
"""Clip id -> the content of one stream, or why there is none."""

PAIR_BATCH = 16


@dataclass
class StreamFeatures:
    """Reads records by clip id; what was read once is kept for the run."""

    extractor: Extractor
    sides: Mapping[Stream, Side]
    _records: dict[tuple[Stream, str], dict[str, Record]] = field(default_factory=dict)

    def records(self, stream: Stream, network: Network) -> Mapping[str, Record]:
        """Return what `network` said of each clip's content in `stream`."""
        if (stream, network.name) not in self._records:
            side = self.sides.get(stream, {})
            keys = {c: self.extractor.key(item.hash) for c, item in side.items() if isinstance(item, Content)}
            stored = self.extractor.store(network).read(keys.values())
            found = {clip_id: stored[key] for clip_id, key in keys.items() if key in stored}
            self._records[stream, network.name] = found
        return self._records[stream, network.name]

    def fact(self, stream: Stream, clip_id: str, name: str) -> float | None:
        """Return a scalar of `facts`, or None where the stream does not have it."""
        record = self.records(stream, FACTS).get(clip_id)
        values = record.features.get(name) if record else None
        return float(values[0]) if values is not None and len(values) else None

    def clip_seconds(self, clip_id: str) -> float | None:
        """Return the length of the clip's video, else of its reference, in seconds."""
        video = self.fact("video", clip_id, "video_seconds")
        return video if video is not None else self.fact("reference", clip_id, "sound_seconds")

    def compute_pairs(self, plan: Plan, name: str) -> Mapping[str, Record]:
        """Return what the pair network `name` says of each clip, computing what is not stored.

        Raises `V2ABenchError` where the network cannot be used (a package is not installed).
        """
        network = plan.networks[name]
        if not is_pair(network):
            raise V2ABenchError(f"network {name!r} works on media, not on pairs")
        keys = {
            clip_id: key for clip_id in sorted(plan.pairs[name]) if (key := self._pair_key(network, clip_id))
        }
        store = self.extractor.store(network)
        missing = set(store.missing(list(keys.values())))
        todo = [(clip_id, key) for clip_id, key in keys.items() if key in missing]
        with self.extractor.progress(name, len(todo)) as advance:
            for start in range(0, len(todo), PAIR_BATCH):
                batch = todo[start : start + PAIR_BATCH]
                store.write([self._pair(plan, network, *item) for item in batch], description(network))
                advance(len(batch))
        stored = store.read(keys.values())
        return {clip_id: stored[key] for clip_id, key in keys.items()}

    def _pair_key(self, network: PairNetwork, clip_id: str) -> str | None:
        contents = [self.sides[stream].get(clip_id) for stream in network.needs]
        hashes = [item.hash for item in contents if isinstance(item, Content)]
        return self.extractor.key("+".join(hashes)) if len(hashes) == len(contents) else None

    def _pair(self, plan: Plan, network: PairNetwork, clip_id: str, key: str) -> Record:
        inputs: dict[Stream, dict[str, Array]] = {}
        for stream, names in network.needs.items():
            for name in names:
                source, feature = plan.feature(name)
                record = self.records(stream, source).get(clip_id) if is_media(source) else None
                if record is None or record.fault:
                    return Record(key, fault=ClipFault("undefined", f"{name} of the {stream} is missing"))
                inputs.setdefault(stream, {})[name] = record.features[feature]
        try:
            return Record(key, network.compute(inputs))
        except ClipFault as fault:
            return Record(key, fault=fault)


def feature_map(records: Mapping[str, Record], feature: str) -> dict[str, Array]:
    """Return clip id -> array for the clips that have the feature."""
    return {clip_id: r.features[feature] for clip_id, r in records.items() if feature in r.features}
