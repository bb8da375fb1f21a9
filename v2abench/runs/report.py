"""The report of a run, as written to `report.json` and read back by boards.

It holds nothing that differs between two runs of the same evaluation; times,
versions and the machine are in `provenance.json` beside it.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from v2abench.errors import V2ABenchError
from v2abench.files import write_text

SCHEMA = 1

Status = Literal["ok", "degraded", "failed"]
"""Judged as it is, judged with a reservation, not judged."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Reason(_Record):
    """Why a clip is not whole: the stream or metric it concerns, a code, and words."""

    about: str
    code: str
    detail: str


class LedgerEntry(_Record):
    """How one clip ended."""

    id: str
    status: Status
    reasons: tuple[Reason, ...] = ()


class Coverage(_Record):
    """How many clips were expected, and how they ended."""

    expected: int
    ok: int
    degraded: int
    failed: int


class IntervalRecord(_Record):
    """A confidence interval in the unit of the score."""

    low: float
    high: float
    level: float
    method: str


class ScoreRecord(_Record):
    """One number with its recipe: `value` is None where it is undefined, and `warnings` say why.

    `used` of `expected` clips stand behind it; `missing` names the others. `about` is what
    the protocol says of the metric.
    """

    name: str
    about: str = ""
    value: float | None
    unit: str
    direction: Literal["higher", "lower", "neutral"]
    interval: IntervalRecord | None
    details: dict[str, float]
    warnings: tuple[str, ...]
    used: int
    expected: int
    missing: tuple[Reason, ...]
    citation: str
    signature: str
    signature_long: str


class ModelRecord(_Record):
    """The model of a run, as `ModelInfo` tells it, how the user named it, and what its sounds depend on."""

    name: str
    spec: str
    recipe: dict[str, bool | int | float | str]
    sample_rate: int | None
    channels: int | None
    parameters: int | None
    license: str | None
    source: str | None
    text_conditioned: bool
    control: bool


class DatasetRecord(_Record):
    """The dataset of a run; the fingerprint is over ids and contents."""

    name: str
    spec: str
    clips: int
    fingerprint: str
    notes: tuple[str, ...]


class ProtocolRecord(_Record):
    """The protocol of a run."""

    name: str
    version: int
    fingerprint: str
    seconds: float


class Report(_Record):
    """Everything that a run says. `seed` is that of generation and of the bootstrap."""

    schema_version: int = SCHEMA
    v2abench: str
    seed: int
    model: ModelRecord
    dataset: DatasetRecord
    protocol: ProtocolRecord
    signature: str
    coverage: Coverage
    scores: tuple[ScoreRecord, ...]
    ledger: tuple[LedgerEntry, ...]
    extra_files: tuple[str, ...]

    def score(self, name: str) -> ScoreRecord:
        """Return the score of that name; raises `KeyError`."""
        return {score.name: score for score in self.scores}[name]


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.json` into the run's folder, atomically."""
    path = folder / "report.json"
    text = json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")
    return path


def read_report(path: Path) -> Report:
    """Read `report.json`, or the one in the folder `path`; raises `V2ABenchError`."""
    file = path / "report.json" if path.is_dir() else path
    if not file.is_file():
        raise V2ABenchError(
            f"{path} is not a run (no report.json in it); give a folder that `v2abench eval` wrote"
        )
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(data, dict) and data.get("schema_version") != SCHEMA:
            raise V2ABenchError(
                f"{file} has schema {data.get('schema_version')}, not {SCHEMA} as here; evaluate again"
            )
        return Report.model_validate(data)
    except (ValueError, RecursionError) as error:
        raise V2ABenchError(f"{file} is not a report of v2abench: {str(error).splitlines()[0]}") from error
