"""What a protocol file says, validated when it is read.

A protocol fixes the window of a clip, the parameters of the networks and the
metrics with their options. Its `version` goes up whenever a number may change.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from v2abench import registry
from v2abench.clips import Clip
from v2abench.contracts import Metric, Network, PairNetwork
from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.networks.precision import MixedPrecision, Precision
from v2abench.yamls import parse_yaml, read_text

Scalar = bool | int | float | str
TextSource = Literal["prompt", "label", "prompt-or-label"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Window(_Strict):
    """The part of a clip that is judged: its first `seconds`.

    Sound shorter than `minimum` seconds fails the clip; sound that ends more
    than `tolerance` seconds before the window or its video does degrades it.
    """

    seconds: float = Field(gt=0)
    minimum: float = Field(default=0.5, gt=0)
    tolerance: float = Field(default=0.1, ge=0)

    @property
    def key(self) -> str:
        """How the feature store names this window."""
        return f"0-{self.seconds:g}s"


class MetricEntry(_Strict):
    """One metric of a protocol: its registered name, the name in tables, its options.

    `about` says in a few words what the column means; boards show it below the table.
    """

    metric: str
    name: str
    about: str = ""
    options: dict[str, Scalar] = {}


class Protocol(_Strict):
    """A frozen set of choices.

    `text` says which text of a clip its sound is held against. `precision` is that of the
    networks with weights; None is float32.
    """

    name: str = Field(pattern=r"^[\w.-]+$")
    version: int = Field(ge=1)
    summary: str
    window: Window
    text: TextSource | None = None
    precision: Precision | None = None
    networks: dict[str, dict[str, Scalar]] = {}
    metrics: tuple[MetricEntry, ...] = Field(min_length=1)

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits over everything the protocol fixes."""
        words: Any = {"summary": True, "metrics": {"__all__": {"about"}}}
        text = json.dumps(self.model_dump(exclude=words, exclude_none=True), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def text_of(self, clip: Clip) -> str | None:
        """Return the clip's text under this protocol, None where it has none."""
        sources = {"prompt": clip.prompt, "label": clip.label, "prompt-or-label": clip.prompt or clip.label}
        return sources[self.text] if self.text else None

    def build_metrics(self) -> list[Metric]:
        """Return the metrics with their options; raises `V2ABenchError` for a wrong one."""
        return [self._build("metrics", e.metric, {"name": e.name, **e.options}) for e in self.metrics]

    def build_network(self, name: str) -> Network | PairNetwork:
        """Return the network `name` with this protocol's parameters."""
        network = self._build("networks", name, self.networks.get(name, {}))
        if self.precision and hasattr(network, "modality") and network.weights:
            return MixedPrecision(network, self.precision)
        return cast(Network | PairNetwork, network)

    def _build(self, group: registry.Group, name: str, options: Mapping[str, Scalar]) -> Any:
        try:
            return registry.load(group, name)(**options)
        except (TypeError, ValueError) as error:
            raise V2ABenchError(f"protocol {self.name!r}, {group[:-1]} {name!r}: {error}") from error


def protocol_names() -> list[str]:
    """Return the names of the protocols in the package, sorted."""
    return sorted(
        f.name.removesuffix(".yaml") for f in files(__package__).iterdir() if f.name.endswith(".yaml")
    )


def load_protocol(spec: str) -> Protocol:
    """Return the protocol of that name, or of that YAML file.

    Raises `UnknownNameError`, or `V2ABenchError` naming file, field and cause.
    """
    if spec.endswith((".yaml", ".yml")):
        path = Path(spec)
        if not path.is_file():
            raise V2ABenchError(
                f"--protocol {spec}: no such file; known names are {', '.join(protocol_names())}"
            )
        return parse_protocol(read_text(path, spec), spec)
    if spec not in protocol_names():
        raise UnknownNameError("protocol", spec, protocol_names())
    return parse_protocol(
        files(__package__).joinpath(f"{spec}.yaml").read_text(encoding="utf-8"), f"{spec}.yaml"
    )


def parse_protocol(text: str, source: str) -> Protocol:
    """Validate the YAML `text`; `source` names it in errors."""
    try:
        protocol = Protocol.model_validate(parse_yaml(text, source))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise V2ABenchError(f"{source}, {place}: {first['msg']}") from error
    for network in protocol.networks:
        if network not in registry.names("networks"):
            raise UnknownNameError("network", network, registry.names("networks"))
    names = [entry.name for entry in protocol.metrics]
    if twice := {name for name in names if names.count(name) > 1}:
        raise V2ABenchError(
            f"{source}, metrics: {', '.join(sorted(twice))} named twice; give each its own name"
        )
    return protocol
