"""A model behind a worker or a command, as the harness sees it."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from v2abench.baselines.workers.cards import Card
from v2abench.baselines.workers.commands import CommandRunner
from v2abench.baselines.workers.connection import Connection
from v2abench.baselines.workers.outputs import Announced, accept
from v2abench.baselines.workers.places import launch_of
from v2abench.baselines.workers.protocol import Order, Ready, Result, Scalar
from v2abench.clips import Clip
from v2abench.contracts import Generated, ModelInfo, Request
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.models import ModelContext


class Source(Protocol):
    """What gives the sound of one order, as a file: a worker, or a command a clip."""

    @property
    def ready(self) -> Ready | None:
        """What was announced of the sound, where anything was."""
        ...

    def ask(self, order: Order) -> Result | None:
        """Have the order's output written; raises `ClipFault`. None: nothing was announced of it."""
        ...


@dataclass(frozen=True)
class Texts:
    """What a clip's prompt and chain of thought are."""

    prompts: Mapping[str, str]
    thoughts: Mapping[str, str]
    caption_as_thought: bool = False

    def prompt(self, clip: Clip) -> str | None:
        """The caption of the file that the user gave, else the dataset's prompt."""
        return self.prompts.get(clip.id) or clip.prompt

    def thought(self, clip: Clip) -> str | None:
        """The chain of thought of the file, else the caption where the user said so."""
        return self.thoughts.get(clip.id) or (self.prompt(clip) if self.caption_as_thought else None)


@dataclass(frozen=True)
class OutsideModel:
    """A model in another process. It is started when the first sound is asked for."""

    card: Card
    info: ModelInfo
    recipe: Mapping[str, Scalar]
    context: ModelContext
    texts: Texts
    options: Mapping[str, Scalar]
    open_source: Callable[[], AbstractContextManager[Source]]

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        """Yield one answer a request; the process ends with the iterator, however that ends."""
        if not requests:
            return
        if self.context.extractor is None:
            raise V2ABenchError(
                f"--model {self.card.name} makes its sound when asked; check looks at files: folder:DIR"
            )
        with tempfile.TemporaryDirectory(prefix="v2abench-") as scratch, self.open_source() as source:
            for number, request in enumerate(requests):
                yield self._answer(source, request, Path(scratch) / f"{number:06d}.wav")

    def _answer(self, source: Source, request: Request, output: Path) -> Generated:
        try:
            result = source.ask(self._order(source, request, output))
            notes = result.warnings if result else ()
            audio, adjusted = accept(output, request.seconds, _announced(source.ready, result))
        except ClipFault as fault:
            return Generated(request.clip.id, fault=fault)
        finally:
            output.unlink(missing_ok=True)
        return Generated(request.clip.id, audio=audio, notes=(*notes, *adjusted))

    def _order(self, source: Source, request: Request, output: Path) -> Order:
        clip, card = request.clip, self.card
        if not clip.video.is_file():
            raise ClipFault("missing", f"{clip.video.name} does not exist")
        prompt = None if card.text == "none" else self.texts.prompt(clip)
        if card.text == "required" and not (prompt or "").strip():
            raise ClipFault("bad-request", "the model needs a prompt, and the clip has none")
        longest = card.max_seconds or (source.ready.max_seconds if source.ready else None)
        if longest is not None and request.seconds > longest:
            raise ClipFault("bad-request", f"{request.seconds:g} s are wanted, the model gives {longest:g} s")
        return Order(
            id=clip.id,
            video=clip.video,
            seconds=request.seconds,
            seed=request.seed,
            output=output,
            prompt=prompt,
            negative_prompt=self.context.options.negative_prompt,
            cot=self.texts.thought(clip) if card.cot else None,
            options=self.options,
        )


def _announced(ready: Ready | None, result: Result | None) -> Announced:
    """What the file must be: as the result says, at the rate that was announced once for all."""
    if ready is not None and result is not None and result.sample_rate != ready.sample_rate:
        raise ClipFault("mismatch", f"sample rate {result.sample_rate}, announced was {ready.sample_rate}")
    if result is None:
        return Announced(ready.sample_rate, ready.channels) if ready else Announced()
    return Announced(result.sample_rate, result.channels, result.samples)


def open_source(card: Card, context: ModelContext) -> AbstractContextManager[Source]:
    """Return the worker or the command of a card; raises `V2ABenchError` where it is not set up."""
    launch = launch_of(card)
    if card.kind == "command":
        return CommandRunner(launch, context.device, card.timeouts.clip)
    return Connection(launch, context.device, offline=context.offline, timeouts=card.timeouts)
