"""`v2abench models`, and the options of `eval` that go with models."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from v2abench import registry
from v2abench.baselines.workers.cards import built_in_cards
from v2abench.baselines.workers.catalogue import catalogue
from v2abench.clips import Clip, Dataset
from v2abench.models import Description, ModelContext

Run = Callable[..., object]
ISOLATED = ("thinksound", "foleycrafter", "seeing-and-hearing", "v-aura")


def rows(v2abench: Run) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in json.loads(v2abench("models", "list", "--json").out)}


def test_the_list_says_kind_text_licence_and_what_is_missing(v2abench: Run) -> None:
    found = rows(v2abench)
    for name in ISOLATED:
        assert found[name]["kind"] == "isolated"
        assert found[name]["state"] == f"not set up: v2abench models setup {name}"
        assert "NOT FOR COMMERCIAL USE" in found[name]["license"]
    texts = {name: found[name]["text"] for name in ISOLATED}
    assert texts == dict(zip(ISOLATED, ("optional", "optional", "required", "none"), strict=True))
    assert (found["v2a-mapper"]["kind"], found["v2a-mapper"]["state"]) == (
        "samples", "give its samples: --model v2a-mapper --samples DIR"
    )  # fmt: skip
    assert (found["noise"]["kind"], found["noise"]["state"]) == ("control", "ready")
    assert found["folder"]["kind"] == "files"
    assert "added" not in found
    shown = v2abench("models", "list").out
    assert all(name in shown for name in found)


def test_every_model_of_ours_is_described_without_its_code(v2abench: Run) -> None:
    """A model that is not in the catalogue would be imported, and described by a docstring."""
    ours = {
        name for name, entry in registry._entries("models").items() if entry.value.startswith("v2abench.")
    }
    assert ours - {"added"} == set(catalogue()) | set(built_in_cards())
    found = rows(v2abench)
    assert (found["mmaudio"]["kind"], found["mmaudio"]["text"]) == ("native", "optional")
    assert found["mmaudio"]["state"].startswith("fetched on first use: mmaudio_large_44k, ")
    assert found["frieren"]["state"].startswith("by hand (v2abench weights list): frieren; fetched on")


def test_the_catalogue_names_the_weights_that_models_need(videos: Path) -> None:
    context = ModelContext(Dataset("none", "none", (Clip("a", videos / "c.mp4"),)))
    for name, entry in catalogue().items():
        if entry.kind == "native":
            model = registry.load("models", name)("", context)
            assert set(entry.weights) == set(getattr(model, "weights", ())), name
            assert (entry.text != "none") == model.info.text_conditioned, name


def test_the_list_imports_nothing_heavy() -> None:
    code = (
        "import sys; from v2abench.cli import main; sys.argv = ['v2abench', 'models', 'list', '--json']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'pandas', 'scipy', 'av', 'pyarrow', 'cv2'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_plugins_describe_themselves_or_are_described_by_default(
    v2abench: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain(argument: str, context: object) -> None:
        """A plugin's model.

        More of it.
        """

    said = Description("native", "It says so", "required", "MIT", "ready")
    talking = SimpleNamespace(describe=lambda: said)

    def broken() -> None:
        raise ImportError("no module named theirs")

    registered = registry._entries("models")
    for name, load in (("plain", lambda: plain), ("talking", lambda: talking), ("broken", broken)):
        monkeypatch.setitem(registered, name, SimpleNamespace(load=load, value="theirs"))
    found = rows(v2abench)
    assert found["plain"]["summary"] == "A plugin's model."
    assert (found["talking"]["text"], found["talking"]["summary"]) == ("required", "It says so")
    assert "no module named theirs" in found["broken"]["state"]


@pytest.mark.parametrize("name", ISOLATED)
def test_a_dry_run_says_what_would_come_and_does_nothing(v2abench: Run, cache: Path, name: str) -> None:
    shown = v2abench("models", "setup", name, "--dry-run")
    assert shown.code == 0
    for words in (
        "NOT FOR COMMERCIAL USE",
        "to clone",
        "to fetch",
        "licence",
        "weights to download: ",
        "are free",
    ):
        assert words in shown.err
    assert shown.out == ""
    assert not list(cache.iterdir())


def test_names_are_checked_with_the_near_one(v2abench: Run) -> None:
    shown = v2abench("models", "setup", "thinksond", "--dry-run")
    assert (shown.code, "did you mean 'thinksound'" in shown.err) == (2, True)
    shown = v2abench("models", "setup", "noise")
    assert (shown.code, "noise is part of v2abench and needs no setup" in shown.err) == (2, True)
    shown = v2abench("models", "setup", "v2a-mapper")
    assert (shown.code, "v2a-mapper needs no setup" in shown.err) == (2, True)


def test_doctor_names_the_remedy_and_exits_with_two(v2abench: Run) -> None:
    shown = v2abench("models", "doctor", "thinksound")
    assert (shown.code, "v2abench models setup thinksound" in shown.out) == (2, True)
    shown = v2abench("models", "doctor", "v2a-mapper")
    assert (shown.code, "--samples DIR" in shown.out) == (0, True)


def test_a_command_is_added_listed_examined_and_evaluated(
    v2abench: Run, videos: Path, generated: Path, protocol_file: Path, tmp_path: Path
) -> None:
    copy = "import pathlib, shutil, sys; v = pathlib.Path(sys.argv[1]); shutil.copy(" \
           "next(pathlib.Path(sys.argv[3]).glob(v.stem + '.*')), sys.argv[2])"  # fmt: skip
    line = f"{sys.executable} -c \"{copy}\" {{video}} {{output}} '{generated}'"
    shown = v2abench("models", "add", "mine", "--command", line, "--text", "none", "--licence", "MIT")
    assert shown.code == 0, shown.err
    assert "use it as --model mine" in shown.err
    row = rows(v2abench)["mine"]
    assert (row["kind"], row["state"], row["text"], row["license"]) == ("command", "ready", "none", "MIT")
    assert v2abench("models", "doctor", "mine").code == 0
    shown = v2abench(
        "eval", "--model", "mine", "--name", "My model", "--dataset", f"folder:{videos}",
        "--protocol", protocol_file, "--output", tmp_path, "--workers", 0,
    )  # fmt: skip
    assert shown.code == 0, shown.err
    assert "My model: 6 of 6 clips ok" in shown.out


def test_a_program_named_by_its_place_is_found_from_elsewhere(
    v2abench: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert v2abench("models", "add", "mine", "--command", "./run.sh {video} {output}").code == 0
    monkeypatch.chdir("/")
    assert rows(v2abench)["mine"]["state"] == "ready"


def test_mistakes_in_adding_are_told(v2abench: Run) -> None:
    for option, line, words in (
        ("--command", "no-such-program-here {video} {output}", "is no program on the PATH"),
        ("--worker", "'unclosed", "close every quote"),
        ("--command", f"{sys.executable} {{video}}", "must name {output}"),
    ):
        shown = v2abench("models", "add", "mine", option, line)
        assert (shown.code, words in shown.err) == (2, True), shown.err
    shown = v2abench("models", "add", "mine")
    assert (shown.code, "either --worker or --command" in shown.err) == (2, True)


def test_published_samples_are_evaluated_under_a_name(
    v2abench: Run,
    videos: Path,
    generated: Path,
    protocol_file: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    samples = shutil.copytree(generated, tmp_path / "samples")
    line = [
        "eval",
        "--dataset",
        f"folder:{videos}",
        "--protocol",
        protocol_file,
        "--output",
        tmp_path / "runs",
    ]
    shown = v2abench(*line, "--workers", 0, "--model", "V2A=v2a-mapper", "--samples", samples)
    assert shown.code == 0, shown.err
    assert "6 of 6 clips have a sample of V2A-Mapper; 0 files belong to no clip" in caplog.messages
    assert "V2A: 6 of 6 clips ok" in shown.out
    out = tmp_path / "sounds"
    shown = v2abench(
        "generate", "--model", "v2a-mapper", "--samples", samples, "--dataset", f"folder:{videos}",
        "--out", out, "--workers", 0,
    )  # fmt: skip
    assert (shown.code, len(list(out.glob("*.flac")))) == (0, 6), shown.err
    for options, words in (
        (["--model", "noise", "--samples", samples], "--samples goes with --model v2a-mapper"),
        (["--model", "noise", "--model", "silence", "--name", "x"], "--name names one model"),
        (["--model", "noise", "--name", "a=b"], "a name without = and :"),
        (["--model", "thinksound"], "not set up here"),
        (["--model", "thinksond"], "did you mean 'thinksound'"),
    ):
        shown = v2abench(*line, *options)
        assert (shown.code, words in shown.err) == (2, True), shown.err
