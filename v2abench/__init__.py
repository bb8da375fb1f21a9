"""v2abench: generate with, evaluate, align and compare video-to-audio models.

The public Python API is `evaluate`, `open_dataset`, `load_protocol`, `read_report`
and the types they return; nothing heavy is imported before it is used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from v2abench.api import Options, evaluate, evaluate_models
    from v2abench.clips import Clip, Dataset
    from v2abench.datasets.opening import DatasetOptions, open_dataset
    from v2abench.errors import V2ABenchError
    from v2abench.protocols.schema import Protocol, load_protocol
    from v2abench.runs.evaluation import Run
    from v2abench.runs.report import Report, read_report

__version__ = version("v2abench")

_HOMES = {
    "Options": "v2abench.api",
    "evaluate": "v2abench.api",
    "evaluate_models": "v2abench.api",
    "Clip": "v2abench.clips",
    "Dataset": "v2abench.clips",
    "DatasetOptions": "v2abench.datasets.opening",
    "open_dataset": "v2abench.datasets.opening",
    "V2ABenchError": "v2abench.errors",
    "Protocol": "v2abench.protocols.schema",
    "load_protocol": "v2abench.protocols.schema",
    "Run": "v2abench.runs.evaluation",
    "Report": "v2abench.runs.report",
    "read_report": "v2abench.runs.report",
}

__all__ = [
    "Clip",
    "Dataset",
    "DatasetOptions",
    "Options",
    "Protocol",
    "Report",
    "Run",
    "V2ABenchError",
    "__version__",
    "evaluate",
    "evaluate_models",
    "load_protocol",
    "open_dataset",
    "read_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
