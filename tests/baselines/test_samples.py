"""Published samples are given to the clips that they belong to, and to no others."""

import logging
from pathlib import Path

import pytest

from v2abench.baselines.samples import clip_key, match, v2a_mapper
from v2abench.clips import Clip, Dataset
from v2abench.contracts import Request
from v2abench.errors import V2ABenchError
from v2abench.models import ModelContext


def dataset(*ids: str) -> Dataset:
    return Dataset("vggsound", "vggsound", tuple(Clip(name, Path(f"{name}.mp4")) for name in ids))


def stems(*names: str) -> dict[str, Path]:
    return {name: Path(f"{name}.wav") for name in names}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("-0jeONf82dE_000021", ("-0jeONf82dE", 21.0)),
        ("-0jeONf82dE_21", ("-0jeONf82dE", 21.0)),
        ("_b_-0jeON82_21000_31000", ("_b_-0jeON82", 21.0)),
        ("AvTGh7DiLI__000052", ("AvTGh7DiLI_", 52.0)),
        ("sheep3", None),
    ],
)
def test_names_of_vggsound_are_read(name: str, key: tuple[str, float] | None) -> None:
    assert clip_key(name) == key


def test_the_same_name_comes_before_the_same_second() -> None:
    files = stems("-0jeONf82dE_000021", "-0jeONf82dE_21", "AAAAAAAAAAA_7")
    clips = dataset("-0jeONf82dE_000021", "AAAAAAAAAAA_000007", "BBBBBBBBBBB_000001")
    assert match(files, clips) == {
        "-0jeONf82dE_000021": "-0jeONf82dE_000021",
        "AAAAAAAAAAA_000007": "AAAAAAAAAAA_7",
    }


def test_two_files_for_one_clip_are_refused() -> None:
    with pytest.raises(V2ABenchError, match=r"AAAAAAAAAAA_7\.wav, AAAAAAAAAAA_07\.wav could each belong"):
        match(stems("AAAAAAAAAAA_7", "AAAAAAAAAAA_07"), dataset("AAAAAAAAAAA_000007"))


def test_the_model_says_how_files_were_mapped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("AAAAAAAAAAA_7", "BBBBBBBBBBB_000001", "CCCCCCCCCCC_000001"):
        (tmp_path / f"{name}.wav").touch()
    clips = dataset("AAAAAAAAAAA_000007", "BBBBBBBBBBB_000001", "DDDDDDDDDDD_000001")
    with caplog.at_level(logging.WARNING):
        model = v2a_mapper(str(tmp_path), ModelContext(clips))
    assert caplog.messages == [
        "2 of 3 clips have a sample of V2A-Mapper, 1 of them found by YouTube id and start second "
        "(e.g. AAAAAAAAAAA_7.wav for clip AAAAAAAAAAA_000007); 1 files belong to no clip"
    ]
    answers = list(model.generate([Request(clip, 8.0, 0) for clip in clips.clips]))
    assert [answer.path.name if answer.path else answer.fault.code for answer in answers] == [
        "AAAAAAAAAAA_7.wav", "BBBBBBBBBBB_000001.wav", "missing"
    ]  # fmt: skip
    assert model.extra_files == ("CCCCCCCCCCC_000001.wav",)
    assert model.recipe == {"samples": "published", "named_like_clips": 1, "by_second": 1}
    assert "CC BY-NC-ND 4.0" in (model.info.license or "")


def test_without_samples_the_way_to_them_is_told(tmp_path: Path) -> None:
    context = ModelContext(dataset("AAAAAAAAAAA_000007"))
    with pytest.raises(V2ABenchError, match=r"--samples DIR .*heng-hw/V2A-Mapper"):
        v2a_mapper("", context)
    with pytest.raises(V2ABenchError, match=r"no file belongs to a clip .* there is no sound files"):
        v2a_mapper(str(tmp_path), context)
