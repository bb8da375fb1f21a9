"""Whatever a user's folder holds, every clip is accounted for, and every mistake is told."""

import errno
import os
import re
import shutil
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from knocking import SAMPLE_RATE, knocks
from scipy.io import wavfile

from v2abench.api import Options, evaluate
from v2abench.check import check
from v2abench.datasets.opening import open_dataset
from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.features import store
from v2abench.features.extraction import Extractor
from v2abench.media.audio import Audio
from v2abench.media.writing import write_audio, write_video
from v2abench.models import ModelContext, open_model
from v2abench.protocols.schema import Protocol, Window
from v2abench.runs.report import LedgerEntry, Report


def wave(seconds: float, rate: int, channels: int = 1) -> Audio:
    rng = np.random.default_rng(channels)
    return Audio((0.1 * rng.standard_normal((channels, round(seconds * rate)))).astype(np.float32), rate)


@pytest.fixture
def dataset(videos: Path, tmp_path: Path) -> Path:
    """A copy of the six good videos, to be spoilt."""
    return shutil.copytree(videos, tmp_path / "videos")


@pytest.fixture
def model(generated: Path, tmp_path: Path) -> Path:
    return shutil.copytree(generated, tmp_path / "model")


def with_nan() -> np.ndarray:
    samples = knocks(1)[1].samples.copy()
    samples[0, 100] = np.nan
    return samples


FLOAT_WAVS = {
    "nan": (with_nan(), SAMPLE_RATE),
    "infinite": (np.full((1, 32000), np.inf), SAMPLE_RATE),
    "one sample": (np.array([[0.5]]), SAMPLE_RATE),
    "silence": (np.zeros((1, 32000)), SAMPLE_RATE),
    "short": (wave(1.0, SAMPLE_RATE).samples, SAMPLE_RATE),
    "8 channels": (wave(2.0, 16000, 8).samples, 16000),
    "8 kHz": (wave(2.0, 8000).samples, 8000),
    "192 kHz": (wave(2.0, 192000).samples, 192000),
}


def spoil_generated(folder: Path, case: str) -> None:
    """Put the file of clip `c` into a state that users meet."""
    for path in folder.glob("c.*"):
        path.unlink()
    video = folder / "c.mp4"
    frames, audio = knocks(1)
    if case in FLOAT_WAVS:
        samples, rate = FLOAT_WAVS[case]
        wavfile.write(folder / "c.wav", rate, samples.T.astype(np.float32))
    elif case == "zero bytes":
        (folder / "c.wav").write_bytes(b"")
    elif case == "text":
        video.write_text("this is not a video")
    elif case == "video without sound":
        write_video(video, frames, Fraction(25))
    elif case == "truncated":
        write_video(video, frames, Fraction(25), audio)
        video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    else:
        assert case == "missing"


def entry(report: Report, clip_id: str = "c") -> LedgerEntry:
    return next(e for e in report.ledger if e.id == clip_id)


@pytest.mark.parametrize(
    ("case", "status", "code", "message"),
    [
        ("missing", "failed", "missing", r"no file c\.\* in model/"),
        ("zero bytes", "failed", "unreadable", r"the file is empty \(0 bytes\)"),
        ("text", "failed", "unreadable", "does not open as media"),
        ("nan", "failed", "not-finite", "holds NaN or infinite samples"),
        ("infinite", "failed", "not-finite", "holds NaN or infinite samples"),
        ("one sample", "failed", "too-short", r"6.25e-05 s of sound, at least 0.3 s are needed"),
        ("video without sound", "failed", "no-audio", "the file has no sound"),
        ("truncated", "failed", "unreadable", "does not open as media"),
        ("silence", "degraded", "silent", "no sample reaches -60 dBFS"),
        ("short", "degraded", "short", r"1\.00 s of sound for 2\.00 s of video"),
        ("8 channels", "ok", None, ""),
        ("8 kHz", "ok", None, ""),
        ("192 kHz", "ok", None, ""),
    ],
)
def test_a_generated_file_in_any_state_ends_in_the_ledger(
    dataset: Path,
    model: Path,
    protocol: Protocol,
    tmp_path: Path,
    case: str,
    status: str,
    code: str | None,
    message: str,
) -> None:
    spoil_generated(model, case)
    report = evaluate(
        f"folder:{model}", f"folder:{dataset}", protocol, Options(output=tmp_path / "runs")
    ).report
    found = entry(report)
    assert found.status == status, found
    assert {reason.code for reason in found.reasons} == ({code} if code else set()), found
    assert all(re.search(message, reason.detail) for reason in found.reasons), found
    assert report.coverage.expected == 6
    for score in report.scores:
        assert score.value is not None
        assert np.isfinite(score.value)
        assert score.used == (5 if status == "failed" else 6)
        if status == "failed":
            assert [(missing.about, missing.code) for missing in score.missing] == [
                ("c", found.reasons[0].code)
            ]


@pytest.mark.parametrize(
    ("case", "codes", "without"),
    [
        ("no sound", {"no-audio"}, {"Level-Diff"}),
        ("no pictures", {"no-video"}, {"AV-Align"}),
        ("text", {"unreadable"}, {"AV-Align", "Level-Diff"}),
    ],
)
def test_a_reference_in_any_state_degrades_its_clip_and_leaves_the_metrics_that_need_it(
    dataset: Path,
    model: Path,
    protocol: Protocol,
    tmp_path: Path,
    case: str,
    codes: set[str],
    without: set[str],
) -> None:
    video = dataset / "c.mp4"
    if case == "no sound":
        write_video(video, knocks(1)[0], Fraction(25))
    elif case == "no pictures":
        video.unlink()
        write_audio(tmp_path / "c.wav", knocks(1)[1])
        (tmp_path / "c.wav").rename(video)
    else:
        video.write_text("not a video")
    report = evaluate(
        f"folder:{model}", f"folder:{dataset}", protocol, Options(output=tmp_path / "runs")
    ).report
    found = entry(report)
    assert found.status == "degraded"
    assert {reason.code for reason in found.reasons} == codes
    for score in report.scores:
        assert ("c" in {missing.about for missing in score.missing}) == (score.name in without), score.name


def test_extra_files_are_listed_and_a_folder_of_another_dataset_is_refused(
    dataset: Path, model: Path, protocol: Protocol, tmp_path: Path
) -> None:
    (model / "stranger.wav").write_bytes(b"")
    report = evaluate(
        f"folder:{model}", f"folder:{dataset}", protocol, Options(output=tmp_path / "runs")
    ).report
    assert report.extra_files == ("stranger.wav",)
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.wav").write_bytes(b"")
    with pytest.raises(
        V2ABenchError, match=r"no file is named like a clip of videos.*there is e\.g\. x\.wav"
    ):
        evaluate(f"folder:{other}", f"folder:{dataset}", protocol, Options(output=tmp_path / "runs"))


def test_strict_refuses_what_is_not_whole_after_writing_it(
    dataset: Path, model: Path, protocol: Protocol, tmp_path: Path
) -> None:
    spoil_generated(model, "silence")
    options = Options(output=tmp_path / "runs", strict=True)
    with pytest.raises(
        V2ABenchError, match=r"--strict: 1 of 6 clips of model are not ok, first c: generated: silent"
    ):
        evaluate(f"folder:{model}", f"folder:{dataset}", protocol, options)
    assert list((tmp_path / "runs").rglob("report.json"))


@pytest.mark.parametrize(
    ("model_spec", "message"),
    [
        ("ground-thruth", "unknown model 'ground-thruth': did you mean 'ground-truth'"),
        ("shifted:soon", "give the seconds, e.g. shifted:0.4"),
        ("silence:3", "silence takes nothing behind a colon"),
    ],
)
def test_wrong_models_are_told(
    dataset: Path, protocol: Protocol, tmp_path: Path, model_spec: str, message: str
) -> None:
    with pytest.raises(V2ABenchError, match=message):
        evaluate(model_spec, f"folder:{dataset}", protocol, Options(output=tmp_path))


def test_unknown_protocols_and_devices_are_told(dataset: Path, protocol: Protocol, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'impacts'"):
        evaluate("noise", f"folder:{dataset}", "impact", Options(output=tmp_path))
    with pytest.raises(V2ABenchError, match="--device warp: "):
        evaluate("noise", f"folder:{dataset}", protocol, Options(output=tmp_path, device="warp"))


@pytest.mark.parametrize("place", ["output", "cache"])
def test_places_that_cannot_be_written_are_named(
    dataset: Path, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    if place == "cache":
        monkeypatch.setenv("V2ABENCH_HOME", str(blocked / "home"))
    options = Options(output=blocked / "runs" if place == "output" else tmp_path / "runs")
    with pytest.raises(V2ABenchError, match=r"cannot write .*blocked.*(--output|V2ABENCH_HOME)"):
        evaluate("noise", f"folder:{dataset}", protocol, options)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EROFS, "Read-only file system; choose a place"),
        (errno.ENOSPC, "No space left on device; free some space"),
    ],
)
def test_a_read_only_cache_and_a_full_disk_are_told_and_leave_nothing_half_written(
    dataset: Path,
    protocol: Protocol,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    number: int,
    words: str,
) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    where = (tempfile, "mkstemp") if number == errno.EROFS else (store.pq, "write_table")
    with monkeypatch.context() as patch:
        patch.setattr(*where, full)
        with pytest.raises(V2ABenchError, match=rf"cannot write .*features.*{words}"):
            evaluate("ground-truth", f"folder:{dataset}", protocol, Options(output=tmp_path / "runs"))
    assert not list(cache.rglob("part-*"))
    assert not list(cache.rglob(".partial-*"))
    evaluate("ground-truth", f"folder:{dataset}", protocol, Options(output=tmp_path / "runs"))


def test_check_finds_what_is_wrong_before_any_network_runs(
    dataset: Path, model: Path, tmp_path: Path
) -> None:
    spoil_generated(model, "short")
    write_audio(model / "d.flac", Audio(np.zeros((1, 32000), np.float32), SAMPLE_RATE))
    next(model.glob("d.wav")).unlink(missing_ok=True) if (model / "d.wav").exists() else None
    write_audio(model / next(model.glob("e.*")).name, Audio(np.sign(wave(2, 16000).samples), SAMPLE_RATE))
    shutil.copy(next(model.glob("f.*")), model / next(model.glob("-dash.*")).name)
    next(model.glob("a b+é.*")).unlink()
    (model / "stranger.wav").write_bytes(b"")
    opened = open_dataset(f"folder:{dataset}")
    extractor = Extractor(tmp_path / "features", Window(seconds=2.0))
    findings = check(opened, open_model(f"folder:{model}", ModelContext(opened)), extractor)
    found = {(f.clip, f.stream, f.code) for f in findings}
    assert found == {
        ("c", "generated", "short"),
        ("d", "generated", "silent"),
        ("e", "generated", "clipped"),
        ("f", "generated", "duplicate"),
        ("a b+é", "generated", "missing"),
        ("-", "generated", "extra"),
    }
    assert check(opened, None, extractor) == []


def test_check_tells_a_copy_of_the_reference(dataset: Path, tmp_path: Path) -> None:
    opened = open_dataset(f"folder:{dataset}")
    extractor = Extractor(tmp_path / "features", Window(seconds=2.0))
    findings = check(opened, open_model(f"folder:{dataset}", ModelContext(opened)), extractor)
    assert {f.code for f in findings} == {"copy"}
