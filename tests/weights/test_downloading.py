"""A download ends whole or goes on later, whatever server and connection do."""

import errno
import shutil
import threading
from pathlib import Path

import pytest
from serving import Served, Site

from v2abench.errors import V2ABenchError
from v2abench.weights import downloading
from v2abench.weights.downloading import Download, DownloadError, bring

SIZE = 3_000_000


@pytest.fixture
def download(site: Site, tmp_path: Path) -> Download:
    return Download(site.url("net.pth"), tmp_path / "net.pth.partial")


def run(download: Download) -> int:
    """Bring it, and return the bytes that the progress was told of."""
    steps: list[int] = []
    bring(download, steps.append)
    assert all(step > 0 for step in steps)
    return sum(steps)


def interrupt(download: Download, site: Site, cut: int = 1_000_000) -> None:
    """Leave the first `cut` bytes of a download, as a run does that gives up."""
    site.files["net.pth"].cuts = [cut, 0, 0, 0]
    with pytest.raises(DownloadError, match=f"cut after {cut} of {SIZE} bytes; what has come is kept"):
        run(download)
    assert download.partial.stat().st_size == cut
    site.requests.clear()


def test_it_comes_whole_and_progress_counts_every_byte(download: Download, site: Site) -> None:
    assert run(download) == SIZE
    assert download.partial.read_bytes() == site.files["net.pth"].data


def test_a_cut_connection_is_taken_up_in_the_same_call(download: Download, site: Site) -> None:
    site.files["net.pth"].cuts = [1_000_000, 500_000]
    assert run(download) == SIZE
    assert download.partial.read_bytes() == site.files["net.pth"].data
    assert site.ranges == [None, "bytes=1000000-", "bytes=1500000-"]


def test_every_new_ground_gives_new_tries(download: Download, site: Site) -> None:
    site.files["net.pth"].cuts = [100_000] * 20
    assert run(download) == SIZE
    assert len(site.requests) == 21


def test_the_next_call_goes_on_and_progress_begins_there(download: Download, site: Site) -> None:
    interrupt(download, site)
    assert run(download) == SIZE
    assert download.partial.read_bytes() == site.files["net.pth"].data
    assert site.ranges == ["bytes=1000000-"]


@pytest.mark.parametrize(
    "changed",
    [
        Served(b"new" * 1_000_000, etag='"two"'),
        Served(b"new" * 1_000_000, etag=None, last_modified="Tue, 02 Jan 2024 00:00:00 GMT"),
        Served(b"newer" * 1_000_000, etag=None, last_modified=None),
        Served(b"short", etag='"two"'),
    ],
    ids=["etag", "last-modified", "size", "shorter than what came"],
)
def test_a_file_that_changed_meanwhile_starts_again(download: Download, site: Site, changed: Served) -> None:
    old = site.files["net.pth"]
    old.etag, old.last_modified = changed.etag and old.etag, changed.last_modified and old.last_modified
    interrupt(download, site)
    site.files["net.pth"] = changed
    run(download)
    assert download.partial.read_bytes() == changed.data
    assert site.ranges == ["bytes=1000000-", None]


def test_a_server_without_ranges_starts_again(download: Download, site: Site) -> None:
    site.files["net.pth"].ranges = False
    site.files["net.pth"].cuts = [1_000_000, 400_000]
    assert run(download) == SIZE
    assert download.partial.read_bytes() == site.files["net.pth"].data


def test_a_server_that_names_no_size_is_never_resumed(download: Download, site: Site) -> None:
    site.files["net.pth"].length = False
    site.files["net.pth"].cuts = [1_000_000]
    run(download)
    assert download.partial.stat().st_size == 1_000_000  # that it was cut, only the check can tell
    run(download)
    assert download.partial.read_bytes() == site.files["net.pth"].data
    assert site.ranges == [None, None]


def test_another_address_does_not_go_on_with_what_came_from_the_first(download: Download, site: Site) -> None:
    site.files["copy.pth"] = Served(b"x" * SIZE)
    copy = Download(site.url("copy.pth"), download.partial)
    interrupt(download, site)
    run(copy)
    assert copy.partial.read_bytes() == b"x" * SIZE
    run(download)
    assert download.partial.read_bytes() == site.files["net.pth"].data
    assert site.ranges == [None, None]


def test_a_partial_file_without_its_record_is_not_trusted(download: Download, site: Site) -> None:
    interrupt(download, site)
    download.record.write_text("{")
    run(download)
    assert download.partial.read_bytes() == site.files["net.pth"].data


def test_a_whole_partial_file_needs_no_request(download: Download, site: Site) -> None:
    run(download)
    site.requests.clear()
    assert run(download) == SIZE
    assert site.requests == []


def test_what_passes_is_tried_again_and_what_stays_is_not(download: Download, site: Site) -> None:
    site.files["net.pth"].statuses = [503, 429]
    assert run(download) == SIZE
    download.discard()
    site.requests.clear()
    site.files["net.pth"].statuses = [403, 403]
    with pytest.raises(DownloadError, match="the server answered 403 Forbidden"):
        run(download)
    assert len(site.requests) == 1
    site.files["net.pth"].statuses = [503] * 9
    with pytest.raises(DownloadError, match="503 Service Unavailable"):
        run(download)


def test_another_file_in_its_place_is_refused_and_what_came_stays(download: Download, site: Site) -> None:
    """A portal that answers every address with its own page must not cost two gigabytes."""
    interrupt(download, site)
    site.files["net.pth"] = Served(b"<html>log in</html>", ranges=False)
    picky = Download(download.url, download.partial, lambda size: "too small" if size < 100 else None)
    with pytest.raises(DownloadError, match="the server offers another file: too small"):
        run(picky)
    assert download.partial.stat().st_size == 1_000_000


def test_a_server_that_falls_silent_ends_in_a_timeout(
    download: Download, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "TIMEOUT_SECONDS", 0.1)
    site.files["net.pth"].gate = threading.Event()
    with pytest.raises(DownloadError, match="timed out"):
        run(download)
    site.files["net.pth"].gate.set()
    monkeypatch.setattr(downloading, "TIMEOUT_SECONDS", 30)
    run(download)
    assert download.partial.read_bytes() == site.files["net.pth"].data


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"no connection: .*refused"):
        run(Download("http://127.0.0.1:9/x", tmp_path / "x.partial"))


def test_too_little_space_is_told_before_the_first_byte(
    download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(download.partial.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    wanted = r"http://.*/net\.pth could not be stored: .*3\.0 MB more are needed, 1\.0 MB are free; free some"
    with pytest.raises(V2ABenchError, match=wanted):
        run(download)
    assert not download.partial.exists()


def test_a_disk_that_fills_up_keeps_what_came(
    download: Download, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(response: object, stream: object, *_: object) -> None:
        stream.write(response.read(1_000_000))  # type: ignore[attr-defined]
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(downloading, "_copy", full)
        with pytest.raises(V2ABenchError, match=r"No space left on device; free some space .*V2ABENCH_HOME"):
            run(download)
    site.requests.clear()
    assert run(download) == SIZE
    assert site.ranges == ["bytes=1000000-"]
