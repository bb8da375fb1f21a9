"""`v2abench weights` on a checkpoint by URL."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from serving import Site

from v2abench.cli import consoles, weights
from v2abench.errors import V2ABenchError
from v2abench.weights import registry
from v2abench.weights.registry import Weights

Register = Callable[..., Weights]


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consoles.results, "_width", 200)


def test_list_shows_sizes_licences_and_users(capsys: pytest.CaptureFixture[str]) -> None:
    weights.list_weights()
    shown = capsys.readouterr().out
    for entry in registry.registry().values():
        row = next(line for line in shown.splitlines() if re.match(rf"│ {entry.name} ", line))
        assert entry.license.split()[0] in row
        assert entry.used_by[0] in row
    assert "not for commercial use" in shown
    assert "9.90 GB in all, 0.0 MB of them in the cache" in shown


def test_list_as_json(register: Register, capsys: pytest.CaptureFixture[str]) -> None:
    entry = register(commercial_use=False)
    weights.list_weights(as_json=True)
    assert json.loads(capsys.readouterr().out) == [{**entry.model_dump(mode="json"), "state": "absent"}]


def test_pull_names_the_licence_on_stderr_and_verify_hashes(
    register: Register, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    register(license="CC BY-NC 4.0", commercial_use=False)
    weights.pull(everything=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "CC BY-NC 4.0, NOT FOR COMMERCIAL USE" in shown.err
    assert f"net: {cache / 'weights/net.pth'}" in shown.err
    weights.verify()
    assert capsys.readouterr() == ("net: ok\n", "")
    register(sha256_unconfirmed="0" * 64)
    weights.verify()
    assert f"third parties say {'0' * 64}" in capsys.readouterr().err
    (cache / "weights/net.pth").write_bytes(b"other")
    with pytest.raises(typer.Exit):
        weights.verify()
    assert capsys.readouterr().out == "net: damaged\n"


def test_pull_goes_on_after_one_that_fails(
    register: Register, site: Site, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    good = register()
    gone = good.model_copy(
        update={"name": "gone", "file": "gone.pth", "source": registry.UrlSource(url=site.url("gone.pth"))}
    )
    monkeypatch.setattr(registry, "registry", lambda: {"gone": gone, "net": good})
    with pytest.raises(V2ABenchError, match=r"weights 'gone' could not be fetched .*404") as error:
        weights.pull(everything=True)
    assert "'net'" not in str(error.value)
    assert registry.state("net") == "ok"


def test_pull_of_a_file_goes_with_one_name(register: Register, site: Site, tmp_path: Path) -> None:
    entry = register()
    file = tmp_path / "net"
    file.write_bytes(site.files["net.pth"].data)
    weights.pull(["net"], file=file)
    assert (registry.state("net"), site.requests) == ("ok", [])
    with pytest.raises(V2ABenchError, match="--file goes with one name"):
        weights.pull([entry.name, entry.name], file=file)


def test_pull_of_nothing_asks_for_names() -> None:
    with pytest.raises(V2ABenchError, match="name the checkpoints to fetch"):
        weights.pull()
