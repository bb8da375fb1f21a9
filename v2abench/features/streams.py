"""The features of a run by stream and clip, read from the store."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from v2abench.contracts import Array, Network, PairNetwork, Stream
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.extraction import FACTS, Content, Extractor, description, fingerprint
from v2abench.features.plan import Plan, is_media, is_pair
from v2abench.features.store import Record

Side = Mapping[str, Content | ClipFault]
"""Clip id -> the content of one stream, or why there is none."""

PAIR_BATCH = 16


@dataclass
class StreamFeatures:
    """Reads what is stored of each clip; only the facts of a file are kept in memory."""

    extractor: Extractor
    sides: Mapping[Stream, Side]
    _facts: dict[Stream, Mapping[str, Record]] = field(default_factory=dict)

    def features(self, stream: Stream, network: Network, feature: str) -> dict[str, Array]:
        """Return clip id -> array for the clips that have the feature."""
        records = self._read(stream, network, (feature,))
        return {clip_id: r.features[feature] for clip_id, r in records.items() if feature in r.features}

    def remarks(self, stream: Stream, network: Network) -> Mapping[str, Record]:
        """Return the notes and faults of `network` by clip id, without its features."""
        return self._read(stream, network, ())

    def facts(self, stream: Stream) -> Mapping[str, Record]:
        """Return the facts of each clip's file; raises `V2ABenchError` where some have gone."""
        if stream not in self._facts:
            found = self._read(stream, FACTS, FACTS.features)
            side = self.sides.get(stream, {})
            if any(isinstance(item, Content) and clip_id not in found for clip_id, item in side.items()):
                raise V2ABenchError(
                    "features went from the cache while they were used (`cache gc`?); run the command again"
                )
            self._facts[stream] = found
        return self._facts[stream]

    def fact(self, stream: Stream, clip_id: str, name: str) -> float | None:
        """Return a scalar of `facts`, or None where the stream does not have it."""
        record = self.facts(stream).get(clip_id)
        values = record.features.get(name) if record else None
        return float(values[0]) if values is not None and len(values) else None

    def clip_seconds(self, clip_id: str) -> float | None:
        """Return the length of the clip's video, else of its reference, in seconds."""
        video = self.fact("video", clip_id, "video_seconds")
        return video if video is not None else self.fact("reference", clip_id, "sound_seconds")

    def compute_pairs(self, plan: Plan, name: str) -> Mapping[str, Record]:
        """Return what the pair network `name` says of each clip, computing what is not stored.

        Clips that lack what it needs are left out. Raises `UnavailableError` where the
        network cannot be used (a package is not installed).
        """
        network = plan.networks[name]
        if not is_pair(network):
            raise V2ABenchError(f"network {name!r} works on media, not on pairs")
        keys = self._pair_keys(plan, network)
        store = self.extractor.store(network)
        missing = set(store.missing(list(keys.values())))
        todo = [clip_id for clip_id, key in keys.items() if key in missing]
        with self.extractor.progress(name, len(todo)) as advance:
            for start in range(0, len(todo), PAIR_BATCH):
                batch = todo[start : start + PAIR_BATCH]
                inputs = self._pair_inputs(plan, network, batch)
                records = [self._compared(network, keys[clip_id], given) for clip_id, given in inputs.items()]
                store.write(records, description(network))
                advance(len(batch))
        stored = store.read(keys.values())
        return {clip_id: stored[key] for clip_id, key in keys.items() if key in stored}

    def _read(self, stream: Stream, network: Network, features: tuple[str, ...]) -> dict[str, Record]:
        side = self.sides.get(stream, {})
        keys = {c: self.extractor.key(item.hash) for c, item in side.items() if isinstance(item, Content)}
        stored = self.extractor.store(network).read(keys.values(), features)
        return {clip_id: stored[key] for clip_id, key in keys.items() if key in stored}

    def _pair_keys(self, plan: Plan, network: PairNetwork) -> dict[str, str]:
        """The key of each clip: both contents, and what the networks beneath depend on."""
        names = sorted({plan.feature(name)[0].name for names in network.needs.values() for name in names})
        beneath = "+".join(fingerprint(plan.networks[name]) for name in names)
        suffix = hashlib.sha256(beneath.encode()).hexdigest()[:12]
        keys = {}
        for clip_id in sorted(plan.pairs[network.name]):
            contents = [self.sides[stream].get(clip_id) for stream in network.needs]
            hashes = [item.hash for item in contents if isinstance(item, Content)]
            if len(hashes) == len(contents):
                keys[clip_id] = f"{self.extractor.key('+'.join(hashes))}:{suffix}"
        return keys

    def _pair_inputs(
        self, plan: Plan, network: PairNetwork, clips: list[str]
    ) -> dict[str, Mapping[Stream, Mapping[str, Array]]]:
        """What `network` needs of each of `clips`, without those that lack a part of it."""
        part = StreamFeatures(
            self.extractor,
            {s: {c: item for c, item in side.items() if c in clips} for s, side in self.sides.items()},
        )
        inputs: dict[str, dict[Stream, dict[str, Array]]] = {clip_id: {} for clip_id in clips}
        for stream, names in network.needs.items():
            for name in names:
                source, feature = plan.feature(name)
                found = part.features(stream, source, feature) if is_media(source) else {}
                inputs = {clip_id: given for clip_id, given in inputs.items() if clip_id in found}
                for clip_id, given in inputs.items():
                    given.setdefault(stream, {})[name] = found[clip_id]
        return dict(inputs)

    def _compared(
        self, network: PairNetwork, key: str, inputs: Mapping[Stream, Mapping[str, Array]]
    ) -> Record:
        found = self.extractor.compare(network, inputs)
        return Record(key, fault=found) if isinstance(found, ClipFault) else Record(key, found)
