"""Ratings by people as CSV: reading, the log that a rating page appends to, and agreement.

`ratings.csv` has the columns `rater`, `sample`, `rating` (Good, Medium or Bad; empty: taken back)
and `at` (UTC); `comparisons.csv` has `rater`, `first`, `second`, `choice` (first, second or tie;
empty: taken back) and `at`. The last line of a rater for a sample, or for a pair, counts. Files from
elsewhere need no `at`, and a missing `rater` is one person.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from v2abench.errors import V2ABenchError
from v2abench.files import write_error
from v2abench.metrics.audioscore_classifier import CLASSES
from v2abench.metrics.samples import Floats

RATINGS = "ratings.csv"
COMPARISONS = "comparisons.csv"
RATING_COLUMNS = ("rater", "sample", "rating", "at")
COMPARISON_COLUMNS = ("rater", "first", "second", "choice", "at")
CHOICES = ("first", "second", "tie")
NOBODY = "rater"


@dataclass(frozen=True)
class Rating:
    """What one rater said of one sample, one of `CLASSES`."""

    rater: str
    sample: str
    rating: str


@dataclass(frozen=True)
class Comparison:
    """Which of two samples one rater preferred: `first`, `second` or `tie`."""

    rater: str
    first: str
    second: str
    choice: str


@dataclass(frozen=True)
class Log:
    """A CSV file that grows by whole lines, each on disk when `append` returns."""

    path: Path
    columns: Sequence[str]

    def append(self, *answers: Mapping[str, str]) -> None:
        """Add a line for each, with `at` as now; a line that a crash cut short is closed first."""
        now = _now()
        lines = "".join(_csv_line([*(answer[name] for name in self.columns[:-1]), now]) for answer in answers)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as stream:
                stream.write(self._start(stream) + lines.encode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise write_error(self.path, error) from error

    def _start(self, stream: io.BufferedRandom) -> bytes:
        """The header of a new file, or the end of a line that was cut short."""
        size = stream.seek(0, os.SEEK_END)
        if size == 0:
            return _csv_line(self.columns).encode()
        stream.seek(size - 1)
        return b"" if stream.read(1) == b"\n" else b"\n"


def rating_log(folder: Path) -> Log:
    """Return the log of ratings in a sample folder."""
    return Log(folder / RATINGS, RATING_COLUMNS)


def comparison_log(folder: Path) -> Log:
    """Return the log of comparisons in a sample folder."""
    return Log(folder / COMPARISONS, COMPARISON_COLUMNS)


def read_ratings(path: Path, sample: str = "sample") -> list[Rating]:
    """Return the ratings that count, of what the column `sample` names.

    Raises `V2ABenchError` naming file and line for a wrong one.
    """
    found: dict[tuple[str, str], Rating] = {}
    for number, row in _rows(path, (sample, "rating")):
        rating = _one_of(row["rating"], CLASSES, path, number, "rating")
        key = row.get("rater") or NOBODY, row[sample]
        found.pop(key, None)
        if rating is not None:
            found[key] = Rating(key[0], key[1], rating)
    return list(found.values())


def read_comparisons(path: Path) -> list[Comparison]:
    """Return the comparisons that count; raises as `read_ratings`."""
    found: dict[tuple[str, frozenset[str]], Comparison] = {}
    for number, row in _rows(path, ("first", "second", "choice")):
        choice = _one_of(row["choice"], CHOICES, path, number, "choice")
        rater, pair = row.get("rater") or NOBODY, (row["first"], row["second"])
        found.pop((rater, frozenset(pair)), None)
        if choice is not None:
            found[rater, frozenset(pair)] = Comparison(rater, *pair, choice)
    return list(found.values())


def votes(ratings: Iterable[Rating], samples: Sequence[str]) -> Floats:
    """Return (n, 3): how many raters called each of `samples` Good, Medium, Bad."""
    row = {sample: number for number, sample in enumerate(samples)}
    counts = np.zeros((len(samples), len(CLASSES)))
    for rating in ratings:
        if rating.sample in row:
            counts[row[rating.sample], CLASSES.index(rating.rating)] += 1
    return counts


def winners(comparisons: Iterable[Comparison]) -> dict[tuple[str, str], int]:
    """Return (winner, loser) -> by how many raters, for pairs that a majority decided."""
    balance: dict[tuple[str, str], int] = {}
    for comparison in comparisons:
        low, high = sorted((comparison.first, comparison.second))
        chosen = {"first": comparison.first, "second": comparison.second}.get(comparison.choice)
        step = 0 if chosen is None else 1 if chosen == low else -1
        balance[low, high] = balance.get((low, high), 0) + step
    return {
        (low, high) if ahead > 0 else (high, low): abs(ahead)
        for (low, high), ahead in balance.items()
        if ahead
    }


def agreement(ratings: Sequence[Rating], level: Literal["ordinal", "nominal"] = "ordinal") -> float | None:
    """Return Krippendorff's alpha, 1 for perfect agreement and 0 for chance.

    None where fewer than two raters share a sample, or all gave one and the same rating. Raises
    `V2ABenchError` without the package `krippendorff`.
    """
    raters = sorted({rating.rater for rating in ratings})
    samples = {name: number for number, name in enumerate(sorted({r.sample for r in ratings}))}
    table = np.full((len(raters), len(samples)), np.nan)
    for rating in ratings:
        table[raters.index(rating.rater), samples[rating.sample]] = CLASSES.index(rating.rating)
    shared = table[:, (~np.isnan(table)).sum(axis=0) >= 2]
    if shared.shape[1] == 0 or len(np.unique(shared[~np.isnan(shared)])) < 2:
        return None
    try:
        import krippendorff  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise V2ABenchError(
            "agreement of raters needs the package krippendorff; run `pip install 'v2abench[annotate]'`"
        ) from error
    return float(krippendorff.alpha(reliability_data=shared, level_of_measurement=level))


def _rows(path: Path, needed: Sequence[str]) -> Iterable[tuple[int, dict[str, str]]]:
    if not path.is_file():
        raise V2ABenchError(f"{path} does not exist; `v2abench prefs rate` writes it, or bring your own")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise V2ABenchError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    reader = csv.DictReader(io.StringIO(text))
    lacking = [name for name in needed if name not in (reader.fieldnames or ())]
    if lacking:
        raise V2ABenchError(f"{path} lacks the columns {', '.join(lacking)}; its first line must name them")
    for row in reader:
        if None in row.values():
            continue  # a line that a crash cut short: the person was not told that it counts
        yield reader.line_num, row


def _one_of(given: str, known: Sequence[str], path: Path, number: int, what: str) -> str | None:
    if not given:
        return None
    for name in known:
        if given.strip().lower() == name.lower():
            return name
    raise V2ABenchError(f"{path}, line {number}: {what} is {given!r}, not one of {', '.join(known)}")


def _csv_line(values: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
