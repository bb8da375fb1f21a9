"""AudioScore as a reward: sounds in memory, graded without touching a file or the store of sounds.

The videos and texts of the clips go through the feature store as always; the sounds, which are
new in every step of training, go through the networks directly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from v2abench.clips import Clip, Dataset
from v2abench.contracts import Array, Features, Forward, Network, Prepared, Stream
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.features.contents import hash_contents
from v2abench.features.extraction import Content, Extractor, exact_arithmetic
from v2abench.features.plan import Plan, is_media, is_pair, make_plan, stands_on
from v2abench.features.streams import StreamFeatures
from v2abench.media.audio import Audio
from v2abench.media.reading import AudioWindow
from v2abench.metrics.audioscore import AudioScore
from v2abench.protocols.schema import Protocol


@dataclass
class AudioScoreReward:
    """A callable: clips and their sounds in, (n, 3) float64 P(Good), P(Medium), P(Bad) out.

    A sound that cannot be graded at all (too short, not finite) gets (0, 0, 1). Raises
    `V2ABenchError` where the AudioScore was fitted with other networks than the protocol's, or
    needs a network that reads whole files.
    """

    protocol: Protocol
    extractor: Extractor
    fitted: str = "impacts"
    _forwards: dict[Network, Forward] = field(default_factory=dict)
    _known: dict[str, dict[Stream, dict[str, Array]]] = field(default_factory=dict)

    def __call__(self, clips: Sequence[Clip], audios: Sequence[Audio]) -> Tensor:
        """Grade one sound of each clip; clips may come more than once."""
        metric = AudioScore(fitted=self.fitted)
        names = [f"{number}" for number in range(len(clips))]
        dataset = Dataset(
            "reward", "reward", tuple(replace(c, id=n) for c, n in zip(clips, names, strict=True))
        )
        plan = make_plan([metric], self.protocol, dataset)
        _refuse_other(metric, plan, self.protocol)
        self._learn(list({clip.id: clip for clip in clips}.values()), plan)
        inputs = {
            name: {**self._known[clip.id], "generated": heard}
            for name, clip, heard in zip(names, clips, self._heard(audios, plan), strict=True)
        }
        for given in inputs.values():
            self._add_pairs(plan, given)
        grades = metric.grade(_by_feature(metric, inputs, {c.id for c in dataset.clips if c.speech}))
        worst = np.array([0.0, 0.0, 1.0])
        return torch.from_numpy(np.stack([grades.get(name, worst) for name in names]))

    def _learn(self, clips: Sequence[Clip], plan: Plan) -> None:
        """Read what is not known yet of the clips' videos, references and texts."""
        new = [clip for clip in clips if clip.id not in self._known]
        paths = [path for clip in new for path in (clip.video, clip.reference) if path is not None]
        contents = hash_contents(paths)
        sides: dict[Stream, dict[str, Content | ClipFault]] = {
            "video": {clip.id: contents[clip.video] for clip in new},
            "reference": {clip.id: contents[clip.reference] for clip in new if clip.reference is not None},
            "text": {c.id: Content.of_text(text) for c in new if (text := self.protocol.text_of(c))},
        }
        wanted: dict[Network, list[Content]] = {}
        for stream, side in sides.items():
            for network in _media(plan, stream):
                wanted.setdefault(network, []).extend(c for c in side.values() if isinstance(c, Content))
        self.extractor.extract(wanted, "read clips")
        streams = StreamFeatures(self.extractor, sides)
        self._known |= {clip.id: {} for clip in new}
        for stream in sides:
            for network in _media(plan, stream):
                for feature in network.features:
                    for clip_id, array in streams.features(stream, network, feature).items():
                        known = self._known[clip_id].setdefault(stream, {})
                        known[f"{network.name}.{feature}"] = array

    def _heard(self, audios: Sequence[Audio], plan: Plan) -> list[dict[str, Array]]:
        """The features of each sound; a sound that a network cannot take lacks that network's."""
        whole = [np.isfinite(a.samples).all() and a.samples.shape[1] > 0 for a in audios]
        windows = [
            AudioWindow.of(audio, self.extractor.window.seconds) if ok else None
            for audio, ok in zip(audios, whole, strict=True)
        ]
        found: list[dict[str, Array]] = [{} for _ in audios]
        for network in _media(plan, "generated"):
            if network.modality != "audio":
                raise V2ABenchError(
                    f"network {network.name!r} reads whole files; AudioScore cannot reward with it"
                )
            prepared = {n: inputs for n, w in enumerate(windows) if w and (inputs := _prepared(network, w))}
            outputs = self._forward(network, list(prepared.values())) if prepared else []
            for number, features in zip(prepared, outputs, strict=True):
                found[number] |= {f"{network.name}.{name}": array for name, array in features.items()}
        return found

    def _forward(self, network: Network, batch: Sequence[Prepared]) -> Sequence[Mapping[str, Array]]:
        if network not in self._forwards:
            self._forwards[network] = network.load(self.extractor.device)
        with torch.inference_mode(), exact_arithmetic():
            return self._forwards[network](batch)

    def _add_pairs(self, plan: Plan, given: dict[Stream, dict[str, Array]]) -> None:
        """Compute the pair networks of one clip from its features."""
        for name in plan.pairs:
            network = plan.networks[name]
            if not is_pair(network) or any(
                feature not in given.get(stream, {})
                for stream, names in network.needs.items()
                for feature in names
            ):
                continue
            found = self.extractor.compare(network, given)
            if not isinstance(found, ClipFault):
                given["generated"] |= {f"{name}.{feature}": array for feature, array in found.items()}


def _prepared(network: Network, window: AudioWindow) -> Prepared | None:
    try:
        return network.prepare(window)
    except ClipFault:
        return None


def _refuse_other(metric: AudioScore, plan: Plan, protocol: Protocol) -> None:
    fitted, here = metric.stands_on, stands_on(plan, protocol)
    if other := sorted(name for name, what in fitted.items() if here.get(name) != what):
        raise V2ABenchError(
            f"AudioScore {metric.fitted!r} was fitted with another {', '.join(other)} than protocol "
            f"{protocol.name!r} has; fit it anew"
        )


def _media(plan: Plan, stream: Stream) -> list[Network]:
    return [network for name in plan.media[stream] if is_media(network := plan.networks[name])]


def _by_feature(
    metric: AudioScore, inputs: Mapping[str, Mapping[Stream, Mapping[str, Array]]], speech: set[str]
) -> Features:
    return {
        stream: {
            feature: {
                name: given[stream][feature]
                for name, given in inputs.items()
                if feature in given.get(stream, {}) and (feature not in metric.speech_only or name in speech)
            }
            for feature in features
        }
        for stream, features in metric.needs.items()
    }
