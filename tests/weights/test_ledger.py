"""What is trusted without hashing, what is not, and what goes into a network's fingerprint."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import Site

from v2abench.errors import V2ABenchError
from v2abench.features.extraction import description, fingerprint
from v2abench.networks.aisfx import AiSFX
from v2abench.weights import fetching, ledger, registry
from v2abench.weights.registry import Weights

Register = Callable[..., Weights]


class Net(AiSFX):
    """A network on the checkpoint of these tests."""

    weights = ("net",)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were hashed."""
    calls: list[Path] = []

    def sha256(path: Path) -> str:
        calls.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(registry, "sha256", sha256)
    return calls


def test_a_file_that_did_not_change_is_not_hashed_again(register: Register, hashed: list[Path]) -> None:
    register()
    path = fetching.require("net")
    assert len(hashed) == 1
    assert [registry.state("net") for _ in range(3)] == ["ok"] * 3
    assert len(hashed) == 1
    os.utime(path, ns=(0, 0))
    assert [registry.state("net") for _ in range(3)] == ["ok"] * 3
    assert len(hashed) == 2
    assert registry.state("net", rehash=True) == "ok"
    assert len(hashed) == 3


def test_damage_is_found_by_time_or_size_and_by_rehashing_always(register: Register) -> None:
    register()
    path = fetching.require("net")
    before = path.stat()
    path.write_bytes(b"x" + path.read_bytes()[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (registry.state("net"), registry.state("net", rehash=True)) == ("ok", "damaged")
    os.utime(path)
    assert registry.state("net") == "damaged"
    with pytest.raises(V2ABenchError, match=r"net\.pth is damaged: its SHA-256 .*weights pull net"):
        fetching.require("net")
    assert fetching.fetch("net") == path
    assert registry.state("net", rehash=True) == "ok"


def test_a_registered_hash_wins_over_what_was_recorded_before(register: Register, site: Site) -> None:
    register()
    fetching.require("net")
    register(sha256="0" * 64)
    assert registry.state("net") == "damaged"
    register(md5="0" * 32)
    assert registry.state("net", rehash=True) == "damaged"


def test_the_fingerprint_has_the_recorded_hash(register: Register, site: Site) -> None:
    register()
    sha = hashlib.sha256(site.files["net.pth"].data).hexdigest()
    assert description(Net())["weights"] == {"net": "not-fetched"}
    before = fingerprint(Net())
    path = fetching.require("net")
    assert description(Net())["weights"] == {"net": sha}
    assert fingerprint(Net()) != before
    path.unlink()
    assert description(Net())["weights"] == {"net": sha}


def test_the_fingerprint_has_the_hash_of_a_file_that_was_put_there_by_hand(
    register: Register, site: Site, cache: Path
) -> None:
    register()
    (cache / "weights").mkdir()
    path = cache / "weights/net.pth"
    path.write_bytes(b"too short")
    assert description(Net())["weights"] == {"net": "not-fetched"}
    path.write_bytes(site.files["net.pth"].data)
    sha = hashlib.sha256(site.files["net.pth"].data).hexdigest()
    assert description(Net())["weights"] == {"net": sha}
    assert fetching.require("net", offline=True) == path


def test_a_cache_that_cannot_be_written_is_hashed_once(
    register: Register, site: Site, cache: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    (cache / "weights").mkdir()
    (cache / "weights/net.pth").write_bytes(site.files["net.pth"].data)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert [registry.state("net") for _ in range(3)] == ["ok"] * 3
    assert len(hashed) == 1
    assert [path.name for path in (cache / "weights").iterdir()] == ["net.pth"]


def test_a_damaged_ledger_is_told(register: Register, cache: Path) -> None:
    register()
    fetching.require("net")
    (cache / "weights/ledger.json").write_text('{"files": {"net.pth": 1}}')
    with pytest.raises(V2ABenchError, match=r"ledger\.json cannot be read .*delete it"):
        registry.state("net")


def test_records_of_many_files_stand_side_by_side(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        ledger.record(tmp_path / name, name * 64)
    assert [entry.sha256[0] for name in "ab" if (entry := ledger.find(tmp_path / name))] == ["a", "b"]
