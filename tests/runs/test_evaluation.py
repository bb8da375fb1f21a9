"""`evaluate`: one pass over the media, the same numbers however it is done, every clip accounted for."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from v2abench.api import Options, evaluate, evaluate_models
from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.errors import V2ABenchError
from v2abench.features import extraction
from v2abench.media.audio import Audio
from v2abench.media.writing import write_audio
from v2abench.protocols.schema import Protocol
from v2abench.runs.report import read_report


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts every opening of a media file, by name."""
    counts: Counter[str] = Counter()
    original = av.open

    def counting(file: object, *args: object, **kwargs: object) -> object:
        if kwargs.get("mode", "r") == "r" and (not args or args[0] == "r"):
            counts[Path(str(file)).name] += 1
        return original(file, *args, **kwargs)

    monkeypatch.setattr(av, "open", counting)
    return counts


def test_every_file_is_opened_once_and_a_second_run_opens_none(
    videos: Path,
    generated: Path,
    protocol: Protocol,
    tmp_path: Path,
    opened: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = Options(output=tmp_path)
    run = evaluate(f"folder:{generated}", f"folder:{videos}", protocol, options)
    assert opened == {path.name: 1 for folder in (videos, generated) for path in folder.iterdir()}
    assert run.report.coverage.ok == 6
    first = (run.folder / "report.json").read_bytes()
    opened.clear()
    monkeypatch.setattr(extraction.Extractor, "_flush", None)
    again = evaluate(f"folder:{generated}", f"folder:{videos}", protocol, options)
    assert not opened
    assert (again.folder / "report.json").read_bytes() == first


def test_what_the_references_gave_is_not_decoded_again_for_the_model(
    videos: Path, protocol: Protocol, tmp_path: Path, opened: Counter[str]
) -> None:
    same_on_both_sides = tuple(entry for entry in protocol.metrics if entry.metric != "av_align")
    chosen = protocol.model_copy(update={"metrics": same_on_both_sides})
    run = evaluate("ground-truth", f"folder:{videos}", chosen, Options(output=tmp_path))
    assert set(opened.values()) == {1}
    assert run.report.score("FD_levels").value == pytest.approx(0, abs=1e-9)
    assert run.report.score("Level-Diff").value == 0


def test_moved_and_renamed_files_are_not_read_again_but_changed_ones_are(
    videos: Path, generated: Path, protocol: Protocol, tmp_path: Path, opened: Counter[str]
) -> None:
    options = Options(output=tmp_path / "runs")
    copy = shutil.copytree(generated, tmp_path / "model")
    evaluate(f"folder:{copy}", f"folder:{videos}", protocol, options)
    opened.clear()
    moved = copy.rename(tmp_path / "moved")
    os.utime(moved / "c.wav" if (moved / "c.wav").exists() else moved / "c.flac")
    evaluate(f"folder:{moved}", f"folder:{videos}", protocol, options)
    assert not opened
    changed = next(moved.glob("d.*"))
    write_audio(changed, Audio(np.full((1, 32000), 0.1, np.float32), 16000))
    evaluate(f"folder:{moved}", f"folder:{videos}", protocol, options)
    assert opened == {changed.name: 1}


@pytest.mark.parametrize(
    "change", [{"batch_size": 1}, {"batch_size": 3}, {"workers": 1}], ids=["batch 1", "batch 3", "a worker"]
)
def test_the_report_does_not_depend_on_how_the_work_is_done(
    videos: Path,
    generated: Path,
    protocol: Protocol,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict,
) -> None:
    reports = []
    for number, options in enumerate(
        (Options(output=tmp_path / "a"), Options(output=tmp_path / "b", **change))
    ):
        monkeypatch.setenv("V2ABENCH_HOME", str(tmp_path / f"home{number}"))
        run = evaluate(f"folder:{generated}", f"folder:{videos}", protocol, options)
        reports.append((run.folder / "report.json").read_bytes())
    assert reports[0] == reports[1]


def test_numbers_do_not_depend_on_the_order_of_the_manifest(
    videos: Path, generated: Path, protocol: Protocol, tmp_path: Path
) -> None:
    names = sorted(path.name for path in videos.iterdir())
    scores = []
    for order in (names, names[::-1]):
        manifest = tmp_path / "m.tsv"
        manifest.write_text("video\n" + "".join(f"{videos / name}\n" for name in order), encoding="utf-8")
        dataset = open_dataset(str(manifest), DatasetOptions(data_root=Path("/")))
        run = evaluate(f"folder:{generated}", dataset, protocol, Options(output=tmp_path))
        scores.append({s.name: (s.value, s.interval, s.signature) for s in run.report.scores})
    assert scores[0] == scores[1]


def test_controls_are_written_once_and_kept(videos: Path, protocol: Protocol, tmp_path: Path) -> None:
    options = Options(output=tmp_path)
    run = evaluate("noise", f"folder:{videos}", protocol, options)
    files = {path.name: path.stat().st_mtime_ns for path in (run.folder / "audio").glob("*.flac")}
    assert len(files) == 6
    (run.folder / "audio" / "c.flac").unlink()
    again = evaluate("noise", f"folder:{videos}", protocol, options)
    after = {path.name: path.stat().st_mtime_ns for path in (again.folder / "audio").glob("*.flac")}
    assert {name for name in files if after[name] != files[name]} == {"c.flac"}
    assert again.report == run.report
    other = evaluate("noise", f"folder:{videos}", protocol, Options(output=tmp_path, seed=1))
    assert other.report.score("Loudness").value != run.report.score("Loudness").value


def test_several_models_share_one_reading_of_the_references(
    videos: Path, protocol: Protocol, tmp_path: Path, opened: Counter[str]
) -> None:
    runs = evaluate_models(["silence", "noise"], f"folder:{videos}", protocol, Options(output=tmp_path))
    assert {opened[path.name] for path in videos.iterdir()} == {1}
    assert len({run.report.signature for run in runs}) == 1
    assert runs[0].report.coverage.degraded == 6
    assert runs[0].report.ledger[0].reasons[0].code == "silent"


def test_two_models_of_one_name_are_refused(videos: Path, protocol: Protocol, tmp_path: Path) -> None:
    with pytest.raises(V2ABenchError, match=r"another model would be written to .*noise too"):
        evaluate_models(["noise", "noise"], f"folder:{videos}", protocol, Options(output=tmp_path))


def test_the_run_folder_says_everything(
    videos: Path, generated: Path, protocol: Protocol, tmp_path: Path
) -> None:
    run = evaluate(f"mine=folder:{generated}", f"folder:{videos}", protocol, Options(output=tmp_path))
    assert run.folder == tmp_path / videos.name / "tiny" / "mine"
    report = read_report(run.folder)
    assert report == run.report
    table = pd.read_parquet(run.folder / "clips.parquet")
    assert list(table["id"]) == [entry.id for entry in report.ledger]
    for score in report.scores:
        assert score.used == score.expected == 6
        assert score.signature.startswith(score.name)
        assert "tiny:1@" in score.signature
        assert score.interval is None or score.interval.low <= score.value <= score.interval.high
        if score.name in table:
            assert table[score.name].mean() == pytest.approx(score.value)
    provenance = json.loads((run.folder / "provenance.json").read_text())
    assert provenance["seconds"].keys() >= {"hash", "read references", "read mine", "score mine"}


def test_other_weights_parameters_or_data_change_the_signature(
    videos: Path, generated: Path, protocol: Protocol, tmp_path: Path
) -> None:
    def signature(chosen: Protocol, dataset: str) -> str:
        return evaluate(
            f"folder:{generated}", dataset, chosen, Options(output=tmp_path, bootstrap=0, overwrite=True)
        ).report.signature

    finer = protocol.model_copy(update={"networks": {"motion": {"short_side": 32}}})
    smaller = shutil.copytree(videos, tmp_path / videos.name)
    (smaller / "f.mp4").unlink()
    signatures = [
        signature(protocol, f"folder:{videos}"),
        signature(finer, f"folder:{videos}"),
        signature(protocol, f"folder:{smaller}"),
    ]
    assert len(set(signatures)) == 3


SCRIPT = "import sys; sys.argv[0] = 'v2abench'; from v2abench.cli import main; main()"


def command(videos: Path, model: str, protocol_file: Path, output: Path, *more: str) -> list[str]:
    run = [sys.executable, "-c", SCRIPT, "eval", "--model", model, "--dataset", f"folder:{videos}"]
    return [*run, "--protocol", str(protocol_file), "--output", str(output), "--workers", "0", *more]


@pytest.mark.parametrize(("model", "sign"), [("folder", "part-*.parquet"), ("noise", "*.flac")])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    videos: Path,
    generated: Path,
    protocol_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    sign: str,
) -> None:
    """Killed while features are extracted, or while the model makes its sounds."""
    spec = f"folder:{generated}" if model == "folder" else model
    monkeypatch.setenv("V2ABENCH_HOME", str(tmp_path / "a" / "home"))
    line = command(videos, spec, protocol_file, tmp_path / "a", "--batch-size", "1")
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "a").rglob(sign)) and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(list((tmp_path / "a").rglob(sign)))
    assert before > 0
    assert not list((tmp_path / "a").rglob("report.json"))
    subprocess.run(line, check=True, capture_output=True)
    assert len(list((tmp_path / "a").rglob(sign))) > before
    monkeypatch.setenv("V2ABENCH_HOME", str(tmp_path / "b" / "home"))
    line = command(videos, spec, protocol_file, tmp_path / "b", "--batch-size", "1")
    subprocess.run(line, check=True, capture_output=True)
    (first,), (second,) = ([path.read_bytes() for path in (tmp_path / x).rglob("report.json")] for x in "ab")
    assert first == second


def test_two_evaluations_at_once_on_one_cache(
    videos: Path, generated: Path, protocol_file: Path, tmp_path: Path
) -> None:
    lines = [command(videos, f"folder:{generated}", protocol_file, tmp_path / name) for name in "ab"]
    processes = [subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for line in lines]
    for process in processes:
        _, messages = process.communicate(timeout=120)
        assert process.returncode == 0, messages.decode()
    (first,), (second,) = ([path.read_bytes() for path in (tmp_path / x).rglob("report.json")] for x in "ab")
    assert first == second
