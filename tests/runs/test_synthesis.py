"""`v2abench generate`: any model's sounds into a folder, resumably, with a ledger."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from v2abench import synthesis
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Generated, ModelInfo, Request
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.media.audio import Audio
from v2abench.media.reading import FrameStream, read_audio, read_media
from v2abench.models import ModelContext, NamedModel
from v2abench.synthesis import SynthesisOptions, synthesise


@dataclass
class Tones:
    """Makes noise by each clip's seed; dies after `lives` clips, and refuses the ids in `refused`.

    It makes `longest` seconds at most.
    """

    lives: int = 100
    longest: float = 60.0
    refused: tuple[str, ...] = ()
    recipe: Mapping[str, bool | int | float | str] = field(default_factory=lambda: {"pitch": 440})
    asked: list[Request] = field(default_factory=list)
    info: ModelInfo = field(default_factory=lambda: ModelInfo("tones"))

    def generate(self, requests: Sequence[Request]) -> Iterator[Generated]:
        for request in requests:
            if self.lives == 0:
                raise KeyboardInterrupt
            self.lives -= 1
            self.asked.append(request)
            if request.clip.id in self.refused:
                yield Generated(request.clip.id, fault=ClipFault("too-short", "not for me"))
                continue
            count = round(16000 * min(request.seconds, self.longest))
            noise = np.random.default_rng(request.seed).uniform(-0.5, 0.5, (1, count))
            yield Generated(request.clip.id, audio=Audio(noise.astype(np.float32), 16000))


Use = Callable[[Tones], Tones]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Let `tones` be opened as a model."""
    real = synthesis.open_model

    def use_model(model: Tones) -> Tones:
        def opened(spec: str, context: ModelContext) -> NamedModel:
            return NamedModel(model, model.info, spec) if spec == "tones" else real(spec, context)

        monkeypatch.setattr(synthesis, "open_model", opened)
        return model

    return use_model


@pytest.fixture
def dataset(videos: Path) -> Dataset:
    clips = tuple(Clip(path.stem, path, path) for path in sorted(videos.iterdir()))
    return Dataset("videos", f"folder:{videos}", clips)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_clip_gets_a_file_and_an_entry(use: Use, dataset: Dataset, tmp_path: Path) -> None:
    use(Tones(refused=("c",)))
    made = synthesise("tones", dataset, tmp_path)
    assert [entry.status for entry in made] == ["ok", "ok", "failed", "ok", "ok", "ok"]
    ledger = json.loads((tmp_path / "generation.json").read_text())
    assert ledger["model"] == "tones"
    assert ledger["recipe"] == {"pitch": 440}
    failed = ledger["clips"][2]
    assert (failed["id"], failed["code"], failed["detail"]) == ("c", "too-short", "not for me")
    assert not (tmp_path / "c.flac").exists()
    for entry in made:
        if entry.file:
            assert read_audio(tmp_path / entry.file).seconds == entry.seconds == 2.0


def test_a_killed_run_goes_on_and_ends_with_the_same_files(
    use: Use, dataset: Dataset, tmp_path: Path
) -> None:
    use(Tones())
    synthesise("tones", dataset, tmp_path / "whole")
    use(Tones(lives=2))
    with pytest.raises(KeyboardInterrupt):
        synthesise("tones", dataset, tmp_path / "killed")
    second = use(Tones())
    synthesise("tones", dataset, tmp_path / "killed")
    assert len(second.asked) == 4
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")
    third = use(Tones())
    synthesise("tones", dataset, tmp_path / "killed")
    assert third.asked == []


def test_other_choices_make_all_files_anew(use: Use, dataset: Dataset, tmp_path: Path) -> None:
    use(Tones())
    synthesise("tones", dataset, tmp_path)
    first = bytes_of(tmp_path)
    again = use(Tones())
    synthesise("tones", dataset, tmp_path, SynthesisOptions(seed=1))
    assert len(again.asked) == 6
    assert bytes_of(tmp_path)["c.flac"] != first["c.flac"]
    synthesise("tones", dataset, tmp_path, SynthesisOptions(format="wav"))
    assert not list(tmp_path.glob("*.flac"))
    assert len(list(tmp_path.glob("*.wav"))) == 6


def test_seeds_go_by_the_clip_s_name(use: Use, dataset: Dataset, tmp_path: Path) -> None:
    use(Tones())
    synthesise("tones", dataset, tmp_path / "all")
    turned = replace(dataset, clips=dataset.clips[:2:-1])
    synthesise("tones", turned, tmp_path / "some")
    whole, some = bytes_of(tmp_path / "all"), bytes_of(tmp_path / "some")
    assert all(whole[name] == some[name] for name in ("d.flac", "e.flac", "f.flac"))


def test_the_duration_is_the_clip_s_or_what_is_asked_for(use: Use, dataset: Dataset, tmp_path: Path) -> None:
    model = use(Tones())
    synthesise("tones", dataset, tmp_path / "own")
    synthesise("tones", dataset, tmp_path / "asked", SynthesisOptions(seconds=1.25))
    assert {request.seconds for request in model.asked[:6]} == {2.0}
    assert {request.seconds for request in model.asked[6:]} == {1.25}


def test_a_sound_that_is_shorter_than_asked_for_is_told(use: Use, dataset: Dataset, tmp_path: Path) -> None:
    use(Tones(longest=1.5))
    two = replace(dataset, clips=dataset.clips[:2])
    for _ in range(2):
        made = synthesise("tones", two, tmp_path)
        assert [(entry.status, entry.code) for entry in made] == [("degraded", "short")] * 2
        assert made[0].detail == "1.50 s of sound, 2.00 s were asked for"
    (near, _) = synthesise("tones", two, tmp_path / "near", SynthesisOptions(seconds=1.55))
    assert near.status == "ok"


def test_sound_is_laid_under_the_video_on_request(use: Use, dataset: Dataset, tmp_path: Path) -> None:
    use(Tones())
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    mixed = replace(dataset, clips=(dataset.clips[2], Clip("broken", broken)))
    out = tmp_path / "out"
    made = synthesise("tones", mixed, out, SynthesisOptions(mux=True))
    assert [entry.status for entry in made] == ["ok", "degraded"]
    assert made[1].code == "not-muxed"
    pictures = FrameStream(None)
    media = read_media(out / "muxed/c.mp4", seconds=2.0, frames=[pictures])
    original = read_media(mixed.clips[0].video, seconds=2.0, frames=[pictures])
    np.testing.assert_array_equal(media.frames[pictures], original.frames[pictures])
    heard, made_sound = read_audio(out / "muxed/c.mp4").samples, read_audio(out / "c.flac").samples
    n = min(heard.shape[1], made_sound.shape[1])
    assert np.abs(heard[0, :n]).std() > 0.1 * np.abs(made_sound[0, :n]).std()
    before = (out / "muxed/c.mp4").stat().st_mtime_ns
    synthesise("tones", mixed, out, SynthesisOptions(mux=True))
    assert (out / "muxed/c.mp4").stat().st_mtime_ns == before


@pytest.mark.parametrize("spec", ["ground-truth", "shifted:0.2", "shuffled", "noise", "silence"])
def test_it_works_with_every_control(dataset: Dataset, tmp_path: Path, spec: str) -> None:
    made = synthesise(spec, dataset, tmp_path)
    assert {entry.status for entry in made} == {"ok"}
    for entry in made:
        assert read_audio(tmp_path / (entry.file or "")).seconds == pytest.approx(2.0, abs=0.1)


def test_it_works_with_a_folder_and_leaves_it_alone(
    dataset: Dataset, generated: Path, tmp_path: Path
) -> None:
    before = bytes_of(generated)
    made = synthesise(f"folder:{generated}", dataset, tmp_path)
    assert {entry.status for entry in made} == {"ok"}
    for path in generated.iterdir():
        copy = read_audio(tmp_path / f"{path.stem}.flac")
        np.testing.assert_array_equal(copy.samples, read_audio(path).samples)
    assert bytes_of(generated) == before
    with pytest.raises(V2ABenchError, match="did not make"):
        synthesise(f"folder:{generated}", dataset, generated)


def test_a_folder_with_other_files_is_refused(use: Use, dataset: Dataset, tmp_path: Path) -> None:
    use(Tones())
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(V2ABenchError, match="did not make"):
        synthesise("tones", dataset, tmp_path)
    assert bytes_of(tmp_path) == {"thesis.txt": b"do not touch"}
