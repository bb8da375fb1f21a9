"""Is a difference between two runs more than chance? Paired tests against a base.

Goal
----
For each model and metric of a board, the p-value of "this model and the base score alike
on clips of this kind". The clip is the unit; both runs are on the same clips, so every
test pairs by clip id and uses the clips that both have.

Clip metrics (a value a clip, the score their mean)
---------------------------------------------------
Approximate randomisation: under the null the two values of a clip could as well be
exchanged, which flips the sign of their difference. p = (1 + #{|mean of flipped| >=
|mean|}) / (1 + flips), with `flips` random sign vectors; all 2^n of them, and p their
exact share, where there are no more than `flips`.

Set metrics (FD, IS, KAD, KID)
------------------------------
A paired bootstrap, re-centred. Resample b draws the same clips for both runs and for the
reference, and gives d*_b = score(model) - score(base). Around their mean, the d*_b are
how the difference d would scatter were it 0: p = (1 + #{|d*_b - mean d*| >= |d|}) /
(1 + resamples). The re-centring removes the bias that resamples have (see
`metrics.bootstrap`). Features are read from the store; where they are gone, or the score
from them is not the reported one, the pair is not tested, and the board says so.

Correction
----------
Holm's step-down over the models of one metric, so that the chance of any false mark in a
column is below the level. Columns are not corrected for one another.

References
----------
Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989 (approximate randomisation).
Yeh, More accurate tests for the statistical significance of result differences, 2000, arXiv:cs/0008005.
Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 16.
Holm, A simple sequentially rejective multiple test procedure, 1979.
"""

import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from v2abench.contracts import Bootstrap, Direction, Features, Metric, Score
from v2abench.errors import UnavailableError, UnknownNameError, V2ABenchError
from v2abench.progress import Progress, silent
from v2abench.runs.inputs import INPUTS
from v2abench.runs.report import Report
from v2abench.runs.stored import StoredRun, open_stored
from v2abench.runs.tables import read_clips

Floats = NDArray[np.float64]

_BLOCK = 4_000_000
"""Signs at once."""


@dataclass(frozen=True)
class Comparison:
    """One test: `difference` is the model's score minus the base's on `clips` common clips."""

    model: str
    metric: str
    difference: float
    p: float
    p_corrected: float
    clips: int
    method: str


@dataclass(frozen=True)
class Untested:
    """A model and metric that could not be held against the base, and why."""

    model: str
    metric: str
    reason: str


@dataclass(frozen=True)
class Effort:
    """How many random sign flips and resamples a test draws, and the seed of the draws."""

    flips: int = 10_000
    resamples: int = 1_000
    seed: int = 0


@dataclass(frozen=True)
class Comparisons:
    """All tests of a board against one base."""

    base: str
    effort: Effort
    found: tuple[Comparison, ...]
    untested: tuple[Untested, ...]

    def told(self) -> str:
        """Return in words how it was tested."""
        methods = dict.fromkeys(item.method for item in self.found)
        how = " and ".join(f"a {method}" for method in methods) or "no test"
        return (
            f"Tested against {self.base}: two-sided, paired by clip, by {how}; Holm-corrected over the "
            f"models of a column; seed {self.effort.seed}."
        )


@dataclass(frozen=True)
class WrittenRun:
    """A run as it lies in its folder."""

    folder: Path
    report: Report


def sign_flip_p(differences: Floats, flips: int, seed: int) -> float:
    """Two-sided p-value of mean 0 for paired `differences` (clips,), by sign flips.

    Exact where 2^clips is at most `flips`; 1 where there is no difference at all.
    """
    scale = float(np.abs(differences).sum())
    if scale == 0:
        return 1.0
    reached = abs(float(differences.sum())) - 1e-12 * scale
    count = len(differences)
    if count < 63 and 2**count <= flips:
        codes = np.arange(2**count)[:, None] >> np.arange(count)
        sums = (1.0 - 2.0 * (codes & 1)) @ differences
        return float(np.mean(np.abs(sums) >= reached))
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // count)
    beyond = 0
    for start in range(0, flips, block):
        rows = min(block, flips - start)
        bits = np.unpackbits(rng.integers(0, 256, (rows, -(-count // 8)), np.uint8), axis=1, count=count)
        beyond += int((np.abs((1.0 - 2.0 * bits) @ differences) >= reached).sum())
    return (1 + beyond) / (1 + flips)


def recentred_p(difference: float, replicates: Floats) -> float:
    """Two-sided p-value of difference 0, from paired bootstrap `replicates` (resamples,) of it."""
    spread = np.abs(replicates - replicates.mean())
    reached = abs(difference) * (1 - 1e-12)
    if difference == 0:
        return 1.0
    return float((1 + (spread >= reached).sum()) / (1 + len(replicates)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the order given."""
    order = np.argsort(p_values, kind="stable")
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = largest
    return corrected


def compare_runs(
    runs: Sequence[WrittenRun],
    base: str,
    metrics: Sequence[str],
    effort: Effort | None = None,
    progress: Progress = silent,
) -> Comparisons:
    """Hold every run against the run of model `base`, metric by metric.

    Neutral metrics, and runs of another signature than the base's, are left out. Raises
    `UnknownNameError` where no run is of that model, `V2ABenchError` where several are.
    """
    effort = effort or Effort()
    basis = _base_run(runs, base)
    others = [r for r in runs if r is not basis and r.report.signature == basis.report.signature]
    wanted = [name for name in metrics if _directed(basis.report, name)]
    found: list[Comparison] = []
    untested: list[Untested] = []
    with ExitStack() as stack, progress("compare", len(wanted) * len(others)) as advance:
        table = _Table(basis, effort, stack)
        for metric in wanted:
            column: list[Comparison] = []
            for other in others:
                try:
                    column.append(table.compare(other, metric))
                except UnavailableError as error:
                    untested.append(Untested(other.report.model.name, metric, str(error)))
                advance(1)
            corrected = holm([item.p for item in column])
            found += [replace(item, p_corrected=p) for item, p in zip(column, corrected, strict=True)]
    return Comparisons(base, effort, tuple(found), tuple(untested))


def _base_run(runs: Sequence[WrittenRun], base: str) -> WrittenRun:
    named = [run for run in runs if run.report.model.name == base]
    if not named:
        raise UnknownNameError("base", base, [run.report.model.name for run in runs])
    if len(named) > 1:
        raise V2ABenchError(f"--base {base}: {len(named)} runs are of that name; leave all but one out")
    return named[0]


def _directed(report: Report, name: str) -> bool:
    return any(s.name == name and s.direction != Direction.NEUTRAL.value for s in report.scores)


@dataclass
class _Table:
    """Reads what the runs say, once each, and compares pairs."""

    base: WrittenRun
    effort: Effort
    stack: ExitStack
    _clips: dict[Path, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    _stored: dict[Path, StoredRun] = field(default_factory=dict)
    _scores: dict[tuple[Path, str, frozenset[str]], Score] = field(default_factory=dict)

    def compare(self, run: WrittenRun, metric: str) -> Comparison:
        """Return the comparison, its p not yet corrected; raises `UnavailableError`."""
        for one in (self.base, run):
            score = next((s for s in one.report.scores if s.name == metric), None)
            if score is None or score.value is None:
                raise UnavailableError(f"no value of {one.report.model.name}")
        first, second = (self._per_clip(one).get(metric) for one in (self.base, run))
        if first is not None and second is not None:
            return self._compare_clips(run, metric, first, second)
        return self._compare_sets(run, metric)

    def _per_clip(self, run: WrittenRun) -> Mapping[str, Mapping[str, float]]:
        if run.folder not in self._clips:
            self._clips[run.folder] = read_clips(run.folder)
        return self._clips[run.folder]

    def _compare_clips(
        self, run: WrittenRun, metric: str, base: Mapping[str, float], other: Mapping[str, float]
    ) -> Comparison:
        common = sorted(base.keys() & other.keys())
        if not common:
            raise UnavailableError(f"{run.report.model.name} and the base have no clip in common")
        differences = np.array([other[clip] - base[clip] for clip in common])
        p = sign_flip_p(differences, self.effort.flips, self._seed(metric))
        method = f"sign-flip test ({self.effort.flips} flips) on clip metrics"
        name = run.report.model.name
        return Comparison(name, metric, float(differences.mean()), p, p, len(common), method)

    def _compare_sets(self, run: WrittenRun, metric: str) -> Comparison:
        first, second = self._open(self.base), self._open(run)
        if metric not in first.metrics:
            raise UnavailableError("it has no resamples")
        features = [one.features(first.metrics[metric]) for one in (first, second)]
        common = _generated_clips(features[0]) & _generated_clips(features[1])
        scores = [
            self._score(one, first.metrics[metric], given, common)
            for one, given in zip((self.base, run), features, strict=True)
        ]
        values, replicates = [s.value for s in scores], [s.replicates for s in scores]
        if values[0] is None or values[1] is None or replicates[0] is None or replicates[1] is None:
            raise UnavailableError("it has no resamples")
        if len(replicates[0]) != len(replicates[1]):
            raise UnavailableError("some resamples are undefined")
        difference = values[1] - values[0]
        p = recentred_p(difference, replicates[1] - replicates[0])
        method = f"re-centred paired bootstrap ({self.effort.resamples} resamples) on set metrics"
        return Comparison(run.report.model.name, metric, difference, p, p, len(common), method)

    def _score(self, run: WrittenRun, metric: Metric, features: Features, common: frozenset[str]) -> Score:
        """The metric on the `common` clips; held against the report where these are all its clips."""
        key = (run.folder, metric.name, common)
        if key not in self._scores:
            bootstrap = Bootstrap(self.effort.resamples, seed=self.effort.seed)
            score = metric.compute(_restricted(features, common), bootstrap)
            reported = run.report.score(metric.name)
            whole = common == _generated_clips(features)
            if whole and not _same(score.value, reported.value):
                raise UnavailableError(
                    f"what is stored of {run.report.model.name} gives another value than its report; "
                    "evaluate again"
                )
            self._scores[key] = score
        return self._scores[key]

    def _open(self, run: WrittenRun) -> StoredRun:
        if run.folder not in self._stored:
            if not (run.folder / INPUTS).is_file():
                name = run.report.model.name
                raise UnavailableError(f"the run of {name} has no {INPUTS}; evaluate again")
            self._stored[run.folder] = self.stack.enter_context(open_stored(run.folder, run.report))
        return self._stored[run.folder]

    def _seed(self, metric: str) -> int:
        return zlib.crc32(f"{self.effort.seed} {metric}".encode())


def _generated_clips(features: Features) -> frozenset[str]:
    sides = [set(values) for values in features.get("generated", {}).values()]
    return frozenset(set.intersection(*sides)) if sides else frozenset()


def _restricted(features: Features, clips: frozenset[str]) -> Features:
    """The features with the generated side cut down to `clips`."""
    return {
        stream: {
            name: {c: v for c, v in values.items() if stream != "generated" or c in clips}
            for name, values in sides.items()
        }
        for stream, sides in features.items()
    }


def _same(value: float | None, reported: float | None) -> bool:
    if value is None or reported is None:
        return value is reported
    return bool(np.isclose(value, reported, rtol=1e-6, atol=1e-9))
