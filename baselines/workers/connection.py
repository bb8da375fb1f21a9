"""The conversation with one worker: started once, restarted when it dies, given up when it keeps dying."""

import logging
import time
from collections.abc import Mapping
from types import TracebackType

from v2abench.baselines.workers import protocol
from v2abench.baselines.workers.cards import Timeouts
from v2abench.baselines.workers.process import (
    Launch,
    WorkerDiedError,
    WorkerProcess,
    WorkerTimeoutError,
    last_words,
)
from v2abench.baselines.workers.protocol import Failure, Hello, Message, Order, Progress, Ready, Result
from v2abench.errors import ClipFault, V2ABenchError

logger = logging.getLogger(__name__)

MOST_DEATHS = 3
"""So many deaths in a row, without one answer between them, and the worker is not started again."""

GRACE_SECONDS = 15.0
"""How long a worker may take to end by itself when all is done."""

_CODES: Mapping[str, str] = {
    "out_of_memory": "out-of-memory",
    "video_unreadable": "unreadable",
    "video_too_short": "too-short",
    "no_audio": "no-audio",
    "bad_request": "bad-request",
}
"""From the worker's words to those of the ledger; any other code is `failed`."""


class Connection:
    """A worker, as a context: `ask` gives one result an order, or raises the fault of that clip.

    A worker that dies is started again and asked for the same clip once more; one that
    runs out of time is started again for the next clip. After `MOST_DEATHS` of either in
    a row every further clip is a fault.
    """

    def __init__(self, launch: Launch, device: str, *, offline: bool, timeouts: Timeouts) -> None:
        self.launch, self.device, self.offline, self.timeouts = launch, device, offline, timeouts
        self.hello: Hello | None = None
        self.ready: Ready | None = None
        self._process: WorkerProcess | None = None
        self._deaths = 0
        self._given_up: ClipFault | None = None

    def __enter__(self) -> "Connection":
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(GRACE_SECONDS if kind is None else 0.0)

    def ask(self, order: Order) -> Result:
        """Return the worker's result; raises `ClipFault` for this clip.

        Raises `V2ABenchError` where the worker cannot be started again.
        """
        for last in (False, True):
            if self._given_up is not None:
                raise self._given_up
            try:
                answer = self._ask(order)
            except WorkerTimeoutError as error:
                detail = f"no sound within {self.timeouts.clip:g} s; {error}"
                raise self._bury(ClipFault("timeout", detail)) from error
            except WorkerDiedError as error:
                fault = self._bury(ClipFault("crashed", str(error)))
                if last:
                    raise fault from error
                logger.warning("%s: %s; it is started again", self.launch.name, error)
                continue
            self._deaths = 0
            if isinstance(answer, Result):
                return answer
            if last or not answer.retry:
                raise ClipFault(_CODES.get(answer.code, "failed"), f"{answer.code}: {answer.message}")
        raise AssertionError("the second turn returns or raises")

    def _ask(self, order: Order) -> Result | Failure:
        process = self._process or self._start()
        if self.hello is None:
            raise AssertionError("a started worker has said hello")
        process.send(protocol.generate(order, self.hello.capabilities))
        deadline, heard = time.monotonic() + self.timeouts.clip, "nothing"
        while True:
            try:
                message = process.receive(deadline - time.monotonic())
            except WorkerTimeoutError as error:
                raise WorkerTimeoutError(f"last progress: {heard}; {error}") from error
            if isinstance(message, Result | Failure) and message.id == order.id:
                return message
            if isinstance(message, Failure) and message.id is None:
                raise WorkerDiedError(f"the worker gave up: {message.code}: {message.message}")
            heard = str(message) if isinstance(message, Progress) else heard

    def _start(self) -> WorkerProcess:
        process = WorkerProcess(self.launch)
        try:
            hello = self._await(process, Hello, self.timeouts.start, "start")
            if not isinstance(hello, Hello) or hello.protocol != protocol.VERSION:
                raise self._start_error(process, f"speaks protocol {hello}, not {protocol.VERSION}")
            process.send(protocol.load(self.device, self.offline))
            ready = self._await(process, Ready, self.timeouts.load, "load its models")
        except WorkerDiedError as error:
            process.stop()
            raise V2ABenchError(f"--model {self.launch.name}: {error}; {self._remedy()}") from error
        except BaseException:
            process.stop()
            raise
        self._process, self.hello = process, hello
        self.ready = ready if isinstance(ready, Ready) else None
        return process

    def _await(self, process: WorkerProcess, wanted: type[Message], seconds: float, what: str) -> Message:
        """Return the first message of the wanted kind; raises for the others that end a start."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                message = process.receive(deadline - time.monotonic())
            except WorkerTimeoutError as error:
                reason = f"did not {what} within {seconds:g} s; {last_words(process.log)}"
                raise self._start_error(process, reason) from error
            if isinstance(message, wanted):
                return message
            if isinstance(message, Failure):
                raise self._start_error(process, f"could not {what}: {message.code}: {message.message}")

    def _start_error(self, process: WorkerProcess, reason: str) -> V2ABenchError:
        return V2ABenchError(
            f"--model {self.launch.name}: the worker {reason}; log {process.log}; {self._remedy()}"
        )

    def _remedy(self) -> str:
        return f"run: v2abench models doctor {self.launch.name}"

    def _bury(self, fault: ClipFault) -> ClipFault:
        """End the worker, count its death, and return the fault."""
        self._stop(0.0)
        self._deaths += 1
        if self._deaths >= MOST_DEATHS:
            self._given_up = ClipFault(
                fault.code, f"not asked: the worker failed {MOST_DEATHS} times in a row; {fault.detail}"
            )
        return fault

    def _stop(self, grace: float) -> None:
        if self._process is not None:
            self._process.stop(grace)
            self._process = None
