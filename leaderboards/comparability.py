"""Which runs may stand on one board: those whose numbers were made the same way."""

from collections import Counter
from collections.abc import Sequence

from v2abench.errors import V2ABenchError
from v2abench.runs.report import Report


def standard_signature(reports: Sequence[Report]) -> str:
    """Return the signature of most runs, on a tie the one that comes first."""
    return Counter(report.signature for report in reports).most_common(1)[0][0]


def competing(reports: Sequence[Report], standard: str) -> list[bool]:
    """Say which runs compete for the ranks: those of the `standard` signature that are no controls.

    Where the standard signature has controls only, these compete.
    """
    models = any(report.signature == standard and not report.model.control for report in reports)
    return [report.signature == standard and not (models and report.model.control) for report in reports]


def refuse_mixture(reports: Sequence[Report], standard: str) -> None:
    """Raise `V2ABenchError`, naming two runs and where they differ, for any but the `standard` signature."""
    odd = next((report for report in reports if report.signature != standard), None)
    if odd is None:
        return
    usual = next(report for report in reports if report.signature == standard)
    raise V2ABenchError(
        f"run {_told(usual)} and run {_told(odd)} are not comparable: their signatures differ in "
        f"{_parts_beyond(standard, odd.signature)} against {_parts_beyond(odd.signature, standard)}; "
        "evaluate one of them again under the same protocol, or mix them, marked, with --force"
    )


def refuse_twins(reports: Sequence[Report]) -> None:
    """Raise `V2ABenchError` where two runs have the same model name and signature."""
    seen: dict[tuple[str, str], Report] = {}
    for report in reports:
        twin = seen.setdefault((report.model.name, report.signature), report)
        if twin is not report:
            raise V2ABenchError(
                f"two runs are named {report.model.name!r}, of {twin.model.spec} and of {report.model.spec}; "
                "leave one out, or evaluate each under a label of its own: NAME=SPEC"
            )


def _told(report: Report) -> str:
    return f"{report.model.name!r} ({report.model.spec})"


def _parts_beyond(signature: str, other: str) -> str:
    """The `|`-separated parts of `signature` that `other` lacks."""
    known = other.split("|")
    return repr("|".join(part for part in signature.split("|") if part not in known) or "nothing")
