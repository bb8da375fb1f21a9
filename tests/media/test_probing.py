from fractions import Fraction
from pathlib import Path

import pytest
from media_files import cut, make_video, make_wav, tone

from v2abench.media.probing import MediaInfo, probe


def test_video_with_sound(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "x.mp4", 2.0, Fraction(30000, 1001), (96, 64), sound=tone(2.0, 44100, 2), sound_rate=44100
    )
    info = probe(path)
    assert info.video_seconds == pytest.approx(60 * 1001 / 30000, abs=1e-3)
    assert info.sound_seconds == pytest.approx(2.0, abs=1e-3)
    assert (info.sample_rate, info.channels, info.audio_codec) == (44100, 2, "aac")
    assert (info.frame_rate, info.width, info.height) == (Fraction(30000, 1001), 96, 64)
    assert info.video_codec == "h264"


def test_absent_streams_are_none(tmp_path: Path) -> None:
    sound = probe(make_wav(tmp_path / "x.wav", tone(0.5, 8000, 8), 8000))
    assert sound == MediaInfo(0.5, 8000, 8, "pcm_f32le")
    picture = probe(make_video(tmp_path / "x.mp4", 0.4))
    assert (picture.sound_seconds, picture.sample_rate, picture.channels, picture.audio_codec) == (None,) * 4
    assert picture.video_seconds == 0.4


@pytest.mark.parametrize("name", ["x.mkv", "x.avi", "x.ts"])
def test_other_containers(name: str, tmp_path: Path) -> None:
    info = probe(make_video(tmp_path / name, 2.0, sound=tone(2.0, 16000)))
    assert info.video_seconds == pytest.approx(2.0, abs=0.15)
    assert info.sound_seconds == pytest.approx(2.0, abs=0.15)


def test_a_cut_file_still_says_what_it_promised(tmp_path: Path) -> None:
    path = make_wav(tmp_path / "x.wav", tone(2.0, 8000), 8000)
    assert probe(cut(path, 0.5)).sound_seconds == 2.0
