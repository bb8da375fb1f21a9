"""`v2abench doctor`."""

import typer
from rich.table import Table
from rich.text import Text

from v2abench.cli.consoles import results


def doctor_command() -> None:
    """Check the environment; exit with 2 where something is wrong."""
    from v2abench.doctor import examine

    table = Table("what", "state", "")
    findings = examine()
    for finding in findings:
        mark = Text("ok", style="green") if finding.ok else Text("look", style="bold red")
        table.add_row(Text(finding.what), Text(finding.state), mark if finding.ok is not None else Text(""))
    results.print(table)
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(2)
