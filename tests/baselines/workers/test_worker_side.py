"""The worker's own side: what upstream prints, how it ends, and what happens when the host is gone."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from worker_processes import Ask, is_running, wait_for

from v2abench.baselines.workers.cards import Card
from v2abench.baselines.workers.places import scripts_folder
from v2abench.errors import V2ABenchError

WORKER = """
import os, subprocess, sys, time
sys.path.insert(0, {scripts!r})
from v2a_worker import Sound, WorkerError, serve


class Upstream:
    name = "upstream"
    capabilities = {{"prompt": True, "options": []}}

    def load(self, device):
        print("downloading ...")
        os.write(1, b"a C library speaks\\n")
        if sys.argv[1] == "exit":
            sys.exit()
        return {{"sample_rate": 16000, "channels": 2, "device": device}}

    def generate(self, order):
        import numpy as np
        print("100%|####| 24/24")
        if order.prompt == "memory":
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        if order.prompt == "exit":
            sys.exit()
        if order.prompt == "wait":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
            open(sys.argv[2] + "/waiting", "w").write("%d %d" % (os.getpid(), child.pid))
            time.sleep(120)
        order.progress("step", 1, 2)
        n = round(order.seconds * 16000) + 3
        wave = np.linspace(-1.0, 1.0, 2 * n, dtype=np.float32).reshape(2, n)
        odd = {{"silence": wave * 0, "nan": wave / 0, "empty": wave[:, :0]}}
        return Sound(odd.get(order.prompt, wave), 16000)


serve(Upstream())
"""


@pytest.fixture
def worker(tmp_path: Path, marks: Path) -> Callable[..., Card]:
    path = tmp_path / "worker.py"
    path.write_text(WORKER.format(scripts=str(scripts_folder())))

    def make(mode: str = "well") -> Card:
        command = [sys.executable, str(path), mode, str(marks)]
        return Card.model_validate(
            {"name": "stand-in", "kind": "worker", "title": "x", "summary": "x", "command": command}
        )

    return make


def test_float_sound_arrives_to_the_last_bit_and_prints_go_to_the_log(
    ask: Ask, worker: Callable[..., Card], cache: Path
) -> None:
    answer = ask(worker(), "ok")["0"]
    wave = np.linspace(-1.0, 1.0, 32006, dtype=np.float32).reshape(2, 16003)
    np.testing.assert_array_equal(answer.audio.samples, wave[:, :16000])
    log = next((cache / "models/stand-in/logs").glob("*.log")).read_text()
    for line in ("downloading ...", "a C library speaks", "100%|####| 24/24"):
        assert line in log


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_sound_that_is_none_and_exits_inside_upstream_are_typed_errors(
    ask: Ask, worker: Callable[..., Card]
) -> None:
    found = ask(worker(), "silence", "nan", "empty", "exit", "ok")
    codes = [answer.fault.code if answer.fault else "ok" for answer in found.values()]
    assert codes == ["no-audio", "no-audio", "no-audio", "failed", "ok"]
    assert "upstream ended the process with exit code None" in found["3"].fault.detail


def test_after_two_faults_of_memory_in_a_row_a_fresh_process_goes_on(
    ask: Ask, worker: Callable[..., Card], cache: Path
) -> None:
    found = ask(worker(), "memory", "memory", "ok", "memory", "ok")
    codes = [answer.fault.code if answer.fault else "ok" for answer in found.values()]
    assert codes == ["out-of-memory", "out-of-memory", "ok", "out-of-memory", "ok"]
    assert len(list((cache / "models/stand-in/logs").glob("*.log"))) == 2


def test_an_exit_with_code_0_while_loading_is_a_failure(ask: Ask, worker: Callable[..., Card]) -> None:
    with pytest.raises(V2ABenchError, match="upstream ended the process with exit code None"):
        ask(worker("exit"), "ok")


def test_a_worker_whose_host_was_killed_ends_with_its_children(
    worker: Callable[..., Card], marks: Path, videos: Path
) -> None:
    """In the middle of a request, where it reads nothing."""
    host = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, json, time\n"
            "p = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE,"
            " start_new_session=True)\n"
            "for m in ({'type': 'load'}, {'type': 'generate', 'id': 'a', 'video': sys.argv[1], 'seconds': 1,"
            " 'output': '/dev/null', 'prompt': 'wait'}):\n"
            "    p.stdin.write(json.dumps(m).encode() + b'\\n'); p.stdin.flush()\n"
            "time.sleep(120)",
            str(videos / "c.mp4"),
            *worker().command,
        ],
        stderr=subprocess.DEVNULL,
    )
    assert wait_for(lambda: (marks / "waiting").exists() and (marks / "waiting").read_text().count(" ") == 1)
    pids = [int(pid) for pid in (marks / "waiting").read_text().split()]
    assert all(map(is_running, pids))
    os.kill(host.pid, signal.SIGKILL)
    host.wait()
    assert wait_for(lambda: not any(map(is_running, pids)))
