"""Held-out generation while a training goes on: metrics that are not what it is rewarded for."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from v2abench.contracts import ModelInfo
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.errors import UnknownNameError
from v2abench.features.extraction import Extractor
from v2abench.finetune.recipe import PanelPart
from v2abench.flow import FlowModel
from v2abench.home import home
from v2abench.models import NamedModel
from v2abench.progress import Progress, silent
from v2abench.protocols.schema import Protocol, load_protocol
from v2abench.runs.evaluation import Evaluation, Settings


@dataclass(frozen=True)
class GenerationPanel:
    """Judges the model as it is when called; a metric that has no value is left out."""

    model: FlowModel
    evaluation: Evaluation
    folder: Path

    def __call__(self, step: int) -> Mapping[str, float]:
        """Generate with the model's present weights, and return the metrics."""
        named = NamedModel(self.model, ModelInfo(f"step-{step}"), f"step-{step}")
        run = self.evaluation.run(named, self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        return {f"panel/{score.name}": score.value for score in run.report.scores if score.value is not None}


def make_panel(
    part: PanelPart, model: FlowModel, folder: Path, *, device: str, workers: int, progress: Progress = silent
) -> GenerationPanel:
    """Open the panel's clips and protocol; raises `V2ABenchError` for what is not known."""
    dataset = open_dataset(part.dataset, DatasetOptions(limit=part.limit, workers=workers, progress=progress))
    protocol = with_metrics(load_protocol(part.protocol), part.metrics)
    extractor = Extractor(
        home() / "features", protocol.window, device=device, workers=workers, progress=silent
    )
    settings = Settings(bootstrap=None, progress=silent)
    evaluation = Evaluation(dataset, protocol, protocol.build_metrics(), extractor, settings)
    return GenerationPanel(model, evaluation, folder / "panel")


def with_metrics(protocol: Protocol, names: tuple[str, ...]) -> Protocol:
    """Return the protocol with these metrics only; raises `UnknownNameError`."""
    known = {entry.name: entry for entry in protocol.metrics}
    for name in names:
        if name not in known:
            raise UnknownNameError(f"metric of protocol {protocol.name}", name, known)
    return protocol.model_copy(update={"metrics": tuple(known[name] for name in names)})
