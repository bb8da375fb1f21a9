"""The worker protocol, version 1: one JSON object a line; docs/workers.md is its reference.

What the host says goes to the worker's stdin, what the worker says comes from its
stdout. Fields that a side does not know are left alone, so that versions can grow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

VERSION = 1

Scalar = bool | int | float | str


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Capabilities(_Message):
    """What of a request the worker can honour; the host sends nothing else."""

    prompt: bool = False
    negative_prompt: bool = False
    cot: bool = False
    options: tuple[str, ...] = ()


class Hello(_Message):
    """The worker's first word, before anything heavy is imported."""

    type: Literal["hello"]
    protocol: int
    name: str
    capabilities: Capabilities = Capabilities()


class Ready(_Message):
    """The models are loaded: what the sound will be like. Rates in Hz, lengths in seconds."""

    type: Literal["ready"]
    sample_rate: int = Field(gt=0)
    channels: int = Field(ge=1, le=2)
    device: str | None = None
    max_seconds: float | None = None


class Progress(_Message):
    """How far the work is; it stops no clock, and is told where the time runs out."""

    type: Literal["progress"]
    stage: str
    done: float | None = None
    total: float | None = None

    def __str__(self) -> str:
        of = f" of {self.total:g}" if self.total is not None else ""
        return self.stage if self.done is None else f"{self.stage} {self.done:g}{of}"


class Result(_Message):
    """The sound of one request is written to its output path."""

    type: Literal["result"]
    id: str
    sample_rate: int
    channels: int
    samples: int
    warnings: tuple[str, ...] = ()


class Failure(_Message):
    """A request that failed (`id` set), or the worker as a whole (`id` missing).

    `retry` says that the same request may succeed if it is asked again.
    """

    type: Literal["error"]
    code: str
    message: str
    id: str | None = None
    retry: bool = False


Message = Hello | Ready | Progress | Result | Failure

_ADAPTER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def parse(line: bytes) -> Message | None:
    """Return the message in `line`, or None where it is something else."""
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError:
        return None


@dataclass(frozen=True)
class Order:
    """One request: the clip, what the model shall do with it, and where the sound goes."""

    id: str
    video: Path
    seconds: float
    seed: int
    output: Path
    prompt: str | None = None
    negative_prompt: str | None = None
    cot: str | None = None
    options: Mapping[str, Scalar] = field(default_factory=dict)


def load(device: str, offline: bool) -> dict[str, object]:
    """Return the message that asks for the models."""
    return {"type": "load", "device": device, "offline": offline}


def generate(order: Order, capabilities: Capabilities) -> dict[str, object]:
    """Return the message that asks for one clip's sound, with what the worker can honour."""
    message: dict[str, object] = {
        "type": "generate",
        "id": order.id,
        "video": str(order.video.absolute()),
        "seconds": order.seconds,
        "seed": order.seed,
        "output": str(order.output.absolute()),
        "options": {name: value for name, value in order.options.items() if name in capabilities.options},
    }
    if capabilities.prompt:
        message["prompt"] = order.prompt
    if capabilities.negative_prompt:
        message["negative_prompt"] = order.negative_prompt
    if capabilities.cot:
        message["cot"] = order.cot
    return message


def shutdown() -> dict[str, object]:
    """Return the message that ends the worker."""
    return {"type": "shutdown"}
