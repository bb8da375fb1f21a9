"""One process a device: jobs are divided over them, and each writes what it has."""

from __future__ import annotations

import multiprocessing as mp
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Literal

from v2abench.contracts import Forward, Network
from v2abench.engines.contract import ItemT, ResultT, Surroundings, Work
from v2abench.errors import V2ABenchError

if TYPE_CHECKING:
    from v2abench.features.extraction import Extractor, Job

Message = tuple[Literal["result", "end", "error"], Any]

_LOADED: dict[Network, Forward] = {}
"""In a process of one device: the networks that it has loaded so far."""


@dataclass(frozen=True)
class Extraction:
    """The work of an extractor, in a process of one device, which keeps its networks."""

    extractor: Extractor

    def start(self, device: str) -> Callable[[Sequence[Job]], Iterator[int]]:
        """Take over the networks that this process has."""
        return self.extractor.here(device, _LOADED).work_off


@dataclass(frozen=True)
class Child:
    """A process of one device, and the connection to it."""

    device: str
    process: BaseProcess
    connection: Connection


@dataclass
class Processes:
    """The engine of several devices; each takes every n-th item. Close it at the end."""

    devices: tuple[str, ...]
    elsewhere: bool = True
    _children: list[Child] = field(default_factory=list)

    def map(self, work: Work[ItemT, ResultT], items: Sequence[ItemT]) -> Iterator[ResultT]:
        """See `Engine`; raises `V2ABenchError` where a process dies."""
        self._children = self._children or [_started(device) for device in self.devices]
        busy = [child for number, child in enumerate(self._children) if items[number :: len(self.devices)]]
        try:
            for number, child in enumerate(busy):
                child.connection.send((work, items[number :: len(self.devices)]))
            while busy:
                ready = wait([child.connection for child in busy])
                for child in [child for child in busy if child.connection in ready]:
                    kind, content = _received(child)
                    if kind == "error":
                        raise content
                    if kind == "end":
                        busy.remove(child)
                    else:
                        yield content
        except BaseException:
            # What they are still doing belongs to nobody now.
            self.close()
            raise

    def extract(self, extractor: Extractor, jobs: Sequence[Job]) -> Iterator[int]:
        """See `Engine`; the decoding processes are shared out among the devices."""
        workers = -(-extractor.workers // len(self.devices))
        # Progress shows here, and may not travel.
        return self.map(Extraction(replace(extractor.here("cpu"), workers=workers)), jobs)

    def close(self) -> None:
        """End the processes."""
        for child in self._children:
            child.connection.close()
            child.process.terminate()
        for child in self._children:
            child.process.join()
        self._children = []


def _started(device: str) -> Child:
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, device, Surroundings()), name=f"v2abench {device}")
    process.start()
    theirs.close()
    return Child(device, process, ours)


def _received(child: Child) -> Message:
    try:
        message: Message = child.connection.recv()
    except (EOFError, ConnectionResetError) as error:
        child.process.join()
        raise V2ABenchError(
            f"the process for device {child.device} died (exit code {child.process.exitcode}): it ran out of "
            "memory, or your script lacks `if __name__ == '__main__':`; what was done is kept, run it again"
        ) from error
    return message


def _serve(connection: Connection, device: str, surroundings: Surroundings) -> None:
    """Do what comes through the connection, until the other side closes it."""
    # Ctrl-C reaches every process of a terminal; the one that started this decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            work, items = connection.recv()
        except EOFError:
            return
        try:
            with surroundings.taken_over():
                for result in work.start(device)(items):
                    connection.send(("result", result))
            connection.send(("end", None))
        except BrokenPipeError:
            return
        except Exception as error:
            _send_error(connection, device, error)


def _send_error(connection: Connection, device: str, error: Exception) -> None:
    text = traceback.format_exc()
    if not isinstance(error, V2ABenchError):
        error.add_note(f"in the process for device {device}:\n{text}")
    try:
        connection.send(("error", error))
    except (TypeError, AttributeError, ValueError):
        connection.send(("error", RuntimeError(text)))
