"""`v2abench leaderboard plot`."""

from collections.abc import Sequence
from pathlib import Path

from v2abench.errors import V2ABenchError
from v2abench.leaderboards import plots
from v2abench.leaderboards.board import build_board
from v2abench.leaderboards.significance import WrittenRun
from v2abench.runs.tables import read_clips

PREFERRED = "AudioScore"
"""The metric whose distribution is shown where none is named and a run has it."""


def draw(
    runs: Sequence[WrittenRun],
    kinds: Sequence[str],
    output: Path,
    formats: Sequence[str],
    metrics: list[str] | None,
    sort_by: str | None,
    *,
    force: bool,
) -> list[Path]:
    """Draw each of `kinds` (`bars`, `radar`, `scatter`, `distribution`) into the folder `output`."""
    reports = [run.report for run in runs]
    written: list[Path] = []
    for kind in dict.fromkeys(kinds):
        if kind == "distribution":
            name = _distribution_metric(runs, metrics)
            unit = next((s.unit for r in reports for s in r.scores if s.name == name), "")
            values = {
                run.report.model.name: list(found.values())
                for run in runs
                if (found := read_clips(run.folder).get(name))
            }
            figure = plots.distribution(values, f"{name} ({unit})" if unit else name)
        else:
            board = build_board(reports, metrics=metrics, sort_by=sort_by, force=force)
            if kind == "scatter" and (metrics is None or len(metrics) != 2):
                raise V2ABenchError("--kind scatter: name its two metrics, as in --metrics FD_aiSFX,AV-Align")
            figure = (
                plots.bars(board)
                if kind == "bars"
                else plots.radar(board)
                if kind == "radar"
                else plots.scatter(board, *(metrics or []))
            )
        written += plots.save(figure, output / kind, formats)
    return written


def _distribution_metric(runs: Sequence[WrittenRun], metrics: list[str] | None) -> str:
    known = dict.fromkeys(name for run in runs for name in read_clips(run.folder))
    wanted = metrics or [PREFERRED]
    found = [name for name in wanted if name in known]
    if not found:
        raise V2ABenchError(
            f"--kind distribution: no run has values a clip of {', '.join(wanted)}; name one of "
            f"{', '.join(known)} with --metrics"
        )
    return found[0]
