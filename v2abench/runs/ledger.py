"""How every clip ended: ok, degraded or failed, with reasons."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from v2abench.errors import ClipFault
from v2abench.runs.report import Coverage, LedgerEntry, Reason, Status

REMARKS = frozenset({"short", "silent", "adjusted"})
"""Codes of reasons that degrade a clip and yet keep it from no metric."""


@dataclass
class Ledger:
    """Collects reasons by clip id; a clip with a failure is failed, with any other reason degraded."""

    ids: Sequence[str]
    _failures: dict[str, list[Reason]] = field(default_factory=lambda: defaultdict(list))
    _degradations: dict[str, list[Reason]] = field(default_factory=lambda: defaultdict(list))

    def fail(self, clip_id: str, about: str, fault: ClipFault) -> None:
        """Record that the clip's generated audio cannot be judged at all."""
        self._failures[clip_id].append(Reason(about=about, code=fault.code, detail=fault.detail))

    def degrade(self, clip_id: str, about: str, code: str, detail: str) -> None:
        """Record that something about the clip is not as it should be; the same reason counts once."""
        reason = Reason(about=about, code=code, detail=detail)
        if reason not in self._degradations[clip_id]:
            self._degradations[clip_id].append(reason)

    def failed(self, clip_id: str) -> bool:
        """Say whether the clip has failed."""
        return clip_id in self._failures

    def knows(self, clip_id: str, about: str, code: str) -> bool:
        """Say whether a reason of that code is already recorded for that stream."""
        reasons = [*self._failures.get(clip_id, ()), *self._degradations.get(clip_id, ())]
        return any(reason.code == code and reason.about == about for reason in reasons)

    def entries(self) -> tuple[LedgerEntry, ...]:
        """Return one entry a clip, in the order of the dataset."""
        return tuple(self._entry(clip_id) for clip_id in self.ids)

    def coverage(self) -> Coverage:
        """Return the counts."""
        statuses = [entry.status for entry in self.entries()]
        return Coverage(
            expected=len(statuses),
            ok=statuses.count("ok"),
            degraded=statuses.count("degraded"),
            failed=statuses.count("failed"),
        )

    def missing(
        self,
        expected: Iterable[str],
        used: Iterable[str],
        needed: Collection[str],
        undefined: Mapping[str, str],
    ) -> tuple[Reason, ...]:
        """Return why each of the `expected` clips that is not among the `used` ones is not.

        `needed` are the streams, and the networks on them, that the metric stands on, as
        reasons name them (`reference`, `reference aisfx`).
        """
        used = set(used)
        return tuple(self._why(clip, needed, undefined) for clip in expected if clip not in used)

    def _why(self, clip_id: str, needed: Collection[str], undefined: Mapping[str, str]) -> Reason:
        if clip_id in undefined:
            return Reason(about=clip_id, code="undefined", detail=undefined[clip_id])
        barring = [
            *self._failures.get(clip_id, ()),
            *(r for r in self._degradations.get(clip_id, ()) if r.about in needed and r.code not in REMARKS),
        ]
        if barring:
            why = barring[0]
            return Reason(about=clip_id, code=why.code, detail=f"{why.about}: {why.detail}")
        return Reason(about=clip_id, code="missing", detail="the clip has not all that the metric needs")

    def _entry(self, clip_id: str) -> LedgerEntry:
        failures = tuple(self._failures.get(clip_id, ()))
        degradations = tuple(self._degradations.get(clip_id, ()))
        status: Status = "failed" if failures else "degraded" if degradations else "ok"
        return LedgerEntry(id=clip_id, status=status, reasons=failures + degradations)
