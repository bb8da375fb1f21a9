"""A worker that does what the prompt of each clip says, well or badly; standard library only.

`stand_in.py MODE FOLDER`: the mode says how it starts, the folder is for marks that
outlive the process.
"""

import json
import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

RATE = 16000
LONG = 300
"""Seconds that no test waits for."""
MODE, MARKS = sys.argv[1], Path(sys.argv[2])


def say(**message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def wav(path: str, seconds: float, seed: int, rate: int = RATE, cut: int = 0) -> int:
    """Write noise of the seed, mono, 16 bits; `cut` bytes of what the header promises are left out."""
    draw = random.Random(seed)
    count = round(seconds * RATE)
    data = struct.pack(f"<{count}h", *(draw.randint(-8000, 8000) for _ in range(count)))
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16,
        b"data", len(data),
    )  # fmt: skip
    Path(path).write_bytes(head + data[: len(data) - cut])
    return count


def child(escaped: bool = False) -> None:
    """Start a process that would outlive us and holds our stdout, and write down which."""
    line = [sys.executable, "-c", f"import time; time.sleep({LONG})"]
    sleeper = subprocess.Popen(line, start_new_session=escaped)
    (MARKS / "child").write_text(str(sleeper.pid))


def misbehave(what: str, message: dict) -> None:
    """What happens instead of, or before, a sound."""
    if what == "crash" or (what == "crash-once" and not (MARKS / "crashed").exists()):
        (MARKS / "crashed").touch()
        sys.stderr.write("something went wrong inside\n")
        os._exit(3)
    if what == "stop":
        os._exit(0)
    if what == "escape":
        child(escaped=True)
        os._exit(3)
    while what == "talk":
        say(type="progress", stage="step")
    if what in {"hang", "child"}:
        if what == "child":
            child()
        (MARKS / "hanging").write_text(str(os.getpid()))
        say(type="progress", stage="step", done=3, total=30)
        time.sleep(LONG)
    if what == "garbage":
        sys.stdout.write(
            "Loading 100%|####|\r\n{not json}\n[1, 2]\n" + '{"type": "other"}\n' + "x" * 3_000_000 + "\n"
        )
        say(type="result", id="of another request", sample_rate=RATE, channels=1, samples=1)


def answer(message: dict) -> None:
    what, _, detail = (message.get("prompt") or "ok").partition(":")
    misbehave(what, message)
    if what == "error":
        say(type="error", id=message["id"], code=detail, message="as told", retry=False)
        return
    if what == "retry" and not (MARKS / "retried").exists():
        (MARKS / "retried").touch()
        say(type="error", id=message["id"], code="busy", message="try again", retry=True)
        return
    seconds = message["seconds"]
    length = {"short": seconds / 2, "tail": seconds - 0.02}.get(what, seconds + 0.5)
    samples = 0
    if what != "nothing":
        rate = 8000 if what in {"rate", "said-rate"} else RATE
        samples = wav(message["output"], length, message["seed"], rate, cut=20000 if what == "partial" else 0)
    rate = 8000 if what == "said-rate" else RATE
    warnings = ["the video was odd"] if what == "warn" else []
    say(type="result", id=message["id"], sample_rate=rate, channels=1, samples=samples, warnings=warnings)


def main() -> None:
    with (MARKS / "starts").open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    if MODE == "silent":
        time.sleep(LONG)
    if MODE == "exit-0":
        return
    options = ["steps"]
    say(
        type="hello", protocol=99 if MODE == "future" else 1, name="stand-in",
        capabilities={"prompt": True, "negative_prompt": True, "options": options},
    )  # fmt: skip
    for line in sys.stdin:
        message = json.loads(line)
        with (MARKS / "heard").open("a") as stream:
            stream.write(line)
        if message["type"] == "shutdown":
            return
        if message["type"] == "load" and MODE == "no-weights":
            say(type="error", code="missing_checkpoint", message="ckpts/model.pt is missing")
            sys.exit(0)
        elif message["type"] == "load" and MODE == "slow-load":
            time.sleep(LONG)
        elif message["type"] == "load" and MODE == "deaf":
            say(type="ready", sample_rate=RATE, channels=1)
            time.sleep(LONG)
        elif message["type"] == "load":
            say(type="ready", sample_rate=RATE, channels=1)
        else:
            answer(message)


if __name__ == "__main__":
    main()
