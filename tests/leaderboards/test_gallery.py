from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
from knocking import knocks
from made_runs import LOST, Made

from v2abench.contracts import Direction
from v2abench.errors import UnknownNameError, V2ABenchError
from v2abench.files import content_hash
from v2abench.leaderboards.choice import Choice, choose
from v2abench.leaderboards.gallery import (
    GalleryCell,
    GalleryOptions,
    GalleryRow,
    Page,
    ScoreLine,
    build_gallery,
    render_page,
)
from v2abench.leaderboards.gallery_media import COLUMNS, ROWS, Maker, draw_spectrogram
from v2abench.leaderboards.significance import WrittenRun
from v2abench.media.audio import Audio
from v2abench.media.probing import probe
from v2abench.media.reading import read_audio
from v2abench.media.writing import write_audio
from v2abench.runs.inputs import FileRecord
from v2abench.runs.tables import read_clips

IDS = [f"c{i}" for i in range(6)]
VALUES = {
    "a": {"c0": 1.0, "c1": 5.0, "c2": 3.0, "c3": 2.0},
    "b": {"c0": 1.5, "c1": 0.0, "c2": 3.0, "c4": 9.0},
}


@pytest.mark.parametrize(
    ("choice", "direction", "expected"),
    [
        (Choice("all"), Direction.NEUTRAL, IDS),
        (Choice("best", 2, metric="m", models=("a",)), Direction.LOWER, ["c0", "c3"]),
        (Choice("best", 2, metric="m", models=("a",)), Direction.HIGHER, ["c1", "c2"]),
        (Choice("worst", 9, metric="m", models=("a",)), Direction.LOWER, ["c1", "c2", "c3", "c0"]),
        (Choice("changed", 2, metric="m", models=("a", "b")), Direction.LOWER, ["c1", "c0"]),
        (Choice(clips=("c5", "c1", "c5")), Direction.NEUTRAL, ["c5", "c1"]),
    ],
)
def test_clips_are_chosen_by_rule(choice: Choice, direction: Direction, expected: list[str]) -> None:
    assert list(choose(choice, IDS, VALUES, direction).clips) == expected


def test_a_random_choice_follows_its_seed_and_keeps_the_order() -> None:
    many = [f"c{i:03d}" for i in range(100)]
    first = choose(Choice(number=20, seed=1), many, {}, Direction.NEUTRAL)
    assert first == choose(Choice(number=20, seed=1), many, {}, Direction.NEUTRAL)
    assert first.clips != choose(Choice(number=20, seed=2), many, {}, Direction.NEUTRAL).clips
    assert list(first.clips) == sorted(first.clips)
    assert len(set(first.clips)) == 20
    backwards = choose(Choice(number=20, seed=1), many[::-1], {}, Direction.NEUTRAL)
    assert set(backwards.clips) == set(first.clips)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (Choice("best", metric="m"), "--choose best needs --by METRIC and --of MODEL"),
        (Choice("changed", metric="m", models=("a",)), "needs --by METRIC and --between A,B"),
        (Choice("best", metric="m", models=("z",)), "unknown model with values a clip of m 'z'"),
        (Choice(clips=("c9",)), "unknown clip 'c9'"),
    ],
)
def test_a_rule_that_lacks_something_is_told(choice: Choice, told: str) -> None:
    with pytest.raises(V2ABenchError, match=told):
        choose(choice, IDS, VALUES, Direction.LOWER)
    with pytest.raises(V2ABenchError, match="no better or worse"):
        choose(Choice("best", metric="m", models=("a",)), IDS, VALUES, Direction.NEUTRAL)


def test_a_spectrogram_shows_pitch_time_and_level() -> None:
    time = np.arange(16000) / 16000
    tone = np.where(time < 0.5, np.sin(2 * np.pi * 1000 * time), 0).astype(np.float32)
    picture = draw_spectrogram(Audio(tone[None], 16000), 2.0).sum(axis=2)
    assert picture.shape == (ROWS, COLUMNS)
    row = ROWS - 1 - int(ROWS * np.log(1000 / 60) / np.log(8000 / 60))
    assert abs(int(picture[:, 40].argmax()) - row) <= 1
    black = picture[:, -1].max()
    assert picture[:, COLUMNS // 2 + 2 :].max() == black
    quiet = draw_spectrogram(Audio(0.01 * tone[None], 16000), 2.0).sum(axis=2)
    assert black < quiet[row, 40] < picture[row, 40]


def test_the_site_holds_each_models_sound_and_is_the_same_when_made_again(
    made: Made, gallery: Path, tmp_path: Path
) -> None:
    again = build_gallery(made.runs, tmp_path / "again", GalleryOptions(Choice("all"), workers=2))
    assert gallery.read_bytes() == again.read_bytes()
    media = gallery.parent / "media"
    names = sorted(file.name for file in media.iterdir())
    assert names == sorted(file.name for file in (again.parent / "media").iterdir())
    for name in names:
        assert (media / name).read_bytes() == (again.parent / "media" / name).read_bytes()
    videos = [name for name in names if name.endswith(".mp4")]
    assert len(videos) == 17
    levels = sorted(float(np.sqrt(np.mean(read_audio(media / name).samples ** 2))) for name in videos)
    assert levels[4] * 5 < levels[5]


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self._in_name = False
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in_name = ("class", "name") in attrs

    def handle_data(self, data: str) -> None:
        if self._in_name:
            self.names.append(data)
            self._in_name = False


def test_the_clips_own_sound_comes_first_whether_or_not_a_run_is_of_it(made: Made, tmp_path: Path) -> None:
    orders = []
    for number, runs in enumerate(([made.runs[2], made.runs[0]], made.runs[1:])):
        cells = _Cells()
        out = tmp_path / str(number)
        cells.feed(build_gallery(runs, out, GalleryOptions(Choice(clips=("clip-0",)))).read_text())
        orders.append(cells.names)
    assert orders == [["ground-truth", "quiet"], ["ground truth", "good", "quiet"]]


def test_scores_a_clip_are_those_of_the_run_and_a_control_is_never_best(made: Made, tmp_path: Path) -> None:
    options = GalleryOptions(Choice(clips=("clip-0",)), metrics=("Level-Diff",))
    text = build_gallery(made.runs, tmp_path / "site", options).read_text()
    shown = [part.split("</dd>")[0] for part in text.split("Level-Diff ↓</dt><dd>")[1:]]
    values = [read_clips(run.folder)["Level-Diff"]["clip-0"] for run in made.runs]
    assert [float(value) for value in shown] == pytest.approx(values, abs=0.01)
    marked = ['class="best"' in part[-80:] for part in text.split("<dt>Level-Diff ↓</dt>")[:-1]]
    assert marked == [False, True, False]


def test_rows_are_grouped_by_label_unless_their_order_says_something(
    made: Made, gallery: Path, tmp_path: Path
) -> None:
    assert [part.split("<")[0] for part in gallery.read_text().split('<h2 class="group">')[1:]] == [
        "metal",
        "wood",
    ]
    choice = Choice("worst", 3, metric="Level-Diff", models=("quiet",))
    text = build_gallery(made.runs, tmp_path / "b", GalleryOptions(choice)).read_text()
    assert '<h2 class="group">' not in text
    shown = [
        part.split('"')[0]
        for part in text.split('<section class="clip"')[1:]
        for part in [part.split('aria-label="')[1]]
    ]
    values = read_clips(made.runs[2].folder)["Level-Diff"]
    assert shown == sorted(values, key=lambda clip: -values[clip])[:3]
    assert LOST not in values


def test_a_site_is_made_again_in_its_place_and_nothing_else_is_touched(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "site"
    build_gallery(made.runs, out, GalleryOptions(Choice(clips=("clip-1", "clip-3"))))
    before = {file.name for file in (out / "media").iterdir()}
    (out / "media" / "mine.txt").write_text("kept")
    build_gallery(made.runs, out, GalleryOptions(Choice(clips=("clip-3",))))
    after = {file.name for file in (out / "media").iterdir()}
    assert "mine.txt" in after
    assert after - {"mine.txt"} < before
    assert len(after) == 1 + 3 + 3 + 1
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("")
    with pytest.raises(V2ABenchError, match="holds files that no gallery made"):
        build_gallery(made.runs, other)
    assert [file.name for file in other.iterdir()] == ["thesis.tex"]


def test_runs_of_other_data_and_unknown_metrics_are_refused(made: Made, tmp_path: Path) -> None:
    first = made.runs[0].report
    other = first.model_copy(update={"dataset": first.dataset.model_copy(update={"fingerprint": "other"})})
    with pytest.raises(V2ABenchError, match="are of different data"):
        build_gallery([made.runs[1], WrittenRun(made.runs[0].folder, other)], tmp_path / "a")
    with pytest.raises(UnknownNameError, match="unknown metric with values a clip 'FD_levels'"):
        build_gallery(made.runs, tmp_path / "b", GalleryOptions(metrics=("FD_levels",)))
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_ids_prompts_names_and_reasons_are_escaped() -> None:
    evil = "\"'><script>alert(1)</script>"
    score = ScoreLine(evil, "↓", evil, best=True)
    cells = (GalleryCell(evil, "a.mp4", "a.png", "", (score,)), GalleryCell(evil, None, None, evil, ()))
    row = GalleryRow(evil, evil, evil, 2.0, 1.0, "a.jpg", cells, evil)
    parser = _Cells()
    text = render_page(Page(evil, evil, evil, (evil, evil), (row,)))
    parser.feed(text)
    assert parser.tags.count("script") == 1
    assert parser.names == [evil, evil]
    assert "http://" not in text
    assert "https://" not in text


def test_a_video_that_browsers_do_not_play_is_encoded_anew(tmp_path: Path) -> None:
    frames, audio = knocks(0)
    source = tmp_path / "old.avi"
    with av.open(source, "w") as container:
        stream = container.add_stream("mpeg4", 25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))
    write_audio(tmp_path / "sound.wav", audio)
    video, sound = (
        FileRecord(path=str(path), hash=content_hash(path)) for path in (source, tmp_path / "sound.wav")
    )
    name = Maker(tmp_path / "media").video(video, sound, 2.0)
    info = probe(tmp_path / "media" / name)
    assert (info.video_codec, info.audio_codec) == ("h264", "aac")
    assert info.video_seconds == pytest.approx(2.0, abs=0.05)
