"""From features to score records: every metric, with coverage and signature."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from v2abench import signature
from v2abench.clips import Dataset
from v2abench.contracts import Array, Bootstrap, Metric, Score, Stream
from v2abench.errors import UnavailableError
from v2abench.features.plan import AnyNetwork, Plan, clips_of, is_media, is_pair, speech_only
from v2abench.features.streams import StreamFeatures
from v2abench.runs.ledger import Ledger
from v2abench.runs.report import IntervalRecord, Reason, ScoreRecord


@dataclass
class Scorer:
    """Computes the metrics of one run; failed clips take no part."""

    dataset: Dataset
    plan: Plan
    streams: StreamFeatures
    ledger: Ledger
    run_signature: str
    bootstrap: Bootstrap | None
    unavailable: Mapping[str, str]
    about: Mapping[str, str] = field(default_factory=dict)
    stands_on: Mapping[str, str] = field(default_factory=dict)
    per_clip: dict[str, Mapping[str, float]] = field(default_factory=dict)

    def record(self, metric: Metric) -> ScoreRecord:
        """Return the record of one metric; one that cannot be computed says why in `warnings`."""
        expected = [clip.id for clip in clips_of(metric, self.dataset)]
        score = self._score(metric, expected)
        if score.per_clip is not None:
            self.per_clip[metric.name] = dict(sorted(score.per_clip.items()))
        missing = self._missing(metric, expected, score) if score.value is not None else ()
        return ScoreRecord(
            name=metric.name,
            about=self.about.get(metric.name, ""),
            value=score.value,
            unit=metric.unit,
            direction=metric.direction.value,
            interval=IntervalRecord(**asdict(score.interval)) if score.interval else None,
            details=dict(score.details),
            warnings=score.warnings,
            used=len(score.clips),
            expected=len(expected),
            missing=missing,
            citation=metric.citation,
            signature=signature.of_metric(metric, self.run_signature),
            signature_long=signature.long_form(
                metric, self.run_signature, list(self.plan.networks.values()), self.bootstrap
            ),
        )

    def _missing(self, metric: Metric, expected: Sequence[str], score: Score) -> tuple[Reason, ...]:
        needed = self._needed(metric.needs)
        undefined = dict(score.undefined)
        if "reference" in needed:
            bare = [clip.id for clip in self.dataset.clips if clip.reference is None]
            undefined |= dict.fromkeys(bare, "the clip has no reference sound")
        if "text" in needed:
            mute = [clip.id for clip in self.dataset.clips if clip.id not in self.streams.sides["text"]]
            undefined |= dict.fromkeys(mute, "the clip has no text")
        return self.ledger.missing(expected, score.clips, needed, undefined)

    def _needed(self, needs: Mapping[Stream, tuple[str, ...]]) -> set[str]:
        """The streams and networks that stand behind `needs`, as the ledger's reasons name them."""
        found: set[str] = set()
        for stream, names in needs.items():
            for name in names:
                network, _ = self.plan.feature(name)
                if is_pair(network):
                    found |= {network.name} | self._needed(network.needs)
                else:
                    found |= {stream, f"{stream} {network.name}"}
        return found

    def _score(self, metric: Metric, expected: Sequence[str]) -> Score:
        if not expected:
            return Score(None, (), warnings=(f"no clip of this dataset is marked as {metric.subset}",))
        if changed := self._changed(metric):
            return Score(None, (), warnings=(changed,))
        speech = {clip.id for clip in self.dataset.clips if clip.speech}
        try:
            features = {
                stream: {
                    name: self._feature(
                        stream, name, speech & set(expected) if name in speech_only(metric) else set(expected)
                    )
                    for name in names
                }
                for stream, names in metric.needs.items()
            }
        except UnavailableError as error:
            return Score(None, (), warnings=(str(error),))
        return metric.compute(features, self.bootstrap)

    def _changed(self, metric: Metric) -> str | None:
        """Why a metric that was fitted with other networks, window or texts has no value here."""
        fitted: Mapping[str, str] = getattr(metric, "stands_on", {})
        here = self.stands_on
        other = sorted(name for name, what in fitted.items() if here.get(name) != what)
        if not other:
            return None
        return f"was fitted with another {', '.join(other)}; fit it anew with this protocol"

    def _feature(self, stream: Stream, name: str, expected: set[str]) -> dict[str, Array]:
        network, feature = self.plan.feature(name)
        for behind in self._networks_behind(network):
            if behind in self.unavailable:
                raise UnavailableError(self.unavailable[behind])
        if is_media(network):
            values = self.streams.features(stream, network, feature)
        else:
            values = self._pair_feature(network.name, feature)
        return {
            clip_id: values[clip_id]
            for clip_id in sorted(values.keys() & expected)
            if stream != "generated" or not self.ledger.failed(clip_id)
        }

    def _networks_behind(self, network: AnyNetwork) -> list[str]:
        needed = network.needs.values() if is_pair(network) else ()
        return [network.name, *(self.plan.feature(name)[0].name for names in needed for name in names)]

    def _pair_feature(self, name: str, feature: str) -> dict[str, Array]:
        records = self.streams.compute_pairs(self.plan, name)
        for clip_id, record in records.items():
            if record.fault and not self.ledger.failed(clip_id):
                self.ledger.degrade(clip_id, name, record.fault.code, record.fault.detail)
        return {clip_id: r.features[feature] for clip_id, r in records.items() if feature in r.features}
