"""Which networks run on which stream, and on which clips: the union of what the metrics need."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from v2abench.clips import Clip, Dataset
from v2abench.contracts import Metric, Network, PairNetwork, Stream
from v2abench.features.extraction import fingerprint
from v2abench.protocols.schema import Protocol

AnyNetwork = Network | PairNetwork


@dataclass(frozen=True)
class Plan:
    """The networks by name, and for each stream and for the pairs the clip ids they are wanted for."""

    networks: Mapping[str, AnyNetwork]
    media: Mapping[Stream, Mapping[str, frozenset[str]]]
    pairs: Mapping[str, frozenset[str]]

    def feature(self, name: str) -> tuple[AnyNetwork, str]:
        """Return the network of the feature `aisfx.logits`, and the feature's own name."""
        network, _, feature = name.partition(".")
        return self.networks[network], feature


def make_plan(metrics: Sequence[Metric], protocol: Protocol, dataset: Dataset) -> Plan:
    """Resolve what `metrics` need; raises `V2ABenchError` for a feature that no network gives."""
    networks: dict[str, AnyNetwork] = {}
    media: dict[Stream, dict[str, frozenset[str]]] = {
        "generated": {},
        "reference": {},
        "video": {},
        "text": {},
    }
    pairs: dict[str, frozenset[str]] = {}

    def want(stream: Stream, feature: str, ids: frozenset[str]) -> None:
        name = feature.partition(".")[0]
        network = networks.setdefault(name, protocol.build_network(name))
        if is_pair(network):
            pairs[name] = pairs.get(name, frozenset()) | ids
            for needed, features in network.needs.items():
                for inner in features:
                    want(needed, inner, ids)
        else:
            media[stream][name] = media[stream].get(name, frozenset()) | ids

    speech = frozenset(clip.id for clip in dataset.clips if clip.speech)
    for metric in metrics:
        ids = frozenset(clip.id for clip in clips_of(metric, dataset))
        for stream, features in metric.needs.items():
            for feature in features:
                want(stream, feature, ids & speech if feature in speech_only(metric) else ids)
    return Plan(networks, media, pairs)


def stands_on(plan: Plan, protocol: Protocol) -> dict[str, str]:
    """Return what features depend on beside the media: each network's fingerprint, the window, the text."""
    found = {name: fingerprint(network) for name, network in plan.networks.items()}
    return {**found, "window": protocol.window.key, "text": protocol.text or "none"}


def speech_only(metric: Metric) -> Collection[str]:
    """Return the features that a metric wants of clips of speech only, though it is meant for more."""
    found: Collection[str] = getattr(metric, "speech_only", ())
    return found


def clips_of(metric: Metric, dataset: Dataset) -> list[Clip]:
    """Return the clips that a metric is meant for."""
    return [clip for clip in dataset.clips if metric.subset == "all" or clip.speech]


def is_pair(network: AnyNetwork) -> TypeGuard[PairNetwork]:
    """Say whether a network works on stored features of two streams instead of media."""
    return not hasattr(network, "modality")


def is_media(network: AnyNetwork) -> TypeGuard[Network]:
    """Say whether a network works on media."""
    return hasattr(network, "modality")
