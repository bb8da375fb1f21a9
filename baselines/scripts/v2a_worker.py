"""The worker's side of the protocol (docs/workers.md): standard library, Python 3.8 and later.

A worker script defines a class with `name`, `capabilities`, `load` and `generate`, and
calls `serve`. Upstream code writes to stdout as it likes: `serve` keeps the protocol on a
copy of file descriptor 1 and lets everything else go to stderr, so it must be called
before anything of upstream is imported. A thread reads stdin; when the host is gone, it
ends the process and whatever that started.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import struct
import sys
import threading
import traceback
from typing import Any

PROTOCOL = 1
OUT_OF_MEMORY_LIMIT = 2
"""So many in a row, and a fresh process is the better chance."""


class WorkerError(Exception):
    """A request that cannot be fulfilled, with a code that the host knows."""

    def __init__(self, code: str, message: str, retry: bool = False) -> None:
        super().__init__(message)
        self.code, self.retry = code, retry


class Order:
    """One request for sound: what the host sent, with defaults for what it left out."""

    def __init__(self, message: dict[str, Any], report: Any) -> None:
        self.id: str = message["id"]
        self.video: str = message["video"]
        self.seconds = float(message["seconds"])
        self.seed = int(message.get("seed") or 0)
        self.output: str = message["output"]
        self.prompt: str = message.get("prompt") or ""
        self.negative_prompt: str = message.get("negative_prompt") or ""
        self.cot: str = message.get("cot") or ""
        self.options: dict[str, Any] = message.get("options") or {}
        self.warnings: list[str] = []
        self._report = report

    def option(self, name: str, default: Any) -> Any:
        """The value of an option, or the model's default."""
        value = self.options.get(name)
        return default if value is None else value

    def warn(self, text: str) -> None:
        """Note for the ledger what was not as it should be."""
        self.warnings.append(text)

    def progress(self, stage: str, done: float, total: float) -> None:
        """Tell how far the work is."""
        self._report({"type": "progress", "stage": stage, "done": done, "total": total})


class Sound:
    """Samples of shape (channels, n), int16 or float32 with full scale 1, and their rate in Hz."""

    def __init__(self, samples: Any, sample_rate: int) -> None:
        self.samples, self.sample_rate = samples, sample_rate


def need_files(*paths: str) -> None:
    """Raise `WorkerError` where a file or folder is missing, before upstream meets that in its own way."""
    missing = [path for path in paths if not os.path.exists(path)]
    if missing:
        raise WorkerError("missing_checkpoint", "missing: " + ", ".join(map(os.path.abspath, missing)))


def serve(worker: Any) -> None:
    """Speak the protocol until the host says shutdown or is gone."""
    out = _claim_stdout()

    def say(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path.insert(0, os.getcwd())
    messages = _follow_stdin()
    say(
        {
            "type": "hello",
            "protocol": PROTOCOL,
            "name": worker.name,
            "capabilities": worker.capabilities,
        }
    )
    memory_faults = 0
    while True:
        message = messages.get()
        kind = message.get("type")
        if kind == "shutdown":
            return
        if kind == "load":
            _load(worker, message, say)
        elif kind == "generate":
            short = _generate(worker, message, say)
            memory_faults = memory_faults + 1 if short else 0
            if memory_faults == OUT_OF_MEMORY_LIMIT:
                sys.exit(1)
        else:
            say({"type": "error", "code": "bad_request", "message": "unknown message %r" % kind})


def _load(worker: Any, message: dict[str, Any], say: Any) -> None:
    """Load the models and say what the sound will be like; a worker that cannot, ends."""
    try:
        ready = worker.load(message.get("device") or "cpu")
    except BaseException as error:
        traceback.print_exc()
        say(dict(_fault(error, loading=True), type="error"))
        sys.exit(1)
    say(dict(ready, type="ready"))


def _generate(worker: Any, message: dict[str, Any], say: Any) -> bool:
    """Answer one request; return whether memory ran out."""
    order = Order(message, say)
    try:
        if not os.path.isfile(order.video):
            raise WorkerError("video_unreadable", "there is no file " + order.video)
        sound = worker.generate(order)
        channels, count = _checked(sound)
        write_wav(order.output, sound)
    except BaseException as error:
        traceback.print_exc()
        fault = _fault(error, loading=False)
        _free_memory()
        say(dict(fault, type="error", id=order.id))
        return bool(fault["code"] == "out_of_memory")
    say(
        {
            "type": "result",
            "id": order.id,
            "sample_rate": sound.sample_rate,
            "channels": channels,
            "samples": count,
            "warnings": order.warnings,
        }
    )
    return False


def _checked(sound: Sound) -> tuple[int, int]:
    """Return channels and length; raise for sound that is none: empty, not finite, all zeros."""
    samples = sound.samples
    channels, count = samples.shape
    if not count:
        raise WorkerError("no_audio", "the model gave no samples")
    # False for NaN too.
    if not (abs(samples.astype("float64")) < float("inf")).all():
        raise WorkerError("no_audio", "the model gave samples that are not finite")
    if not samples.any():
        raise WorkerError("no_audio", "the model gave digital silence")
    return int(channels), int(count)


def _fault(error: BaseException, loading: bool) -> dict[str, Any]:
    """The code and the words for an exception; `sys.exit` inside upstream is one too."""
    kind, text = type(error).__name__, str(error) or "no message"
    retry = False
    if isinstance(error, WorkerError):
        code, retry = error.code, error.retry
    elif "OutOfMemory" in kind or isinstance(error, MemoryError) or "out of memory" in text.lower():
        code = "out_of_memory"
    elif isinstance(error, ImportError):
        code = "import_error"
    elif loading and isinstance(error, OSError):
        code = "missing_checkpoint"
    elif loading and isinstance(error, RuntimeError) and "state_dict" in text:
        code = "checkpoint_mismatch"
    elif isinstance(error, SystemExit):
        code, text = "failed", "upstream ended the process with exit code %s" % error.code
    else:
        code, text = "failed", "%s: %s" % (kind, text)
    return {"code": code, "message": text[:2000], "retry": retry}


def _free_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def write_wav(path: str, sound: Sound) -> None:
    """Write a WAV file, 16-bit or 32-bit float, under a temporary name first."""
    samples = sound.samples
    channels, _count = samples.shape
    is_float = samples.dtype.kind == "f"
    data = samples.T.astype("<f4" if is_float else "<i2").tobytes()
    width = 4 if is_float else 2
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 3 if is_float else 1,
        channels, sound.sample_rate, sound.sample_rate * channels * width, channels * width, 8 * width,
        b"data", len(data),
    )  # fmt: skip
    temporary = path + ".partial"
    with open(temporary, "wb") as stream:
        stream.write(head + data)
    os.replace(temporary, path)


def _claim_stdout() -> Any:
    """Keep the real stdout for the protocol; everything else that is printed goes to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return out


def _follow_stdin() -> queue.Queue[dict[str, Any]]:
    """Read messages in a thread, so that the end of the host is noticed in the middle of a request."""
    messages: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line.decode("utf-8"))
            messages.put(message)
            if message.get("type") == "shutdown":
                return
        _end_group()

    threading.Thread(target=read, daemon=True).start()
    return messages


def _end_group() -> None:
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)
