"""A network whose process dies once, while it works, and then never again."""

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from level_network import LevelNetwork

from v2abench.contracts import Array, Forward, Prepared


@dataclass(frozen=True)
class Dying(LevelNetwork):
    """The level of a sound; `marks` gets a file for each process that was killed, `deaths` at most."""

    marks: str
    deaths: int = 1
    memory: int = 1

    name: ClassVar[str] = "dying"

    def load(self, device: str) -> Forward:
        seen: list[int] = []

        def forward(batch: Sequence[Prepared]) -> list[Mapping[str, Array]]:
            seen.extend(range(len(batch)))
            died = len(list(Path(self.marks).iterdir()))
            if len(seen) > 1 and died < self.deaths:
                (Path(self.marks) / str(died)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return [{"level": np.array([clip.inputs["level"]])} for clip in batch]

        return forward
