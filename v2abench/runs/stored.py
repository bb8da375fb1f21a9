"""The features of a written run, read back from the store; nothing is computed anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from v2abench import signature
from v2abench.contracts import STREAMS, Array, Features, Metric, Stream
from v2abench.errors import UnavailableError
from v2abench.features.extraction import Extractor
from v2abench.features.plan import Plan, is_media, make_plan
from v2abench.features.streams import StreamFeatures
from v2abench.home import home
from v2abench.runs.inputs import read_inputs
from v2abench.runs.report import Report
from v2abench.weights.deterministic import weights_mode


@dataclass(frozen=True)
class StoredRun:
    """A written run whose features can be read: its metrics by name, and where they read."""

    report: Report
    metrics: dict[str, Metric]
    plan: Plan
    streams: StreamFeatures

    def features(self, metric: Metric) -> Features:
        """Return what `metric` needs, without the generated sound of failed clips.

        Raises `UnavailableError` where it needs a network on pairs, or the store lacks
        the features of a clip that has a file.
        """
        failed = {entry.id for entry in self.report.ledger if entry.status == "failed"}
        found: dict[Stream, dict[str, dict[str, Array]]] = {}
        for stream, names in metric.needs.items():
            for name in names:
                network, feature = self.plan.feature(name)
                if not is_media(network):
                    raise UnavailableError(f"{metric.name} stands on {network.name}, a network on pairs")
                known = self.streams.remarks(stream, network)
                if self.streams.sides[stream].keys() - known.keys():
                    raise UnavailableError(
                        f"the features of {network.name} are no longer in the store; evaluate again"
                    )
                values = self.streams.features(stream, network, feature)
                kept = {c: v for c, v in sorted(values.items()) if stream != "generated" or c not in failed}
                found.setdefault(stream, {})[name] = kept
        return found


@contextmanager
def open_stored(folder: Path, report: Report) -> Iterator[StoredRun]:
    """Open the run in `folder` for reading features, inside of the `with`.

    Raises `V2ABenchError` where it has no `inputs.json`, `UnavailableError` where its
    networks are not those of this version.
    """
    inputs = read_inputs(folder)
    with weights_mode("deterministic" if "|weights:deterministic" in report.signature else "official"):
        dataset = inputs.dataset(report.dataset.name, report.dataset.spec)
        metrics = inputs.protocol.build_metrics()
        plan = make_plan(metrics, inputs.protocol, dataset)
        networks = [plan.networks[name] for name in sorted(plan.networks)]
        here = signature.short(inputs.protocol, networks, dataset, report.dataset.fingerprint)
        if here != report.signature:
            raise UnavailableError(
                f"{report.model.name} was evaluated with other networks or another version; evaluate again"
            )
        streams = StreamFeatures(
            Extractor(home() / "features", inputs.protocol.window),
            {stream: inputs.side(stream) for stream in STREAMS},
        )
        yield StoredRun(report, {metric.name: metric for metric in metrics}, plan, streams)
