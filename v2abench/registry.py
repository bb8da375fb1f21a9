"""The registries of metrics, networks, models and datasets.

Built-in ones and plugins register the same way, as entry points of the groups
`v2abench.metrics`, `v2abench.networks`, `v2abench.models`, `v2abench.datasets`;
nothing is imported before it is asked for by name.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from v2abench.errors import UnknownNameError, V2ABenchError

Group = Literal["metrics", "networks", "models", "datasets"]


@cache
def _entries(group: Group) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"v2abench.{group}")}


def names(group: Group) -> list[str]:
    """Return the registered names of `group`, sorted."""
    return sorted(_entries(group))


def load(group: Group, name: str) -> Any:
    """Import and return what is registered as `name`.

    Raises `UnknownNameError`, with the nearest name, where there is none, and
    `V2ABenchError` where a plugin cannot be imported.
    """
    entry = _entries(group).get(name)
    if entry is None:
        raise UnknownNameError(group.removesuffix("s"), name, _entries(group))
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise V2ABenchError(
            f"{group.removesuffix('s')} {name!r} ({entry.value}) cannot be imported: {error}; "
            "install what it needs, or uninstall the plugin"
        ) from error
