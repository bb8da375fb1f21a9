"""`impacts` or `impacts:SPLIT`: the embedded benchmark, rendered on first use and cached."""

from v2abench.clips import Dataset
from v2abench.datasets.opening import DatasetOptions
from v2abench.home import home


def open_impacts(argument: str, options: DatasetOptions) -> Dataset:
    """Render what is missing of the split (default `test`) and return it."""
    from v2abench.impacts.dataset import impacts_dataset  # noqa: PLC0415 (rendering code only where it is used)

    return impacts_dataset(argument or "test", options.limit, home() / "impacts", progress=options.progress)
