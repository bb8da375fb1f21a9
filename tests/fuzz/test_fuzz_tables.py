"""Damaged manifests, recipes and protocols end in clips, or in an error that a user understands."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from steady import FUZZ

from v2abench.datasets.opening import open_dataset
from v2abench.errors import V2ABenchError
from v2abench.finetune.recipe import DPORecipe, load_recipe
from v2abench.protocols.schema import load_protocol
from v2abench.runs.inputs import read_inputs
from v2abench.runs.report import read_report

WORDS = st.sampled_from(
    [
        "id",
        "video",
        "speech",
        "reference",
        "a.mp4",
        "../x",
        "/x",
        "-",
        "\t",
        ",",
        "\n",
        "\r",
        '"',
        "{",
        "}",
        "é",
    ]
)
TEXTS = st.one_of(
    st.binary(max_size=200),
    st.lists(st.one_of(WORDS, st.text(max_size=8)), max_size=40).map(
        lambda words: "".join(words).encode("utf-8", "surrogatepass")
    ),
)
PIECES = ["name: x\n", "version: 1\n", "method: dpo\n", "- a\n", "x: 2001-99-99\n", "&a [*a]\n", ": ", *"{["]
YAML = TEXTS | st.lists(st.sampled_from([*PIECES, "!!python/object:os.system "])).map("".join).map(str.encode)
PLAIN = st.none() | st.booleans() | st.floats() | st.text(max_size=6)
ROWS = st.dictionaries(
    st.sampled_from(["id", "video", "reference", "speech", "label"]),
    PLAIN | st.lists(PLAIN, max_size=2),
)


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl"])
@FUZZ
@example(text=b"video\nx" + b"a" * 200_000 + b"\n")
@example(text=b'video\na"\x00b\n')
@example(text=b"[" * 100_000)
@example(text=b'{"video": ' + b"9" * 5000 + b"}")
@example(text=b'{"video": "\\ud800.mp4"}')
@given(text=TEXTS)
def test_manifests(suffix: str, text: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(text)
    try:
        dataset = open_dataset(str(path))
    except V2ABenchError:
        return
    for clip in dataset.clips:
        assert clip.video.is_relative_to(tmp_path)
        assert not clip.video.exists()


@FUZZ
@given(row=ROWS)
def test_json_rows_of_any_types(row: dict, tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(row) + "\n")
    try:
        (clip,) = open_dataset(str(path)).clips
    except V2ABenchError:
        return
    assert not clip.video.exists()


@FUZZ
@example(text=b"x: 2001-99-99")
@example(text=b"[" * 3000)
@example(text=b"\xff")
@given(text=YAML)
def test_protocols(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(text)
    with pytest.raises(V2ABenchError):
        load_protocol(str(path))


@FUZZ
@example(text=b"x: 2001-99-99", override="beta=1")
@example(text=b"[" * 3000, override="beta=1")
@example(text=b"\xff", override="beta=1")
@example(text=b"method: dpo", override="a={e")
@example(text=b"method: dpo", override="a=2001-99-99")
@example(text=b"beta: 1", override="a=[[e")
@given(text=YAML, override=st.text(max_size=12))
def test_recipes(text: bytes, override: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(text)
    with pytest.raises(V2ABenchError):
        load_recipe(DPORecipe, str(path), [override, "no-such-field=1"])


@pytest.mark.parametrize("name", ["report.json", "inputs.json"])
@FUZZ
@example(text=b"[" * 100_000)
@example(text=b"9" * 5000)
@given(text=TEXTS)
def test_run_folders(name: str, text: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(V2ABenchError):
        (read_report if name == "report.json" else read_inputs)(tmp_path)
