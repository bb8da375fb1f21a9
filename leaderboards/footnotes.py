"""What a board says below its table: coverage, undefined values, warnings, signatures."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from v2abench.runs.report import Report, ScoreRecord

LETTERS = "abcdefghijklmnoprstuvwxyz"
DAGGERS = "†‡§¶"


@dataclass(frozen=True)
class Footnote:
    """A note below the table, with the mark that points to it (empty for a general one).

    `verbatim`, a signature, follows the text and is set as code.
    """

    text: str
    mark: str = ""
    verbatim: str = ""


@dataclass(frozen=True)
class Annotations:
    """The marks of the rows and of the cells, row by row, and the notes in reading order.

    `intervals` tells level and method of the intervals; empty where there are none.
    """

    rows: tuple[tuple[str, ...], ...]
    cells: tuple[tuple[tuple[str, ...], ...], ...]
    footnotes: tuple[Footnote, ...]
    intervals: str


Grid = Sequence[Sequence[ScoreRecord | None]]
"""The scores by row and column; None where a report lacks the metric."""


def annotate(
    reports: Sequence[Report], grid: Grid, names: Sequence[str], standard: str, competing: Sequence[bool]
) -> Annotations:
    """Return the marks and notes of a board; `names` are the metrics of the columns.

    What holds for most rows (the `standard` signature, the coverage) is told once and
    unmarked; what deviates gets a dagger (signature) or a letter (anything else), and
    one letter serves every place of which the same is to be told.
    """
    daggers = _daggers(reports, standard)
    coverages = [_coverage(report, scores) for report, scores in zip(reports, grid, strict=True)]
    usual = Counter(coverages).most_common(1)[0][0]
    common = [_common_warnings(scores) for scores in zip(*grid, strict=True)]
    letters = _Letters()
    rows, cells = [], []
    for report, scores, coverage in zip(reports, grid, coverages, strict=True):
        deviation = letters.of(f"Coverage: {coverage}.") if coverage != usual else None
        rows.append(tuple(filter(None, (daggers.get(report.signature), deviation))))
        pairs = zip(scores, common, strict=True)
        cells.append(tuple(_cell_marks(score, warnings, letters) for score, warnings in pairs))
    footnotes = (
        *letters.footnotes(),
        *_deviating_signatures(daggers),
        *_warning_notes(names, common, cells),
        Footnote(f"Coverage{_unless(len(set(coverages)) > 1)}: {usual}."),
        *_subset_notes(reports, grid),
        *_control_note(reports, competing),
        Footnote(f"Signature{_unless(bool(daggers))}", verbatim=standard),
    )
    return Annotations(tuple(rows), tuple(cells), footnotes, _interval_note(grid))


def clip_count(count: int) -> str:
    """Return `1 clip`, `2 clips`, ..."""
    return f"{count} clip" if count == 1 else f"{count} clips"


def _coverage(report: Report, scores: Sequence[ScoreRecord | None]) -> str:
    counts = report.coverage
    text = f"{clip_count(counts.expected)}, "
    if counts.ok == counts.expected:
        text += "all ok"
    else:
        text += f"{counts.ok} ok, {counts.degraded} degraded, {counts.failed} failed"
    used = _clips_used([score for score in scores if score and score.value is not None])
    return f"{text}; clips used {used}" if used else text


def _clips_used(scores: Sequence[ScoreRecord]) -> str:
    """The shares of clips behind scores; empty where each stands on all that it expects.

    A share that most of the scores have is told without their names.
    """
    if all(score.used == score.expected for score in scores):
        return ""
    shares: dict[str, list[str]] = {}
    for score in scores:
        shares.setdefault(f"{score.used}/{score.expected}", []).append(score.name)
    usual = max(shares, key=lambda share: len(shares[share]))
    if 2 * len(shares[usual]) <= len(scores):
        return "; ".join(f"{share} by {_listed(about)}" for share, about in shares.items())
    others = "; ".join(f"{share} by {_listed(about)}" for share, about in shares.items() if share != usual)
    return f"{usual} ({others})" if others else usual


def _subset_notes(reports: Sequence[Report], grid: Grid) -> list[Footnote]:
    """Metrics that are meant for some of the clips only."""
    subsets: dict[str, dict[str, None]] = {}
    for report, scores in zip(reports, grid, strict=True):
        for score in scores:
            if score and 0 < score.expected < report.coverage.expected:
                share = f"{score.expected} of {clip_count(report.coverage.expected)}"
                subsets.setdefault(share, {})[score.name] = None
    return [Footnote(f"Meant for {share} only: {_listed(about)}.") for share, about in subsets.items()]


def unused_letters(used: Iterable[str]) -> Iterator[str]:
    """Yield a, b, ..., z, aa, ab, ... without those `used`."""
    taken = set(used)
    return (mark for pair in product(["", *LETTERS], LETTERS) if (mark := "".join(pair)) not in taken)


class _Letters:
    """Hands out a, b, ..., z, aa, ab, ... in the order of asking, one for each text.

    There is no q: hardly a font has its superscript, which terminals need.
    """

    def __init__(self) -> None:
        self._by_text: dict[str, str] = {}
        self._unused = unused_letters(())

    def of(self, text: str) -> str:
        if text not in self._by_text:
            self._by_text[text] = next(self._unused)
        return self._by_text[text]

    def footnotes(self) -> list[Footnote]:
        return [Footnote(text, mark) for text, mark in self._by_text.items()]


def _cell_marks(score: ScoreRecord | None, common: tuple[str, ...], letters: _Letters) -> tuple[str, ...]:
    if score is None:
        return (letters.of("Not measured in this run."),)
    if score.value is None:
        return (letters.of(f"Undefined: {_why_undefined(score)}."),)
    if score.warnings == common:
        return ()
    return tuple(letters.of(_sentence(warning)) for warning in dict.fromkeys(score.warnings))


def _why_undefined(score: ScoreRecord) -> str:
    if score.warnings:
        return "; ".join(warning.rstrip(".") for warning in dict.fromkeys(score.warnings))
    codes = Counter(reason.code for reason in score.missing)
    causes = ", ".join(f"{count} {code}" for code, count in codes.most_common())
    return f"{score.used} of {clip_count(score.expected)} could be used" + (f" ({causes})" if causes else "")


def _common_warnings(scores: Sequence[ScoreRecord | None]) -> tuple[str, ...]:
    """The warnings of most values of a column, which are told once and not in each cell.

    Empty where a value has no warning at all: no mark would tell it from the others.
    """
    warnings = [score.warnings for score in scores if score and score.value is not None]
    return Counter(warnings).most_common(1)[0][0] if warnings and all(warnings) else ()


def _warning_notes(
    names: Sequence[str], common: Sequence[tuple[str, ...]], cells: Sequence[Sequence[tuple[str, ...]]]
) -> list[Footnote]:
    metrics: dict[tuple[str, str], list[str]] = {}
    for name, warnings, column in zip(names, common, zip(*cells, strict=True), strict=True):
        for warning in dict.fromkeys(warnings):
            metrics.setdefault((warning, _unless(any(column))), []).append(name)
    return [Footnote(f"{_listed(about)}{unless}: {_sentence(w)}") for (w, unless), about in metrics.items()]


def _unless(marked: bool) -> str:
    return ", unless marked" if marked else ""


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _control_note(reports: Sequence[Report], competing: Sequence[bool]) -> list[Footnote]:
    idle = [report for report, competes in zip(reports, competing, strict=True) if not competes]
    controls = dict.fromkeys(report.model.name for report in idle if report.model.control)
    return [Footnote(f"Controls, not ranked: {_listed(controls)}.")] if controls else []


def _daggers(reports: Sequence[Report], standard: str) -> dict[str, str]:
    """The mark of each signature but the standard one: †, ‡, §, ¶, ††, ..."""
    others = [s for s in dict.fromkeys(report.signature for report in reports) if s != standard]
    return {s: DAGGERS[i % len(DAGGERS)] * (1 + i // len(DAGGERS)) for i, s in enumerate(others)}


def _deviating_signatures(daggers: Mapping[str, str]) -> list[Footnote]:
    text = "Not comparable with the other rows, not ranked; signature"
    return [Footnote(text, mark, signature) for signature, mark in daggers.items()]


def _interval_note(grid: Grid) -> str:
    kinds: dict[str, dict[str, None]] = {}
    for score in (score for scores in grid for score in scores if score):
        if interval := score.interval:
            kinds.setdefault(f"{100 * interval.level:g} %, {interval.method}", {})[score.name] = None
    if len(kinds) < 2:
        return "".join(f"Intervals: {kind}." for kind in kinds)
    return f"Intervals: {'; '.join(f'{kind} ({_listed(about)})' for kind, about in kinds.items())}."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
