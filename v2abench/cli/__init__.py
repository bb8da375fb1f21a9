"""The command line. Commands import what they need when they run, so that help is instant."""

import sys

from v2abench.errors import V2ABenchError

INTERRUPTED = 130
"""Typer's exit code for Ctrl-C, as of shells."""


def main() -> None:
    """Run the command line; a user's mistake is one red line and exit code 2."""
    from v2abench.cli.app import app
    from v2abench.cli.consoles import messages

    try:
        app()
    except V2ABenchError as error:
        messages.print(f"error: {error}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            messages.print("interrupted; the same command goes on where this one stopped", style="yellow")
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
