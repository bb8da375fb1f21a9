"""`folder:` datasets and manifests: what a user writes, and what they are told when it is wrong."""

import json
from pathlib import Path

import pytest

from v2abench.datasets.opening import DatasetOptions, open_dataset
from v2abench.errors import UnknownNameError, V2ABenchError


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_folder_takes_videos_by_stem_sorted_and_leaves_the_rest(tmp_path: Path) -> None:
    folder = touch(tmp_path / "v", "b.mp4", "a b+é.MKV", "-x.webm", "notes.txt", ".hidden.mp4", "sound.wav")
    dataset = open_dataset(f"folder:{folder}")
    assert [clip.id for clip in dataset.clips] == ["-x", "a b+é", "b"]
    assert dataset.clips[2].video == dataset.clips[2].reference == folder / "b.mp4"
    assert dataset.name == "v"


def test_reference_folder_replaces_the_videos_own_sound(tmp_path: Path) -> None:
    videos = touch(tmp_path / "v", "a.mp4", "b.mp4")
    sounds = touch(tmp_path / "s", "a.flac")
    clips = open_dataset(f"folder:{videos}", DatasetOptions(reference=sounds)).clips
    assert [clip.reference for clip in clips] == [sounds / "a.flac", None]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a.mp4", "a.mov"), r"a\.mov and a\.mp4"),
        (("a.wav",), "no videos directly inside"),
    ],
)
def test_a_folder_that_cannot_be_a_dataset_is_refused(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    touch(tmp_path / "v", *names)
    with pytest.raises(V2ABenchError, match=message):
        open_dataset(f"folder:{tmp_path / 'v'}")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(V2ABenchError, match="nowhere is not a folder"):
        open_dataset(f"folder:{tmp_path / 'nowhere'}")


def test_unknown_datasets_suggest_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'vggsound'"):
        open_dataset("vggsond")


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl"])
def test_manifests_mean_the_same_in_every_format(tmp_path: Path, suffix: str) -> None:
    rows = [
        {
            "id": "one",
            "video": "v/1.mp4",
            "reference": "",
            "prompt": "a dog, barking",
            "label": "dog",
            "speech": "",
        },
        {"id": "", "video": "v/2.mp4", "reference": "r/2.wav", "prompt": "", "label": "", "speech": "true"},
        {
            "id": "three",
            "video": "v/3.mp4",
            "reference": "-",
            "prompt": "NA",
            "label": "null",
            "speech": "no",
        },
    ]
    path = tmp_path / f"m{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        mark = "\t" if suffix == ".tsv" else ","
        quote = (lambda s: s) if suffix == ".tsv" else (lambda s: f'"{s}"')
        lines = [mark.join(rows[0]), *(mark.join(quote(v) for v in row.values()) for row in rows)]
        path.write_text("\n".join(lines), encoding="utf-8")
    one, two, three = open_dataset(str(path)).clips
    assert (one.id, one.video, one.reference) == ("one", tmp_path / "v/1.mp4", tmp_path / "v/1.mp4")
    assert (one.prompt, one.label, one.speech) == ("a dog, barking", "dog", False)
    assert (two.id, two.reference, two.prompt, two.label, two.speech) == (
        "2",
        tmp_path / "r/2.wav",
        None,
        None,
        True,
    )
    assert (three.reference, three.prompt, three.label, three.speech) == (None, "NA", "null", False)


def test_manifest_paths_follow_data_root(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("video\nx.mp4\n")
    clip = open_dataset(str(tmp_path / "m.tsv"), DatasetOptions(data_root=tmp_path / "root")).clips[0]
    assert clip.video == tmp_path / "root/x.mp4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id\tvideo\na\tx.mp4\na\ty.mp4\n", "unique, but a stand more than once"),
        ("id\tvideo\na/b\tx.mp4\n", "'a/b' cannot"),
        ("id\tvideo\n..\tx.mp4\n", "'..' cannot"),
        ("id\tclip\na\tx.mp4\n", "has no `video`; the columns are id, clip"),
        ("id\tvideo\na\n", "another number of columns"),
        ("id\tvideo\tspeech\na\tx.mp4\tmaybe\n", "speech is 'maybe'"),
        ("id\tvideo\n", "has no clips"),
    ],
)
def test_wrong_manifests_are_told_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.tsv"
    path.write_text(text)
    with pytest.raises(V2ABenchError, match=message):
        open_dataset(str(path))


def test_broken_json_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"video": "a.mp4"}\n{"video": \n')
    with pytest.raises(V2ABenchError, match=r"m\.jsonl:2 is not JSON"):
        open_dataset(str(path))


def test_latin1_manifest_is_told_to_be_utf8(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes("video\ncafé.mp4\n".encode("latin-1"))
    with pytest.raises(V2ABenchError, match="not UTF-8"):
        open_dataset(str(path))


def test_limit_takes_the_first_and_must_be_positive(tmp_path: Path) -> None:
    folder = touch(tmp_path / "v", "a.mp4", "b.mp4", "c.mp4")
    assert len(open_dataset(f"folder:{folder}", DatasetOptions(limit=2)).clips) == 2
    with pytest.raises(V2ABenchError, match="--limit 0"):
        open_dataset(f"folder:{folder}", DatasetOptions(limit=0))


def test_vggsound_reads_mmaudios_list_and_keeps_missing_videos(tmp_path: Path) -> None:
    touch(tmp_path, "-0abc_000010.mp4")
    (tmp_path / "vgg-test.tsv").write_text(
        "id\tlabel\n-0abc_000010\tmale speech, man speaking\nzz_000001\tdog barking\n"
    )
    one, two = open_dataset("vggsound", DatasetOptions(data_root=tmp_path)).clips
    assert (one.id, one.speech, one.prompt) == ("-0abc_000010", True, "male speech, man speaking")
    assert (two.id, two.speech, two.video.name) == ("zz_000001", False, "zz_000001.mp4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no list"),
        ("id\tlabel\nzz\tdog\n", "none of the 1 videos is there"),
        ("name\tlabel\nzz\tdog\n", "has no id; the list needs a header"),
    ],
)
def test_vggsound_that_is_not_there_is_told(tmp_path: Path, text: str | None, message: str) -> None:
    if text:
        (tmp_path / "vgg-test.tsv").write_text(text)
    with pytest.raises(V2ABenchError, match=message):
        open_dataset("vggsound", DatasetOptions(data_root=tmp_path))


def test_vggsound_asks_for_its_root() -> None:
    with pytest.raises(V2ABenchError, match="needs --data-root"):
        open_dataset("vggsound")
