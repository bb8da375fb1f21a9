"""The Python environment of a model: made with uv where it is installed, else with venv and pip."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from v2abench.baselines.workers.cards import Environment
from v2abench.baselines.workers.process import last_words
from v2abench.errors import V2ABenchError

IMPORT_SECONDS = 600.0
"""For all imports together; the first one of a large package compiles it."""

_TRY_IMPORTS = """
import importlib, json, os, sys
sys.path.insert(0, os.getcwd())
keep, found = os.dup(1), {}
os.dup2(2, 1)
for name in sys.argv[1:]:
    try:
        module, _, function = name.partition(":")
        found_module = importlib.import_module(module)
        if function:
            getattr(found_module, function)()
    except BaseException as error:
        found[name] = "%s: %s" % (type(error).__name__, error)
with os.fdopen(keep, "w") as stream:
    json.dump(found, stream)
"""


def requirements_hash(environment: Environment) -> str:
    """Return what tells one list of requirements from another."""
    return hashlib.sha256("\n".join(environment.requirements).encode()).hexdigest()[:16]


def version_of(python: Path) -> str | None:
    """Return the interpreter's version as `3.10`, or None where it does not run."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [str(python), "-c", code], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def find_python(environment: Environment) -> Path | None:
    """Return an installed interpreter of one of the versions, best first."""
    for wanted in environment.python:
        candidates = [shutil.which(f"python{wanted}"), sys.executable]
        for candidate in filter(None, candidates):
            if version_of(Path(candidate)) == wanted:
                return Path(candidate)
    return None


def tool() -> str:
    """Which tool makes environments here."""
    return "uv" if shutil.which("uv") else "venv and pip"


def make(
    folder: Path, environment: Environment, requirements: Path, log: Path, say: Callable[[str], None]
) -> Path:
    """Make the environment in `folder`, or go on where an earlier call ended; return its interpreter.

    Raises `V2ABenchError` where no fitting interpreter is found or a package cannot be installed.
    """
    python = folder / "bin" / "python"
    requirements.parent.mkdir(parents=True, exist_ok=True)
    requirements.write_text("\n".join(environment.requirements) + "\n", encoding="utf-8")
    uv = shutil.which("uv")
    if version_of(python) is None:
        _create(folder, environment, uv, log)
    if environment.requirements:
        say(f"installing {len(environment.requirements)} packages with {tool()}; log {log}")
        pip = [uv, "pip"] if uv else [str(python), "-m", "pip"]
        target = ["--python", str(python)] if uv else []
        _run([*pip, "install", *target, "-r", str(requirements)], log, "a package could not be installed")
    return python


def _create(folder: Path, environment: Environment, uv: str | None, log: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    python = find_python(environment)
    if uv:
        # What is not installed, uv brings.
        wanted = str(python or environment.python[0])
        _run([uv, "venv", "--python", wanted, str(folder)], log, "uv made no environment")
        return
    if python is None:
        versions = " or ".join(environment.python)
        raise V2ABenchError(
            f"Python {versions} is needed and not installed; install it, or uv (which brings it), "
            "or name an interpreter with --python"
        )
    _run([str(python), "-m", "venv", str(folder)], log, "venv made no environment")


def broken_imports(python: Path, modules: Sequence[str], folder: Path) -> dict[str, str]:
    """Return the modules that the interpreter cannot import inside `folder`, with the reason."""
    try:
        done = subprocess.run(
            [str(python), "-c", _TRY_IMPORTS, *modules],
            cwd=folder, capture_output=True, text=True, check=False, timeout=IMPORT_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return dict.fromkeys(modules, f"the interpreter does not answer: {error}")
    try:
        found: dict[str, str] = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return dict.fromkeys(modules, f"the interpreter ended while it imported: {lines[-1]}")
    return found


def _run(command: Sequence[str], log: Path, trouble: str) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    quiet = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONPATH": ""}
    with log.open("ab") as stream:
        stream.write((" ".join(command) + "\n").encode())
        stream.flush()
        done = subprocess.run(
            command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, check=False, env=quiet
        )
    if done.returncode != 0:
        raise V2ABenchError(f"{trouble}; {last_words(log)}; whole log {log}; run setup again to go on")
