"""`models doctor` and the short word of `models list`: what a model lacks here, and the remedy."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from v2abench.baselines.workers import checkpoints, environments, upstream
from v2abench.baselines.workers.cards import Card
from v2abench.baselines.workers.places import Place, Setup, launch_of, read_setup
from v2abench.baselines.workers.process import WorkerDiedError, WorkerProcess, WorkerTimeoutError, last_words
from v2abench.baselines.workers.protocol import VERSION, Hello
from v2abench.errors import V2ABenchError
from v2abench.models import Description


@dataclass(frozen=True)
class Check:
    """One prerequisite: `remedy` is empty where it is fulfilled."""

    what: str
    state: str
    remedy: str = ""


def readiness(card: Card) -> str:
    """Return `ready`, or what is missing, in a few words; starts no process."""
    if card.kind == "samples":
        return f"give its samples: --model {card.name} --samples DIR"
    if card.kind != "isolated":
        found = shutil.which(card.command[0])
        return "ready" if found else f"{card.command[0]} is not on the PATH"
    setup = read_setup(card.name)
    if setup is None:
        return f"not set up: v2abench models setup {card.name}"
    if not Path(setup.repository).is_dir() or not os.access(setup.python, os.X_OK):
        return f"repository or environment is gone: v2abench models setup {card.name}"
    folder = setup.working_folder(card)
    missing = sum(checkpoints.fault(checkpoint, folder) is not None for checkpoint in card.checkpoints)
    if missing:
        return f"{missing} of {len(card.checkpoints)} checkpoints missing: v2abench models setup {card.name}"
    return "ready"


def describe_card(card: Card) -> Description:
    """Return what `models list` says of a model with a card."""
    licence = str(card.license) if card.license else "not stated"
    return Description(card.kind, card.summary, card.text, licence, readiness(card))


def examine(card: Card) -> list[Check]:
    """Return all prerequisites of a model, each with its remedy where it is not fulfilled."""
    again = f"v2abench models setup {card.name}"
    if card.kind == "samples":
        return [Check("samples", card.durations or card.summary)]
    if card.kind != "isolated":
        return _program(card)
    setup = read_setup(card.name)
    if setup is None or card.repository is None or card.environment is None:
        return [Check("setup", "not done", again)]
    wrong = upstream.fault(Path(setup.repository), card.repository)
    checks = [Check("repository", wrong or f"at {card.repository.commit[:12]}", again if wrong else "")]
    version = environments.version_of(Path(setup.python))
    checks.append(Check("python", version or f"{setup.python} does not run", "" if version else again))
    folder = setup.working_folder(card)
    if version and folder.is_dir():
        checks += _imports(card, setup, folder)
    for checkpoint in card.checkpoints:
        lack = checkpoints.fault(checkpoint, folder)
        remedy = f"{again}, or fetch it by hand from {checkpoint.source}" if lack else ""
        checks.append(Check(f"weights {checkpoint.name}", lack or "there", remedy))
    if version and folder.is_dir():
        checks.append(_hello(card))
    return checks


def _imports(card: Card, setup: Setup, folder: Path) -> list[Check]:
    environment = card.environment
    if environment is None:
        return []
    broken = environments.broken_imports(Path(setup.python), environment.imports, folder)
    ours = setup.requirements is not None
    listed = Place(card.name).folder / "requirements.txt"
    remedy = f"v2abench models setup {card.name}" if ours else f"install what the card pins; {listed}"
    if environment.system:
        remedy += "; by hand: " + "; ".join(environment.system)
    return [
        Check(f"import {name}", broken.get(name, "ok"), remedy if name in broken else "")
        for name in environment.imports
    ]


def _program(card: Card) -> list[Check]:
    program = card.command[0]
    found = shutil.which(program)
    remedy = "" if found else f"install it, or name another with: v2abench models add {card.name} --force ..."
    checks = [Check(f"program {program}", found or "not on the PATH", remedy)]
    if found and card.kind == "worker":
        checks.append(_hello(card))
    return checks


def _hello(card: Card) -> Check:
    """Start the worker and hear its first word; nothing is loaded."""
    what = "worker says hello"
    try:
        process = WorkerProcess(launch_of(card))
    except (V2ABenchError, subprocess.SubprocessError) as error:
        return Check(what, str(error), "see the lines above")
    try:
        message = process.receive(card.timeouts.start)
    except WorkerTimeoutError:
        state = f"nothing within {card.timeouts.start:g} s; {last_words(process.log)}"
        return Check(what, state, f"read {process.log}")
    except WorkerDiedError as error:
        return Check(what, str(error), f"read {process.log}")
    finally:
        process.stop()
    if not isinstance(message, Hello) or message.protocol != VERSION:
        return Check(what, f"it said {message}", f"the first message must be hello, protocol {VERSION}")
    return Check(what, f"protocol {message.protocol}")
