"""A web site and a registered checkpoint of our own."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from serving import Served, Site, serve

from v2abench.weights import downloading, registry
from v2abench.weights.registry import UrlSource, Weights

DATA = random.Random(0).randbytes(3_000_000)


@pytest.fixture(autouse=True)
def _no_pauses_proxies_and_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "PAUSES_SECONDS", (0, 0, 0))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("V2ABENCH_MIRROR", raising=False)


@pytest.fixture
def site() -> Iterator[Site]:
    """A site with one file, `net.pth`."""
    with serve() as made:
        made.files["net.pth"] = Served(DATA)
        yield made


@pytest.fixture
def register(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Weights]:
    """Register `net`, served at `site` as `net.pth`, with the given fields, as the only checkpoint."""

    def put(**fields: Any) -> Weights:
        described: dict[str, Any] = {
            "title": "a net",
            "file": "net.pth",
            "size": len(DATA),
            "license": "MIT",
            "attribution": "",
            "used_by": ("net",),
            "source": UrlSource(url=site.url("net.pth")),
        }
        weights = Weights(name="net", **(described | fields))
        monkeypatch.setattr(registry, "registry", lambda: {"net": weights})
        return weights

    return put
