"""Doing the same work in many ways, and what came out as bytes."""

from pathlib import Path
from typing import Any

from v2abench.api import Options, evaluate_models
from v2abench.clips import Dataset
from v2abench.engines.contract import Engine, InProcess
from v2abench.features.extraction import Extractor
from v2abench.finetune.preferences.sampling import SamplingOptions, sample
from v2abench.home import home
from v2abench.models import ModelContext, open_model
from v2abench.protocols.schema import load_protocol
from v2abench.shards import Shard
from v2abench.synthesis import SynthesisOptions, synthesise

MODELS = ["tiny-flow", "shuffled"]
"""One that makes sounds in batches, one whose answers depend on the whole set."""


def run_all(clips: Dataset, folder: Path, **how: Any) -> dict[str, bytes]:
    """Evaluate `MODELS` under `impacts`, and return what there is in their folders now."""
    evaluate_models(MODELS, clips, "impacts", Options(output=folder, bootstrap=20, **how))
    return runs_in(folder)


def runs_in(folder: Path) -> dict[str, bytes]:
    """Return the reports and tables below `folder` by their places."""
    found = [*folder.rglob("report.json"), *folder.rglob("clips.parquet")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def everything(clips: Dataset, folder: Path, drawing: Engine | None = None, **how: Any) -> dict[str, bytes]:
    """Generate with tiny-flow and sample it; return all that was written."""
    synthesise("tiny-flow", clips, folder / "sounds", SynthesisOptions(**how))
    drawn(clips, folder / "samples", drawing or InProcess())
    return made_in(folder)


def made_in(folder: Path) -> dict[str, bytes]:
    """Return all files of `folder`'s sounds and samples."""
    files = [path for name in ("sounds", "samples") for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def drawn(clips: Dataset, folder: Path, engine: Engine, shard: Shard | None = None) -> None:
    """Sample tiny-flow twice a clip, as `v2abench prefs sample` does."""
    extractor = Extractor(home() / "features", load_protocol("impacts").window, engine=engine)
    named = open_model("tiny-flow", ModelContext(clips, extractor=extractor))
    sample(named, clips, folder, extractor, SamplingOptions(count=2, shard=shard))
