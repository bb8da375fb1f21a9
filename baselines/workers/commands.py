"""A model as a command line that is run once a clip; no shell is involved."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from types import TracebackType

from v2abench.baselines.workers.cards import PLACEHOLDERS
from v2abench.baselines.workers.process import Launch, kill_group, last_words, spawn
from v2abench.baselines.workers.protocol import Order, Ready
from v2abench.errors import ClipFault

_PLACEHOLDER = re.compile("|".join(rf"\{{{name}\}}" for name in PLACEHOLDERS))


def fill(template: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Put `values` into every word of a command; a value is never split into words or filled again."""
    return [_PLACEHOLDER.sub(lambda found: values[found[0][1:-1]], word) for word in template]


class CommandRunner:
    """Runs the command of a card; a context like `Connection`, with nothing to start or stop."""

    ready: Ready | None = None

    def __init__(self, launch: Launch, device: str, seconds: float) -> None:
        self.launch, self.device, self.seconds = launch, device, seconds

    def __enter__(self) -> "CommandRunner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def ask(self, order: Order) -> None:
        """Run the command for one clip; raises `ClipFault` (`timeout`, `failed`)."""
        command = fill(self.launch.command, self._values(order))
        launch = Launch(
            self.launch.name, command, self.launch.folder, self.launch.logs, self.launch.environment
        )
        process, log = spawn(launch, stdin=subprocess.DEVNULL)
        try:
            code = process.wait(self.seconds)
        except subprocess.TimeoutExpired as error:
            raise ClipFault(
                "timeout", f"no end within {self.seconds:g} s; {last_words(log)}; logs in {log.parent}"
            ) from error
        finally:
            kill_group(process)
        if code != 0:
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            raise ClipFault(
                "failed", f"the command ended with {how}; {last_words(log)}; logs in {log.parent}"
            )

    def _values(self, order: Order) -> dict[str, str]:
        return {
            "video": str(order.video.absolute()),
            "prompt": order.prompt or "",
            "seed": str(order.seed),
            "seconds": f"{order.seconds:g}",
            "output": str(order.output),
            "device": self.device,
        }
