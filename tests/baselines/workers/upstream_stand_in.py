"""An upstream as it is met in the wild: a git repository, a wheel, weights, and a worker script for it."""

import json
import shutil
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from v2abench.baselines.workers import places
from v2abench.baselines.workers.cards import Card

WORKER = """
import json, os, random, struct, sys

sys.path.insert(0, os.getcwd())
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def say(**message):
    out.write(json.dumps(message) + "\\n")
    out.flush()


say(type="hello", protocol=1, name="upstream", capabilities={"prompt": True, "options": ["gain"]})
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "shutdown":
        break
    if message["type"] == "load":
        import stand_in_model
        import stand_in_package
        print("upstream prints as it likes")
        weights = open("ckpts/model.pt").read() + open("ckpts/run/model.ckpt").read()
        say(type="ready", sample_rate=stand_in_package.RATE, channels=1)
    else:
        samples = stand_in_model.tone(message["seed"], message["seconds"], message["options"]["gain"])
        data = struct.pack("<%dh" % len(samples), *samples)
        head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1,
                           8000, 16000, 2, 16, b"data", len(data))
        with open(message["output"], "wb") as stream:
            stream.write(head + data)
        say(type="result", id=message["id"], sample_rate=8000, channels=1, samples=len(samples))
"""

MODEL = """
import random


def tone(seed, seconds, gain):
    draw = random.Random(seed)
    return [int(gain * draw.randint(-9000, 9000)) for _ in range(round(seconds * 8000))]
"""

HUB = """
import pathlib


def snapshot_download(repo_id, *, allow_patterns=None, ignore_patterns=None, local_dir=None):
    assert "*.msgpack" in ignore_patterns
    folder = pathlib.Path(local_dir)
    for name in allow_patterns or ["config.json"]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(repo_id)
    return str(folder)
"""


@dataclass(frozen=True)
class Upstream:
    """Where the parts are."""

    repository: Path
    commit: str
    wheel: Path
    weights: Path
    archive: Path

    def card(self, **changes: object) -> Card:
        """The card of the model that lives there."""
        fields: dict[str, object] = {
            "name": "upstream",
            "kind": "isolated",
            "title": "Upstream",
            "summary": "A stand-in",
            "sample_rate": 8000,
            "channels": 1,
            "license": {"code": "MIT", "weights": "CC BY-NC 4.0", "commercial_use": False},
            "repository": {
                "url": str(self.repository),
                "commit": self.commit,
                "date": "2024-01-01",
                "folder": "inner",
            },
            "environment": {
                "python": ["3.11", "3.12", "3.13"],
                "requirements": [f"stand-in-package @ {self.wheel.as_uri()}"],
                "imports": ["stand_in_package", "stand_in_model"],
            },
            "checkpoints": [
                {
                    "use": "model",
                    "path": "ckpts/model.pt",
                    "size": 2000,
                    "license": "CC BY-NC 4.0",
                    "url": self.weights.as_uri(),
                },
                {
                    "use": "run",
                    "path": "ckpts/run",
                    "archive": True,
                    "license": "MIT",
                    "url": self.archive.as_uri(),
                },
                {"use": "base", "path": "ckpts/base", "hub": "org/base", "license": "MIT"},
            ],
            "script": "worker_upstream.py",
            "options": {"gain": {"default": 1.0, "help": "Gain"}},
            "timeouts": {"start": 200, "load": 200, "clip": 200},
        }
        return Card.model_validate({**fields, **changes})


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder` and return what it prints."""
    who = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def make_upstream(folder: Path) -> Upstream:
    """Make the repository (whose pinned commit is not its newest), the wheel and the weights."""
    repository = folder / "repository"
    (repository / "inner").mkdir(parents=True)
    git(repository, "init", "--quiet")
    (repository / "inner/stand_in_model.py").write_text(MODEL)
    git(repository, "add", "-A")
    git(repository, "commit", "--quiet", "-m", "The pinned state")
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "inner/stand_in_model.py").write_text("raise ImportError('the newest state is another')\n")
    git(repository, "commit", "--quiet", "-am", "A newer state")
    weights = folder / "model.pt"
    weights.write_text("w" * 2000)
    (folder / "run").mkdir()
    (folder / "run/model.ckpt").write_text("run")
    with tarfile.open(folder / "run.tar.gz", "w:gz") as archive:
        archive.add(folder / "run", "run")
    return Upstream(repository, commit, _wheel(folder), weights, folder / "run.tar.gz")


def _wheel(folder: Path) -> Path:
    path = folder / "stand_in_package-1.0-py3-none-any.whl"
    info = "stand_in_package-1.0.dist-info"
    files = {
        "stand_in_package.py": "RATE = 8000\n",
        "huggingface_hub.py": HUB,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: stand-in-package\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return path


def make_scripts(folder: Path) -> Path:
    """A folder of worker scripts with the stand-in's own beside ours."""
    shutil.copytree(places.scripts_folder(), folder)
    (folder / "worker_upstream.py").write_text(WORKER)
    return folder


def read_json(path: Path) -> dict[str, object]:
    """Return what a JSON file holds."""
    found: dict[str, object] = json.loads(path.read_text())
    return found
