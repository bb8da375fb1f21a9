"""`models setup`: repository, environment and checkpoints of an isolated model, step by step.

Every step looks at what is there first, so that setup can be interrupted and repeated.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from v2abench.baselines.workers import checkpoints, environments, upstream
from v2abench.baselines.workers.cards import Card, Checkpoint, Environment, Repository
from v2abench.baselines.workers.environments import requirements_hash
from v2abench.baselines.workers.places import Place, Setup, read_setup, write_setup
from v2abench.errors import V2ABenchError
from v2abench.progress import Progress, silent


@dataclass(frozen=True)
class SetupOptions:
    """A clone and an interpreter of the user's, whether to fetch weights, and whom to tell."""

    repository: Path | None = None
    python: Path | None = None
    weights: bool = True
    say: Callable[[str], None] = print
    progress: Progress = silent


def plan(card: Card, options: SetupOptions) -> list[str]:
    """Return, in lines for people, what setup would do, how large it is, and the licences."""
    repository, environment = _parts(card)
    place, known = Place(card.name), read_setup(card.name)
    clone = _clone(card, options, known)
    lines = [f"{card.title}: {card.summary}", f"licence: {card.license}"]
    if card.license and card.license.note:
        lines.append(f"  {card.license.note}")
    wrong = upstream.fault(clone, repository)
    state = "there" if wrong is None else "to clone" if clone == place.repository else f"NOT FIT: {wrong}"
    lines.append(f"repository: {repository.url} at {repository.commit} ({repository.date}): {state}, {clone}")
    if options.python:
        lines.append(f"environment: yours, {options.python}")
    else:
        done = _has_environment(known, environment)
        versions = " or ".join(environment.python)
        how = "there" if done else f"to make with {environments.tool()}"
        lines.append(
            f"environment: Python {versions}, {len(environment.requirements)} packages: {how}, "
            f"{place.environment}"
        )
    lines += [f"  by hand: {what}" for what in environment.system]
    return lines + _checkpoint_lines(card, clone / repository.folder, place.folder)


def _checkpoint_lines(card: Card, folder: Path, place: Path) -> list[str]:
    lines, missing = ["checkpoints:"], []
    for checkpoint in card.checkpoints:
        there = checkpoints.fault(checkpoint, folder) is None
        missing += [] if there else [checkpoint]
        lines.append(
            f"  {checkpoints.readable(checkpoint.size)}, {'there' if there else 'to fetch'}: "
            f"{checkpoint.name} "
            f"({checkpoint.use}); from {checkpoint.source}; licence {checkpoint.license}"
        )
    free = shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free
    lines.append(f"weights to download: {checkpoints.total(missing)}; {checkpoints.readable(free)} are free")
    return lines


def set_up(card: Card, options: SetupOptions) -> Setup:
    """Do what is not done yet; raises `V2ABenchError` naming the step, the cause and the remedy."""
    repository, environment = _parts(card)
    place, known = Place(card.name), read_setup(card.name)
    clone = _clone(card, options, known)
    if clone != place.repository:
        # The user's, which is looked at and left alone.
        upstream.verify(clone, repository)
    elif upstream.fault(clone, repository) is not None:
        options.say(f"fetching {repository.url} at {repository.commit[:12]}")
        upstream.fetch(clone, repository)
    setup = _environment(environment, place, options, known, clone)
    write_setup(card.name, setup)
    if options.weights:
        for checkpoint in card.checkpoints:
            _checkpoint(checkpoint, clone / repository.folder, setup, place, options)
    return setup


def _environment(
    environment: Environment, place: Place, options: SetupOptions, known: Setup | None, clone: Path
) -> Setup:
    if options.python is not None:
        version = environments.version_of(options.python)
        if version is None:
            raise V2ABenchError(f"--python {options.python} is no interpreter that runs")
        if version not in environment.python:
            foreseen = " or ".join(environment.python)
            options.say(f"Python {version} where {foreseen} is foreseen; doctor will tell")
        return Setup(str(clone), str(options.python.absolute()))
    if known is not None and _has_environment(known, environment):
        return Setup(str(clone), known.python, known.requirements)
    log, requirements = place.logs / "setup.txt", place.folder / "requirements.txt"
    python = environments.make(place.environment, environment, requirements, log, options.say)
    return Setup(str(clone), str(python), requirements_hash(environment))


def _checkpoint(
    checkpoint: Checkpoint, folder: Path, setup: Setup, place: Place, options: SetupOptions
) -> None:
    if checkpoints.fault(checkpoint, folder) is None:
        return
    options.say(
        f"fetching {checkpoint.name} from {checkpoint.source}: {checkpoints.readable(checkpoint.size)}, "
        f"licence {checkpoint.license}"
    )
    log = place.logs / "setup.txt"
    checkpoints.fetch(checkpoint, folder, Path(setup.python), log, options.progress)


def _parts(card: Card) -> tuple[Repository, Environment]:
    if card.repository is None or card.environment is None:
        raise V2ABenchError(
            f"{card.name} needs no setup: {card.summary} ({card.kind}); v2abench models doctor {card.name}"
        )
    return card.repository, card.environment


def _clone(card: Card, options: SetupOptions, known: Setup | None) -> Path:
    """The user's clone, the one known from an earlier setup, or our own."""
    if options.repository is not None:
        return options.repository.absolute()
    return Path(known.repository) if known else Place(card.name).repository


def _has_environment(known: Setup | None, environment: Environment) -> bool:
    """Whether the known interpreter runs and is the user's, or has the very requirements."""
    if known is None or environments.version_of(Path(known.python)) is None:
        return False
    return known.requirements in {None, requirements_hash(environment)}
