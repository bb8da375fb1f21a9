"""Running a command line in this process."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from v2abench.cli import consoles, main


@dataclass(frozen=True)
class Shown:
    """What a command line printed, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def v2abench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Shown]:
    """Run `v2abench ARGUMENTS` and return what a person sees on 200 columns."""
    for console in (consoles.results, consoles.messages):
        monkeypatch.setattr(console, "_width", 200)

    def run(*arguments: object) -> Shown:
        monkeypatch.setattr(sys, "argv", ["v2abench", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Shown(code, captured.out, captured.err)

    return run
