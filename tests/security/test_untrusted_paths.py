"""Manifests, run folders and archives of strangers name only what is theirs."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from v2abench.api import Options, evaluate
from v2abench.baselines.workers.checkpoints import _unpack
from v2abench.clips import Clip
from v2abench.datasets.opening import DatasetOptions, check_ids, open_dataset
from v2abench.errors import ClipFault, V2ABenchError
from v2abench.files import content_hash, inside, inside_for_good
from v2abench.finetune.preferences.samples import Sample, SampleFolder
from v2abench.leaderboards.gallery_media import Maker
from v2abench.protocols.schema import Protocol
from v2abench.runs.inputs import FileRecord


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "/root-else/x", "..", "a/../.."])
def test_names_that_leave_their_root(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path / "root", name) is None


@pytest.mark.parametrize("name", ["x", "a/../x", "./a/b", "..x", "a..b/c"])
def test_names_that_stay(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name) == tmp_path / name


def test_links_that_leave_their_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_bytes(b"")
    (root / "link").symlink_to(tmp_path / "secret")
    assert inside(root, "link") == root / "link"
    assert inside_for_good(root, "link") is None
    (root / "own").symlink_to(root / "file")
    assert inside_for_good(root, "own") == root / "own"


@pytest.mark.parametrize("column", ["video", "reference"])
@pytest.mark.parametrize("name", ["../secret.mp4", "/etc/secret.mp4", "media/../../secret.mp4"])
def test_a_manifest_names_nothing_outside(tmp_path: Path, column: str, name: str) -> None:
    row = {"video": "a.mp4", column: name}
    manifest = tmp_path / "set" / "m.jsonl"
    manifest.parent.mkdir()
    manifest.write_text(json.dumps(row) + "\n")
    with pytest.raises(V2ABenchError, match=r"m\.jsonl:1: .*secret\.mp4.* is not below .*--data-root"):
        open_dataset(str(manifest))


def test_data_root_widens_what_a_manifest_may_name(tmp_path: Path) -> None:
    manifest = tmp_path / "m.tsv"
    manifest.write_text(f"video\n{tmp_path / 'elsewhere' / 'a.mp4'}\n")
    (clip,) = open_dataset(str(manifest), DatasetOptions(data_root=Path("/"))).clips
    assert clip.video == tmp_path / "elsewhere" / "a.mp4"


@pytest.mark.parametrize("name", ["../a", "a/b", "/a", "a\\b", "..", ".", "", " ", "a\nb", "a\0b", "\udc80"])
def test_ids_become_file_names_and_nothing_else(name: str) -> None:
    with pytest.raises(V2ABenchError, match="ids become file names"):
        check_ids((Clip(name, Path("a.mp4")),), "m.tsv")


def test_a_gallery_shows_only_what_was_evaluated(videos: Path, generated: Path, tmp_path: Path) -> None:
    """A stranger's run may name any file of this machine, but does not know what is in it."""
    private, sound = videos / "c.mp4", generated / "d.flac"
    maker = Maker(tmp_path / "media")
    with pytest.raises(ClipFault, match=r"c\.mp4 is not the file that was evaluated"):
        maker.still(FileRecord(path=str(private), hash="0" * 40))
    known = FileRecord(path=str(private), hash=content_hash(private))
    with pytest.raises(ClipFault, match=r"d\.flac is not the file"):
        maker.video(known, FileRecord(path=str(sound), hash="../../../x"), 1.0)
    assert not (tmp_path / "media").exists()
    assert (tmp_path / "media" / maker.still(known)).is_file()


def test_sounds_are_not_written_through_links(videos: Path, protocol: Protocol, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.wav").write_bytes(b"precious")
    run = tmp_path / "runs" / videos.name / "tiny" / "noise"
    run.mkdir(parents=True)
    (run / "audio").symlink_to(elsewhere)
    with pytest.raises(V2ABenchError, match=r"audio is a link, .* remove it"):
        evaluate("noise", f"folder:{videos}", protocol, Options(output=tmp_path / "runs", bootstrap=0))
    assert [path.name for path in elsewhere.iterdir()] == ["mine.wav"]


def test_links_in_a_run_folder_are_neither_followed_nor_kept(
    videos: Path, protocol: Protocol, tmp_path: Path
) -> None:
    """A sound, the notes and the report that are links are replaced or refused; their targets stay."""
    options = Options(output=tmp_path / "runs", bootstrap=0)
    first = evaluate("noise", f"folder:{videos}", protocol, options)
    secret = tmp_path / "secret"
    shutil.copy(videos / "d.mp4", secret)
    before = secret.read_bytes()
    for name in ("audio/c.flac", "report.json"):
        (first.folder / name).unlink()
        (first.folder / name).symlink_to(secret)
    again = evaluate(
        "noise", f"folder:{videos}", protocol, Options(output=tmp_path / "runs", bootstrap=0, overwrite=True)
    )
    assert again.report == first.report
    assert not (first.folder / "audio/c.flac").is_symlink()
    assert not (first.folder / "report.json").is_symlink()
    (first.folder / "audio/notes.jsonl").symlink_to(secret)
    with pytest.raises(V2ABenchError, match=r"notes\.jsonl is a link"):
        evaluate("noise", f"folder:{videos}", protocol, options)
    assert secret.read_bytes() == before


@pytest.mark.parametrize("name", ["../secret.flac", "/etc/hostname", "link.flac"])
def test_a_sample_folder_names_nothing_outside(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.flac").write_bytes(b"")
    folder = tmp_path / "samples"
    folder.mkdir()
    (folder / "link.flac").symlink_to(tmp_path / "secret.flac")
    sample = Sample("a#0", "a", 0, 0, name, None, None, None)
    with pytest.raises(V2ABenchError, match="lies elsewhere"):
        SampleFolder(folder, {}, {}, (sample,)).audio(sample)


@pytest.mark.parametrize("kind", ["parent", "absolute", "link"])
def test_an_archive_cannot_leave_its_folder(tmp_path: Path, kind: str) -> None:
    archive, target = tmp_path / "a.tar", tmp_path / "models" / "net"
    target.parent.mkdir()
    with tarfile.open(archive, "w") as made:
        made.addfile(tarfile.TarInfo("net/"), io.BytesIO())
        name = {"parent": "../../evil", "absolute": str(tmp_path / "evil"), "link": "net/link"}[kind]
        entry = tarfile.TarInfo(name)
        if kind == "link":
            entry.type, entry.linkname = tarfile.SYMTYPE, "../../../evil"
        entry.size = 0
        made.addfile(entry, io.BytesIO())
    if kind == "absolute":
        # The `data` filter makes it relative: it lands inside.
        with pytest.raises(V2ABenchError, match="does not unpack"):
            _unpack(archive, tmp_path / "models" / "other")
    else:
        with pytest.raises(V2ABenchError, match="does not unpack"):
            _unpack(archive, target)
    assert not (tmp_path / "evil").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "models"]
    assert list((tmp_path / "models").iterdir()) == []
