"""Putting stand-ins of upstream modules where a worker script imports them."""

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Modules = Mapping[str, Mapping[str, Any]]


def install(modules: Modules, patch: pytest.MonkeyPatch) -> None:
    """Make the modules importable, with their parents, in place of whatever has their top-level names."""
    tops = {name.partition(".")[0] for name in modules}
    for name in [name for name in sys.modules if name.partition(".")[0] in tops]:
        patch.delitem(sys.modules, name)
    for name, members in modules.items():
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            dotted = ".".join(parts[:depth])
            if dotted not in sys.modules:
                module = ModuleType(dotted)
                module.__path__ = []
                patch.setitem(sys.modules, dotted, module)
                if depth > 1:
                    setattr(sys.modules[".".join(parts[: depth - 1])], parts[depth - 1], module)
        for member, value in members.items():
            setattr(sys.modules[name], member, value)


def import_script(name: str, scripts: Path, patch: pytest.MonkeyPatch) -> ModuleType:
    """Import a worker script, which is never in a package, and forget it afterwards."""
    patch.syspath_prepend(str(scripts))
    for module in (name, "v2a_worker"):
        patch.delitem(sys.modules, module, raising=False)
    found = importlib.import_module(name)
    for module in (name, "v2a_worker"):
        patch.setitem(sys.modules, module, sys.modules[module])
    return found


class Calls:
    """What the stand-ins were called with, by name."""

    def __init__(self) -> None:
        self.made: dict[str, list[Any]] = {}

    def note(self, name: str, value: Any) -> None:
        """Remember one call."""
        self.made.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> list[Any]:
        return self.made.get(name, [])


MakeOrder = Callable[..., Any]
