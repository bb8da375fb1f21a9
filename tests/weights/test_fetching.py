"""Checkpoints by URL: checked, mirrored, pinned, licensed, and clear when they cannot be had."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from serving import Served, Site

from v2abench.errors import V2ABenchError
from v2abench.progress import Advance
from v2abench.weights import fetching, ledger, registry
from v2abench.weights.registry import Weights, WeightsUnavailableError

Register = Callable[..., Weights]
OTHER = "0" * 64


@pytest.fixture
def sha(site: Site) -> str:
    return hashlib.sha256(site.files["net.pth"].data).hexdigest()


@pytest.fixture
def said() -> list[str]:
    return []


def leftovers(cache: Path) -> set[str]:
    """What lies in the cache beside the checkpoint, the ledger and the locks."""
    names = {path.name for path in (cache / "weights").iterdir()}
    return {name for name in names if not name.endswith(".lock")} - {"net.pth", "ledger.json"}


def test_fetched_on_first_use_and_not_again(
    register: Register, site: Site, sha: str, cache: Path, said: list[str]
) -> None:
    register(sha256=sha)
    stages: list[tuple[str, int]] = []
    steps: list[int] = []

    @contextmanager
    def progress(stage: str, total: int) -> Iterator[Advance]:
        stages.append((stage, total))
        yield steps.append

    assert registry.state("net") == "absent"
    path = fetching.require("net", progress=progress, notify=said.append)
    assert path.read_bytes() == site.files["net.pth"].data
    assert (stages, sum(steps)) == ([("weights net", 3_000_000)], 3_000_000)
    assert said == [f"fetching net (3.0 MB; MIT) from {site.url('net.pth')}"]
    assert fetching.require("net", offline=True, progress=progress, notify=said.append) == path
    assert (registry.state("net"), len(site.requests), len(said)) == ("ok", 1, 1)
    assert leftovers(cache) == set()


def test_a_licence_is_named_before_the_first_byte_also_to_those_who_gave_no_ear(
    register: Register, site: Site, sha: str, caplog: pytest.LogCaptureFixture
) -> None:
    register(sha256=sha, license="CC BY-NC 4.0", commercial_use=False)
    heard: list[tuple[str, int]] = []
    fetching.fetch("net", notify=lambda message: heard.append((message, len(site.requests))))
    ((message, requests),) = heard
    assert "CC BY-NC 4.0, NOT FOR COMMERCIAL USE" in message
    assert requests == 0
    registry.local_path("net").unlink()
    fetching.require("net")
    assert "NOT FOR COMMERCIAL USE" in caplog.text


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_wrong_hash_is_an_error_and_nothing_is_kept(register: Register, cache: Path, kind: str) -> None:
    register(**{kind: OTHER[: {"sha256": 64, "md5": 32}[kind]]})
    with pytest.raises(
        WeightsUnavailableError,
        match=rf"from http://.*/net\.pth: its {kind.upper().replace('SHA', 'SHA-')} is .*, registered is 0+; "
        r"it was not kept; fetch net\.pth elsewhere and run `v2abench weights pull net --file FILE`",
    ):
        fetching.require("net")
    assert registry.state("net") == "absent"
    assert leftovers(cache) == set()


def test_a_published_md5_is_enough(register: Register, site: Site, sha: str) -> None:
    register(md5=hashlib.md5(site.files["net.pth"].data).hexdigest())
    fetching.require("net")
    assert registry.identity("net") == sha


def test_damage_in_what_an_earlier_run_left_costs_one_more_download(
    register: Register, site: Site, sha: str
) -> None:
    register(sha256=sha)
    site.files["net.pth"].cuts = [1_000_000, 0, 0, 0]
    with pytest.raises(WeightsUnavailableError, match="what has come is kept"):
        fetching.fetch("net")
    partial = registry.local_path("net").with_name("net.pth.partial")
    partial.write_bytes(b"x" + partial.read_bytes()[1:])
    site.requests.clear()
    assert fetching.fetch("net").read_bytes() == site.files["net.pth"].data
    assert site.ranges == ["bytes=1000000-", None]


def test_missing_on_the_server_and_offline_say_what_to_do(register: Register, site: Site, sha: str) -> None:
    register(sha256=sha)
    with pytest.raises(WeightsUnavailableError, match=r"--offline forbids.*weights pull net"):
        fetching.require("net", offline=True)
    assert site.requests == []
    site.files.clear()
    with pytest.raises(WeightsUnavailableError, match=r"net\.pth: the server answered 404 .*--file FILE"):
        fetching.require("net")


def test_the_mirror_comes_first_and_the_origin_after_it(
    register: Register, site: Site, sha: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(sha256=sha, file="net=1.pth")
    monkeypatch.setenv("V2ABENCH_MIRROR", f"{site.address}/mirror/")
    with_mirror = ["/mirror/net=1.pth"]
    site.files["mirror/net=1.pth"] = Served(site.files["net.pth"].data)
    fetching.require("net", notify=said.append)
    assert [path for path, _ in site.requests] == with_mirror
    for broken in (None, Served(b"other" * 1_000)):
        registry.local_path("net").unlink()
        site.requests.clear()
        said.clear()
        site.files.pop("mirror/net=1.pth", None)
        site.files |= {"mirror/net=1.pth": broken} if broken else {}
        fetching.require("net", notify=said.append)
        assert [path for path, _ in site.requests] == [*with_mirror, "/net.pth"]
        assert f"going on to {site.url('net.pth')}" in said[1]
    assert registry.state("net") == "ok"


def test_a_mirror_that_is_no_address_is_told(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    register()
    monkeypatch.setenv("V2ABENCH_MIRROR", "mirror.example")
    with pytest.raises(V2ABenchError, match=r"V2ABENCH_MIRROR='mirror\.example' is not a web address"):
        fetching.require("net")


def test_without_a_registered_hash_the_first_file_is_binding(
    register: Register, site: Site, sha: str, cache: Path
) -> None:
    register()
    path = fetching.require("net")
    assert ledger.find(path) == ledger.Entry.of(path, sha)
    path.unlink()
    site.files["net.pth"] = Served(b"y" * 3_000_000)
    wanted = rf"but {sha} was recorded when it was first used; .*delete the entry net\.pth in .*ledger\.json"
    with pytest.raises(WeightsUnavailableError, match=wanted):
        fetching.require("net")
    assert registry.state("net") == "absent"
    (cache / "weights/ledger.json").unlink()
    assert fetching.require("net").read_bytes() == b"y" * 3_000_000


def test_without_a_registered_hash_the_size_must_be_about_right(register: Register, site: Site) -> None:
    register(size=4_000_000)
    with pytest.raises(WeightsUnavailableError, match="3000000 bytes, where about 4000000 are expected"):
        fetching.require("net")
    site.files["net.pth"].length = False
    with pytest.raises(WeightsUnavailableError, match="3000000 bytes, where about 4000000 are expected"):
        fetching.require("net")
    register(size=3_010_000)
    fetching.require("net")


def test_an_unconfirmed_hash_warns_where_it_differs(register: Register, sha: str, said: list[str]) -> None:
    register(sha256_unconfirmed=sha)
    fetching.require("net", notify=said.append)
    assert len(said) == 1
    registry.local_path("net").unlink()
    register(sha256_unconfirmed=OTHER)
    fetching.require("net", notify=said.append)
    assert f"third parties say {OTHER}; it is used all the same" in said[-1]


def test_a_file_at_hand_is_checked_before_it_is_used(
    register: Register, site: Site, sha: str, cache: Path, tmp_path: Path
) -> None:
    register(sha256=sha)
    file = tmp_path / "download"
    file.write_bytes(b"other")
    with pytest.raises(WeightsUnavailableError, match=r"download is not the checkpoint 'net': its SHA-256"):
        fetching.install("net", file)
    assert registry.state("net") == "absent"
    assert leftovers(cache) == set()
    file.write_bytes(site.files["net.pth"].data)
    assert fetching.install("net", file).read_bytes() == file.read_bytes()
    assert (registry.state("net"), site.requests) == ("ok", [])
