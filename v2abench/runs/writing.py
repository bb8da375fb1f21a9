"""The folder of a run: `report.json`, `clips.parquet`, `inputs.json` and `provenance.json`."""

import json
import platform
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from v2abench.files import atomic, write_text
from v2abench.runs.evaluation import Run
from v2abench.runs.inputs import write_inputs
from v2abench.runs.report import write_report

_PACKAGES = ("v2abench", "torch", "numpy", "scipy", "av", "opencv-python-headless", "pyarrow")


def run_folder(output: Path, dataset: str, protocol: str, model: str) -> Path:
    """Return `<output>/<dataset>/<protocol>/<model>`, each made safe as a folder's name."""
    return output.joinpath(
        *(re.sub(r"[^\w.+=:-]", "_", part).lstrip(".") or "_" for part in (dataset, protocol, model))
    )


def write_run(run: Run, timings: Mapping[str, float]) -> None:
    """Write the four files, each atomically, `report.json` last.

    `report.json` and `clips.parquet` are the same, byte by byte, whenever the same
    evaluation is done again; `timings` (seconds by stage), the date, the machine and
    the versions are in `provenance.json`.
    """
    with atomic(run.folder / "clips.parquet") as temporary:
        clips_table(run).to_parquet(temporary, index=False)
    provenance = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "seconds": {stage: round(seconds, 3) for stage, seconds in timings.items()},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in _PACKAGES},
    }
    write_inputs(run.inputs, run.folder)
    write_text(run.folder / "provenance.json", json.dumps(provenance, indent=2) + "\n")
    write_report(run.report, run.folder)


def clips_table(run: Run) -> pd.DataFrame:
    """Return one row a clip: `id`, `status`, `reasons`, and a column for each metric with per-clip values."""
    table = pd.DataFrame(
        {
            "id": [entry.id for entry in run.report.ledger],
            "status": [entry.status for entry in run.report.ledger],
            "reasons": [
                "; ".join(f"{r.about}: {r.code}: {r.detail}" for r in e.reasons) for e in run.report.ledger
            ],
        }
    )
    for name, values in run.per_clip.items():
        table[name] = table["id"].map(values).astype("float64")
    return table
