"""Nothing of the user's is lost, nothing stale is used, and the moment's troubles are not remembered."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from knocking import knocks

from v2abench.api import Options, evaluate, evaluate_models
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.errors import V2ABenchError
from v2abench.features import extraction
from v2abench.features.upkeep import collect
from v2abench.media.audio import Audio
from v2abench.media.writing import write_audio
from v2abench.networks.levels import Levels
from v2abench.protocols.schema import Protocol, Window
from v2abench.runs import evaluation
from v2abench.runs.report import read_report


def test_a_models_own_folder_inside_the_run_is_never_emptied(
    videos: Path, generated: Path, protocol: Protocol, tmp_path: Path
) -> None:
    inside = shutil.copytree(generated, tmp_path / "runs" / videos.name / "tiny" / "mine" / "audio")
    before = sorted(path.name for path in inside.iterdir())
    run = evaluate(f"mine=folder:{inside}", f"folder:{videos}", protocol, Options(output=tmp_path / "runs"))
    assert run.report.coverage.ok == 6
    assert sorted(path.name for path in inside.iterdir()) == before


def test_files_that_are_not_ours_are_not_overwritten(
    videos: Path, protocol: Protocol, tmp_path: Path
) -> None:
    folder = tmp_path / videos.name / "tiny" / "noise" / "audio"
    folder.mkdir(parents=True)
    (folder / "c.flac").write_bytes(b"precious")
    with pytest.raises(V2ABenchError, match="holds files that v2abench did not make"):
        evaluate("noise", f"folder:{videos}", protocol, Options(output=tmp_path))
    assert (folder / "c.flac").read_bytes() == b"precious"


def test_audio_of_another_length_is_made_anew(videos: Path, protocol: Protocol, tmp_path: Path) -> None:
    options = Options(output=tmp_path, overwrite=True)
    shorter = protocol.model_copy(update={"window": Window(seconds=1.0)})
    evaluate("noise", f"folder:{videos}", shorter, options)
    report = evaluate("noise", f"folder:{videos}", protocol, options).report
    assert report.coverage.ok == 6, report.ledger


def test_a_run_of_other_data_is_replaced_only_when_asked(
    videos: Path, protocol: Protocol, tmp_path: Path
) -> None:
    whole = evaluate("silence", f"folder:{videos}", protocol, Options(output=tmp_path))
    some = open_dataset(f"folder:{videos}", DatasetOptions(limit=2))
    with pytest.raises(V2ABenchError, match=r"holds a run of other data.*--overwrite"):
        evaluate("silence", some, protocol, Options(output=tmp_path))
    assert read_report(whole.folder) == whole.report
    evaluate("silence", some, protocol, Options(output=tmp_path, overwrite=True))
    assert read_report(whole.folder).dataset.clips == 2


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES])
def test_what_the_moment_forbids_is_not_remembered(
    videos: Path, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(av, "open", refuse)
        with pytest.raises(V2ABenchError, match=r"cannot be read just now .*run the command again"):
            evaluate("ground-truth", f"folder:{videos}", protocol, Options(output=tmp_path))
    assert (
        evaluate("ground-truth", f"folder:{videos}", protocol, Options(output=tmp_path)).report.coverage.ok
        == 6
    )


def test_missing_clips_have_the_reason_that_bars_them(
    videos: Path, generated: Path, protocol: Protocol, tmp_path: Path
) -> None:
    """`c` is short and has no reference, `d` is short and its video is gone: being short bars neither."""
    model = shutil.copytree(generated, tmp_path / "model")
    for name in "cd":
        for path in model.glob(f"{name}.*"):
            path.unlink()
        write_audio(model / f"{name}.wav", Audio(knocks(1)[1].samples[:, :16000], 16000))
    rows = [(path.stem, path, "-" if path.stem == "c" else path) for path in sorted(videos.iterdir())]
    rows = [
        (n, tmp_path / "gone.mp4" if n == "d" else v, tmp_path / "gone.mp4" if n == "d" else r)
        for n, v, r in rows
    ]
    manifest = tmp_path / "m.tsv"
    lines = ["\t".join(map(str, row)) for row in rows]
    manifest.write_text("\n".join(["id\tvideo\treference", *lines]), encoding="utf-8")
    dataset = open_dataset(str(manifest), DatasetOptions(data_root=Path("/")))
    report = evaluate(f"folder:{model}", dataset, protocol, Options(output=tmp_path / "runs")).report
    missing = {s.name: {m.about: (m.code, m.detail) for m in s.missing} for s in report.scores}
    assert missing["Loudness"] == {}
    assert missing["AV-Align"] == {"d": ("missing", "video: gone.mp4 does not exist")}
    assert missing["Level-Diff"] == {
        "c": ("undefined", "the clip has no reference sound"),
        "d": ("missing", "reference: gone.mp4 does not exist"),
    }
    assert any("2 on one side only" in warning for warning in report.score("FD_levels").warnings)


def test_what_is_unavailable_does_not_depend_on_the_models_before(
    videos: Path, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that cannot be had for one model's sound is still there for another's, which is stored."""
    original = evaluation.Evaluation._extract

    def without_levels(self: evaluation.Evaluation, sides: dict, stage: str) -> dict[str, str]:
        lost = {"levels": "not to be had"} if stage == "noise" else {}
        return original(self, sides, stage) | lost

    monkeypatch.setattr(evaluation.Evaluation, "_extract", without_levels)
    runs = evaluate_models(["noise", "ground-truth"], f"folder:{videos}", protocol, Options(output=tmp_path))
    assert runs[0].report.score("Loudness").warnings == ("not to be had",)
    assert runs[1].report.score("Loudness").value is not None


def test_the_seed_is_recorded(videos: Path, protocol: Protocol, tmp_path: Path) -> None:
    assert evaluate("noise", f"folder:{videos}", protocol, Options(output=tmp_path, seed=7)).report.seed == 7


def test_marks_of_the_clips_belong_to_the_data(videos: Path, protocol: Protocol, tmp_path: Path) -> None:
    signatures = []
    for speech in ("yes", "no"):
        rows = "".join(f"{path}\t{speech}\n" for path in sorted(videos.iterdir()))
        (tmp_path / "m.tsv").write_text("video\tspeech\n" + rows, encoding="utf-8")
        dataset = open_dataset(str(tmp_path / "m.tsv"), DatasetOptions(data_root=Path("/")))
        run = evaluate("noise", dataset, protocol, Options(output=tmp_path / speech))
        signatures.append(run.report.signature)
    assert signatures[0] != signatures[1]


def test_fd_infinity_adds_a_number_and_changes_no_signature(
    videos: Path, protocol: Protocol, tmp_path: Path
) -> None:
    plain = evaluate("noise", f"folder:{videos}", protocol, Options(output=tmp_path)).report
    more = evaluate("noise", f"folder:{videos}", protocol, Options(output=tmp_path, fd_infinity=True)).report
    assert more.signature == plain.signature
    assert more.scores[: len(plain.scores)] == plain.scores
    assert [score.name for score in more.scores[len(plain.scores) :]] == ["FD_levels∞"]


def test_a_cache_that_is_emptied_meanwhile_is_told(
    videos: Path, protocol: Protocol, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = evaluation.judge

    def emptied(*args: object) -> None:
        collect(cache, 0)
        original(*args)

    monkeypatch.setattr(evaluation, "judge", emptied)
    with pytest.raises(V2ABenchError, match="features went from the cache"):
        evaluate("ground-truth", f"folder:{videos}", protocol, Options(output=tmp_path))


def test_a_damaged_page_is_told_and_what_it_held_computed_anew(
    videos: Path, protocol: Protocol, tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = evaluate("ground-truth", f"folder:{videos}", protocol, Options(output=tmp_path)).report
    part = next(cache.rglob("motion-*/part-*.parquet"))
    group = pq.ParquetFile(part).metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    page = next(column for column in columns if column.path_in_schema.startswith("peaks.list"))
    start = page.dictionary_page_offset or page.data_page_offset
    data = bytearray(part.read_bytes())
    data[start : start + page.total_compressed_size] = bytes(page.total_compressed_size)
    part.write_bytes(data)
    assert evaluate("ground-truth", f"folder:{videos}", protocol, Options(output=tmp_path)).report == first
    assert f"{part} is damaged and was removed" in caplog.text
    assert not part.exists()


def test_a_network_that_gives_nan_is_a_fault_of_the_clip(
    videos: Path, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = extraction._record

    def poisoned(key: str, features: dict, notes: tuple[str, ...]) -> object:
        wrong = {name: np.array(np.nan) if name == "loudness" else a for name, a in features.items()}
        return original(key, wrong, notes)

    monkeypatch.setattr(extraction, "_record", poisoned)
    report = evaluate("ground-truth", f"folder:{videos}", protocol, Options(output=tmp_path)).report
    assert report.score("Loudness").value is None
    assert report.ledger[0].reasons[0].code == "not-finite"


def test_an_unexpected_error_names_network_and_file(
    videos: Path, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Levels, "prepare", broken)
    with pytest.raises(ZeroDivisionError) as caught:
        evaluate("ground-truth", f"folder:{videos}", protocol, Options(output=tmp_path))
    assert "network 'levels' prepared" in caught.value.__notes__[0]
    assert ".mp4" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (DatasetOptions(reference=Path("x")), "--reference means nothing for --dataset m.tsv"),
        (DatasetOptions(data_root=Path("x")), "--data-root means nothing for --dataset folder"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: DatasetOptions, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.tsv").write_text("video\nx.mp4\n")
    with pytest.raises(V2ABenchError, match=message):
        open_dataset("m.tsv" if options.reference else f"folder:{videos}", options)


def test_ctrl_c_says_that_the_work_goes_on(videos: Path, protocol_file: Path, tmp_path: Path) -> None:
    """Interrupted at the first of a thousand sounds that are to be made."""
    manifest = tmp_path / "m.tsv"
    rows = "".join(f"{number}\t{videos / 'c.mp4'}\n" for number in range(1000))
    manifest.write_text("id\tvideo\n" + rows)
    # A shell that starts the tests in the background has them ignore SIGINT, and so their children.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; from v2abench.cli import main; main()"
    line = [
        sys.executable,
        "-c",
        code,
        "eval",
        "--model",
        "noise",
        "--dataset",
        str(manifest),
        "--data-root",
        "/",
    ]
    line += ["--protocol", str(protocol_file), "--output", str(tmp_path / "runs"), "--workers", "0"]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "runs").rglob("*.flac")) and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    assert "interrupted; the same command goes on where this one stopped" in messages
    assert len(list((tmp_path / "runs").rglob("*.flac"))) < 1000
