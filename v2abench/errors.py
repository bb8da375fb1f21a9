"""The errors that a user can cause, and how they are told.

Everything that a user can mend derives from `V2ABenchError`; the command line
prints it as one red line and exits with 2. Any other exception is a bug and
keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class V2ABenchError(Exception):
    """A mistake in input, options or environment that the user can mend.

    The message names the file or option, the cause and the remedy.
    """


class UnavailableError(V2ABenchError):
    """A package or a checkpoint that is not here: the run goes on without what needs it."""


class UnknownNameError(V2ABenchError):
    """A name that is not registered; the message suggests the nearest one."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(kind, name, sorted(known))

    def __str__(self) -> str:
        kind, name, known = self.args
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown {kind} {name!r}: {hint}known are {', '.join(known) or 'none'}"


class ClipFault(Exception):  # noqa: N818 (a state of a clip, not an error of the program)
    """Why one clip, file or feature cannot be used; it goes to the run's ledger.

    `code` is one of a small vocabulary (`missing`, `unreadable`, `no-audio`,
    `no-video`, `truncated`, `not-finite`, `too-short`, `undefined`; of models in other
    processes also `crashed`, `timeout`, `out-of-memory`, `bad-request`, `mismatch`,
    `failed`), `detail` says it in words for a person.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"
