"""Where an isolated model lives below `V2ABENCH_HOME`, and what setup wrote down about it."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

from v2abench.baselines.workers.cards import Card
from v2abench.baselines.workers.process import Launch
from v2abench.errors import V2ABenchError
from v2abench.files import write_text
from v2abench.home import home

_ISOLATED: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "PYTHONNOUSERSITE": "1",
    "PYTHONPATH": "",
    "PYTHONUNBUFFERED": "1",
}
"""Setup fetches; a worker never does, and sees no packages but its own."""


@dataclass(frozen=True)
class Place:
    """The folder of one model."""

    name: str

    @property
    def folder(self) -> Path:
        """All that belongs to the model."""
        return home() / "models" / self.name

    @property
    def repository(self) -> Path:
        """The clone that setup makes."""
        return self.folder / "repository"

    @property
    def environment(self) -> Path:
        """The virtual environment that setup makes."""
        return self.folder / "environment"

    @property
    def logs(self) -> Path:
        """What workers wrote to stderr, one file a start."""
        return self.folder / "logs"

    @property
    def record(self) -> Path:
        """What setup wrote down."""
        return self.folder / "setup.json"


@dataclass(frozen=True)
class Setup:
    """Which repository and which interpreter serve a model; `requirements` is the hash of what
    was installed, None in an environment of the user's.
    """

    repository: str
    python: str
    requirements: str | None = None

    def working_folder(self, card: Card) -> Path:
        """Where the worker runs."""
        return Path(self.repository) / (card.repository.folder if card.repository else ".")


def read_setup(name: str) -> Setup | None:
    """Return what setup wrote down, or None where it has not ended yet."""
    try:
        return Setup(**json.loads(Place(name).record.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise V2ABenchError(
            f"{Place(name).record} is damaged ({error}); remove it and run: v2abench models setup {name}"
        ) from error


def write_setup(name: str, setup: Setup) -> None:
    """Write down which repository and interpreter serve a model."""
    write_text(Place(name).record, json.dumps(asdict(setup), indent=2) + "\n")


def scripts_folder() -> Path:
    """Where the worker scripts are; each runs in its model's environment and imports nothing of ours."""
    return Path(str(files("v2abench.baselines").joinpath("scripts")))


def launch_of(card: Card) -> Launch:
    """Return how the model's worker is started; raises `V2ABenchError` where it is not set up."""
    place = Place(card.name)
    if card.kind in {"worker", "command"}:
        return Launch(card.name, card.command, Path(card.folder or "."), place.logs, card.variables)
    setup = read_setup(card.name)
    if setup is None or card.script is None:
        raise V2ABenchError(
            f"--model {card.name} is not set up here; see what it needs with: "
            f"v2abench models setup {card.name} --dry-run"
        )
    folder = setup.working_folder(card)
    if not folder.is_dir() or not os.access(setup.python, os.X_OK):
        raise V2ABenchError(
            f"--model {card.name}: {folder if not folder.is_dir() else setup.python} is gone; "
            f"run: v2abench models setup {card.name}"
        )
    command = (setup.python, str(scripts_folder() / card.script))
    return Launch(card.name, command, folder, place.logs, {**_ISOLATED, **card.variables})
