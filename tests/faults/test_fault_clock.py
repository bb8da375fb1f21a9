"""Times of files and clocks that jump change nothing."""

import itertools
import os
import time
from pathlib import Path

import pytest

from v2abench.api import Options, evaluate
from v2abench.features.upkeep import removable
from v2abench.media import reading
from v2abench.protocols.schema import Protocol
from v2abench.synthesis import SynthesisOptions, synthesise


@pytest.mark.parametrize("year", [1975, 2099])
def test_an_evaluation_does_not_look_at_times(
    year: int, videos: Path, protocol: Protocol, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(output=tmp_path)
    first = evaluate("noise", f"folder:{videos}", protocol, options)
    moment = (year - 1970) * 365.25 * 86400
    for path in [*cache.rglob("*"), *tmp_path.rglob("*")]:
        os.utime(path, (moment, moment))
    backwards = itertools.count(2e9, -1000.0)
    monkeypatch.setattr(time, "time", lambda: next(backwards))
    monkeypatch.setattr(reading, "read_media", None)
    assert evaluate("noise", f"folder:{videos}", protocol, options).report == first.report


def test_what_is_from_the_future_is_not_left_over(tmp_path: Path) -> None:
    for name, age in ((".partial-old", 7200), (".partial-new", 60), (".partial-future", -7200)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    assert [path.name for path, _ in removable(tmp_path, None)] == [".partial-old"]


def test_a_sound_made_anew_is_muxed_anew_though_the_clock_went_back(videos: Path, tmp_path: Path) -> None:
    """What was muxed before lies in the future of the new sound."""
    options = SynthesisOptions(mux=True, seed=1)
    synthesise("noise", f"folder:{videos}", tmp_path, options)
    muxed = tmp_path / "muxed" / "c.mp4"
    before = muxed.read_bytes()
    (tmp_path / "c.flac").unlink()
    os.utime(muxed, (4e9, 4e9))
    synthesise("noise", f"folder:{videos}", tmp_path, options)
    assert muxed.stat().st_mtime_ns == (tmp_path / "c.flac").stat().st_mtime_ns
    assert muxed.read_bytes() == before
    unchanged = muxed.stat().st_ctime_ns
    synthesise("noise", f"folder:{videos}", tmp_path, options)
    assert muxed.stat().st_ctime_ns == unchanged
