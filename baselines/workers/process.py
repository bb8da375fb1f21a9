"""A child process in a group of its own, that cannot outlive us and cannot make us wait for ever."""

import atexit
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from v2abench.baselines.workers import protocol
from v2abench.baselines.workers.protocol import Message
from v2abench.errors import V2ABenchError

MAX_LINE = 1 << 20
"""Bytes; a longer line cannot be a message."""

KEPT_LOGS = 5
_POLL_SECONDS = 0.1
_TERM_SECONDS = 2.0
"""How long a process group has between SIGTERM and SIGKILL."""
_KILL_SECONDS = 10.0


class WorkerDiedError(Exception):
    """The process ended, or closed its stdout, while an answer was awaited."""


class WorkerTimeoutError(Exception):
    """No answer came in time."""


@dataclass(frozen=True)
class Launch:
    """How a process is started: the command, its folder, what is added to its environment, its logs."""

    name: str
    command: Sequence[str]
    folder: Path
    logs: Path
    environment: Mapping[str, str] = field(default_factory=dict)


_live: set[subprocess.Popen[bytes]] = set()


def spawn(launch: Launch, *, stdin: int, stdout: int | None = None) -> tuple[subprocess.Popen[bytes], Path]:
    """Start the process in a session of its own; return it with the log that its stderr goes to.

    `stdout=None` sends stdout there too. Raises `V2ABenchError` where it cannot be started.
    """
    log = _new_log(launch.logs)
    try:
        with log.open("ab") as stderr:
            process = subprocess.Popen(
                list(launch.command),
                cwd=launch.folder,
                env={**os.environ, **launch.environment},
                stdin=stdin,
                stdout=stderr if stdout is None else stdout,
                stderr=stderr,
                start_new_session=True,
            )
    except OSError as error:
        raise V2ABenchError(
            f"{launch.name}: {launch.command[0]} cannot be started: {error.strerror}; "
            f"v2abench models doctor {launch.name}"
        ) from error
    _live.add(process)
    return process, log


def kill_group(process: subprocess.Popen[bytes], patience: float = _TERM_SECONDS) -> None:
    """End the process and whatever it started: SIGTERM, `patience` seconds, SIGKILL."""
    _signal(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    _signal(process, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        # A process inside a driver may not hear even that; it is not waited for for ever.
        process.wait(_KILL_SECONDS)
    _live.discard(process)


def last_words(log: Path) -> str:
    """The last line of a log that says anything, for error messages."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 4096))
        lines = [line.strip() for line in stream.read().decode("utf-8", "replace").splitlines()]
    said = [line for line in lines if line]
    return f"last in its log: {said[-1][:300]}" if said else "its log is empty"


class WorkerProcess:
    """A worker: messages go in through `send` and come out of `receive`, everything else lands in the log."""

    def __init__(self, launch: Launch) -> None:
        self._process, self.log = spawn(launch, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        for work, name in ((self._read, "stdout"), (self._write, "stdin")):
            threading.Thread(target=work, daemon=True, name=f"{launch.name} {name}").start()

    def send(self, message: Mapping[str, object]) -> None:
        """Have one message written, by a thread, since a worker that reads nothing would block us.

        That a worker is dead is what the next `receive` tells.
        """
        self._outbox.put(json.dumps(message).encode() + b"\n")

    def receive(self, seconds: float) -> Message:
        """Return the next message; raises `WorkerDiedError`, or `WorkerTimeoutError` after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            line = self._next_line(deadline)
            message = protocol.parse(line)
            if message is not None:
                return message
            if line.strip():
                with self.log.open("ab") as log:
                    log.write(b"[not a message on stdout] " + line.rstrip(b"\n")[:2000] + b"\n")

    def epitaph(self) -> str:
        """How the process ended and what its log says, in words that a second run repeats."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_TERM_SECONDS)
        code = self._process.returncode
        end = "closed its stdout" if code is None else f"ended with exit code {code}"
        if code is not None and code < 0:
            end = f"was killed by signal {-code}"
        return f"the worker {end}; {self.trail()}"

    def trail(self) -> str:
        """What the log says last, and where it lies."""
        return f"{last_words(self.log)}; logs in {self.log.parent}"

    def stop(self, grace: float = 0.0) -> None:
        """End the worker: by word if `grace` seconds are given, else by force, with its whole group."""
        if grace:
            self.send(protocol.shutdown())
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        kill_group(self._process)
        self._outbox.put(None)

    def _next_line(self, deadline: float) -> bytes:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                # Before the queue is looked at: one that talks without end runs out of time too.
                raise WorkerTimeoutError(self.trail())
            try:
                line = self._lines.get(timeout=min(left, _POLL_SECONDS))
            except queue.Empty:
                # A child of a dead worker may hold its stdout open.
                if self._process.poll() is not None and self._lines.empty():
                    raise WorkerDiedError(self.epitaph()) from None
                continue
            if line is None:
                raise WorkerDiedError(self.epitaph())
            return line

    def _read(self) -> None:
        """Each thread closes its own pipe: to close one in which another thread is blocked would block."""
        if (stream := self._process.stdout) is not None:
            with suppress(OSError), stream:
                for line in iter(lambda: stream.readline(MAX_LINE), b""):
                    self._lines.put(line)
        self._lines.put(None)

    def _write(self) -> None:
        if (stream := self._process.stdin) is not None:
            with suppress(OSError), stream:
                for message in iter(self._outbox.get, None):
                    stream.write(message)
                    stream.flush()


def _new_log(folder: Path) -> Path:
    """A file name that is free, and room for it: only the newest logs are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    old = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
    for path in old[: max(0, len(old) - KEPT_LOGS + 1)]:
        path.unlink(missing_ok=True)
    return folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{time.monotonic_ns() % 1_000_000}.log"


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


@atexit.register
def _end_all() -> None:
    for process in list(_live):
        kill_group(process, patience=0.5)
