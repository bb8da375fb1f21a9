"""Hand-made reports, as small as a board allows."""

from typing import Literal

from v2abench.runs.report import (
    Coverage,
    DatasetRecord,
    IntervalRecord,
    ModelRecord,
    ProtocolRecord,
    Report,
    ScoreRecord,
)

SIGNATURE = "light:1@aa|win:0-8s|data:mini[8]@bb|v:0.1.0"
UNITS: dict[str, tuple[str, Literal["higher", "lower", "neutral"]]] = {
    "FD": ("", "lower"),
    "IS": ("", "higher"),
    "PESQ": ("", "higher"),
    "Level": ("dB", "lower"),
    "Loudness": ("LUFS", "neutral"),
}


def make_score(
    name: str,
    value: float | None,
    *,
    bounds: tuple[float, float] | None = None,
    method: str = "student-t",
    warnings: tuple[str, ...] = (),
    used: int = 8,
    expected: int = 8,
    unit: str | None = None,
    direction: Literal["higher", "lower", "neutral"] | None = None,
) -> ScoreRecord:
    return ScoreRecord(
        name=name,
        value=value,
        unit=UNITS[name][0] if unit is None else unit,
        direction=direction or UNITS[name][1],
        interval=IntervalRecord(low=bounds[0], high=bounds[1], level=0.95, method=method) if bounds else None,
        details={},
        warnings=warnings,
        used=used,
        expected=expected,
        missing=(),
        citation="",
        signature=f"{name}|{SIGNATURE}",
        signature_long="",
    )


def make_report(
    name: str,
    *scores: ScoreRecord,
    control: bool = False,
    spec: str | None = None,
    signature: str = SIGNATURE,
    degraded: int = 0,
    failed: int = 0,
    clips: int = 8,
) -> Report:
    return Report(
        v2abench="0.1.0",
        seed=0,
        model=ModelRecord(
            name=name,
            spec=spec or f"folder:{name}",
            recipe={},
            sample_rate=None,
            channels=None,
            parameters=None,
            license=None,
            source=None,
            text_conditioned=False,
            control=control,
        ),
        dataset=DatasetRecord(name="mini", spec="mini", clips=clips, fingerprint="bb", notes=()),
        protocol=ProtocolRecord(name="light", version=1, fingerprint="aa", seconds=8.0),
        signature=signature,
        coverage=Coverage(expected=clips, ok=clips - degraded - failed, degraded=degraded, failed=failed),
        scores=scores,
        ledger=(),
        extra_files=(),
    )


def three_reports() -> list[Report]:
    """A control and two models, the second of which has lost a clip."""
    return [
        make_report(
            "ground truth",
            make_score("FD", 0.0),
            make_score("IS", 15.5),
            make_score("Loudness", -20.0),
            control=True,
        ),
        make_report(
            "tiny_flow",
            make_score("FD", 84.567, bounds=(80.0, 90.25)),
            make_score("IS", 8.5, bounds=(8.0, 9.0), method="recentred-bootstrap"),
            make_score("Loudness", -23.5),
        ),
        make_report(
            "a|b",
            make_score("FD", 219.01, bounds=(200.0, 240.0), used=7),
            make_score("IS", None, warnings=("7 clips are too few for 10 splits",), used=0),
            make_score("Loudness", -25.0, used=7),
            failed=1,
        ),
    ]
