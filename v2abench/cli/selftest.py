"""`v2abench selftest`."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from v2abench.cli import options as shared
from v2abench.cli.consoles import messages, results, show_progress

if TYPE_CHECKING:
    from v2abench.selftest.checks import Outcome
    from v2abench.selftest.upstream import Comparison


def selftest_command(
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Run this check only; give it again for further ones.", metavar="NAME"),
    ] = None,
    device: shared.Device = "auto",
    upstream: Annotated[
        bool,
        typer.Option(
            "--upstream",
            help="Install the public packages into an environment of their own (about 6 GB), and compare "
            "with them on the same weights.",
        ),
    ] = False,
) -> None:
    """Reproduce the reference's numbers on this machine; exit with 2 where one deviates."""
    from v2abench.api import pick_device
    from v2abench.errors import UnknownNameError
    from v2abench.selftest.checks import CHECKS, by_name, run_checks

    known = by_name(CHECKS)
    for name in only or []:
        if name not in known:
            raise UnknownNameError("check", name, known)
    chosen = [known[name] for name in only] if only else list(CHECKS)
    where = pick_device(device)
    outcomes = []
    with show_progress("selftest", len(chosen)) as advance:
        for outcome in run_checks(chosen, where):
            outcomes.append(outcome)
            advance(1)
    _show_outcomes(outcomes, where)
    passed = all(outcome.passed for outcome in outcomes)
    if not only:
        passed = _show_checkpoints(where) and passed
    if upstream:
        passed = _show_upstream() and passed
    if not passed:
        raise typer.Exit(2)


def _show_outcomes(outcomes: "list[Outcome]", device: str) -> None:
    table = Table(
        "check",
        "what",
        title=f"deviation from the reference implementations, on {device}",
        title_justify="left",
    )
    for heading in ("largest deviation", "tolerance", "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for outcome in outcomes:
        check = outcome.check
        allowed = f"{check.absolute:.0e}" if check.absolute else ""
        relative = f"{check.relative:.0e}·|x|" if check.relative else ""
        verdict = Text("ok", "green") if outcome.passed else Text("DEVIATES", "bold red")
        if outcome.skipped:
            table.add_row(check.name, check.what, "", "", "", Text(outcome.skipped, "yellow"))
        else:
            tolerance = " + ".join(part for part in (allowed, relative) if part)
            found = f"{outcome.deviation:.1e}"
            table.add_row(check.name, check.what, found, tolerance, f"{outcome.seconds:.1f}", verdict)
    results.print(table)


def _show_checkpoints(device: str) -> bool:
    from v2abench.selftest.checkpoints import answers, checkpoints_here

    found = list(checkpoints_here())
    if not found:
        messages.print("no official checkpoint is in the cache; `v2abench weights pull` fetches them")
        return True
    for name, sha256 in found:
        results.print(f"{name}: SHA-256 {sha256}", highlight=False, soft_wrap=True)
    table = Table("network", "on the first impacts clip", "pinned", "")
    passed = True
    for answer in answers(device):
        passed = passed and answer.passed
        pinned = "none known yet" if answer.pinned is None else f"{answer.pinned:.6f}"
        verdict = "" if answer.passed and answer.pinned is None else "ok" if answer.passed else "DEVIATES"
        value = "" if answer.value is None else f"{answer.value:.6f}"
        table.add_row(answer.network, value, pinned, Text(answer.problem or verdict))
    results.print(table)
    return passed


def _show_upstream() -> bool:
    from v2abench.selftest.upstream import compare_with_upstream

    table = Table("network", "package", "largest deviation", "tolerance", "")
    comparisons: list[Comparison] = []
    for comparison in compare_with_upstream(lambda line: messages.print(line, markup=False, highlight=False)):
        comparisons.append(comparison)
        found = "" if comparison.deviation is None else f"{comparison.deviation:.1e}"
        tolerance = "" if comparison.deviation is None else f"{comparison.tolerance:.0e}"
        verdict = comparison.problem or ("ok" if comparison.passed else "DEVIATES")
        table.add_row(comparison.network, comparison.package, found, tolerance, Text(verdict))
    results.print(table)
    return all(comparison.passed for comparison in comparisons if comparison.deviation is not None)
