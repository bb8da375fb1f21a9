"""The signature behind a number: protocol, networks with weights, data and version in one line.

Two numbers may be compared where their signatures are equal. The short form goes
into tables, the long form says every parameter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from v2abench import __version__
from v2abench.clips import Dataset
from v2abench.contracts import Bootstrap, Metric
from v2abench.features.extraction import description, fingerprint
from v2abench.features.plan import AnyNetwork
from v2abench.media.resampling import RESAMPLER
from v2abench.protocols.schema import Protocol
from v2abench.weights.deterministic import is_deterministic


def short(protocol: Protocol, networks: Sequence[AnyNetwork], dataset: Dataset, data: str) -> str:
    """Return `light:1@d4aa07da|win:0-8s|rs:sinc_interp_hann-6-0.99|net:...|data:...|v:0.1.0`."""
    nets = "+".join(f"{n.name}@{fingerprint(n)[:8]}" for n in networks) or "none"
    return "|".join(
        (
            f"{protocol.name}:{protocol.version}@{protocol.fingerprint}",
            f"win:{protocol.window.key}",
            f"rs:{RESAMPLER}",
            *((f"text:{protocol.text}",) if protocol.text else ()),
            *((f"precision:{protocol.precision}",) if protocol.precision else ()),
            f"net:{nets}",
            f"data:{dataset.name}[{len(dataset.clips)}]@{data[:8]}",
            *(("weights:deterministic",) if is_deterministic() else ()),
            f"v:{__version__}",
        )
    )


def of_metric(metric: Metric, run: str) -> str:
    """Return the short signature of one number: the metric, then that of its run."""
    options = ",".join(f"{key}={value}" for key, value in sorted(metric.parameters.items()))
    return f"{metric.name}[{options}]|{run}" if options else f"{metric.name}|{run}"


def long_form(metric: Metric, run: str, networks: Sequence[AnyNetwork], bootstrap: Bootstrap | None) -> str:
    """Return the signature with the parameters and weights of the metric's networks, and the intervals'."""
    needed = {name.partition(".")[0] for names in metric.needs.values() for name in names}
    parts = [of_metric(metric, run)]
    parts += [f"{n.name}={_flat(description(n))}" for n in networks if n.name in needed]
    parts.append(f"intervals={_flat(asdict(bootstrap)) if bootstrap else 'none'}")
    return "|".join(parts)


def _flat(values: Mapping[str, object]) -> str:
    inner = (f"{k}:{_flat(v) if isinstance(v, Mapping) else v}" for k, v in sorted(values.items()))
    return "{" + ",".join(inner) + "}"
