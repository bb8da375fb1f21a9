"""What gets installed: every subpackage and data file, and nothing else at top level."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from v2abench import registry

ROOT = Path(__file__).parents[2]
ROOMS = {"v2abench": "v2abench"} | {
    room: f"v2abench/{room}" for room in ("baselines", "finetune", "leaderboards", "metrics")
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def tracked() -> list[str]:
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def expected_in_wheel() -> set[str]:
    """Every module and data file of the rooms, under its installed name."""
    found = set()
    for name in tracked():
        room, _, rest = name.partition("/")
        if room in ROOMS and rest:
            found.add(f"{ROOMS[room]}/{rest}")
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist, and the wheel built from it, offline."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return {"wheel": next(out.glob("*.whl")), "sdist": next(out.glob("*.tar.gz"))}


def test_the_wheel_holds_every_file_and_nothing_else_at_top_level(built: dict[str, Path]) -> None:
    names = {name for name in zipfile.ZipFile(built["wheel"]).namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in names} == {"v2abench"}
    assert names == expected_in_wheel()


def test_the_sdist_holds_what_the_wheel_needs(built: dict[str, Path]) -> None:
    with tarfile.open(built["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names
    assert {name for name in tracked() if name.partition("/")[0] in ROOMS} <= names


def test_the_wheel_works_in_a_new_environment_without_dependencies(
    built: dict[str, Path], tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv/bin/python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", built["wheel"]]
    subprocess.run(install, check=True, capture_output=True)
    code = (
        "import importlib.util as u, importlib.metadata as m, v2abench, sys;"
        "print(v2abench.__version__, v2abench.__file__);"
        "print(*(e.value for g in ('metrics', 'networks', 'models', 'datasets')"
        " for e in m.entry_points(group='v2abench.' + g)), sep='\\n')"
    )
    shown = subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout
    first, *entries = shown.splitlines()
    assert str(tmp_path / "venv") in first
    site = Path(first.split()[1]).parent.parent
    for value in entries:
        module = site / (value.partition(":")[0].replace(".", "/") + ".py")
        assert module.is_file(), value
    assert not (site / "metrics").exists()
    assert not (site / "tests").exists()


def test_pyproject_lists_every_package() -> None:
    packages = {
        str(Path(ROOMS[name.partition("/")[0]], name.partition("/")[2]).parent).replace("/", ".")
        for name in tracked()
        if name.partition("/")[0] in ROOMS and name.endswith("__init__.py")
    }
    assert packages == set(PROJECT["tool"]["setuptools"]["packages"])


def test_the_editable_install_finds_the_rooms() -> None:
    code = "import v2abench.metrics, v2abench.baselines; print(v2abench.metrics.__file__)"
    shown = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd="/"
    ).stdout
    assert Path(shown.strip()) == ROOT / "metrics/__init__.py"


def test_no_entry_point_is_broken() -> None:
    for group in ("metrics", "networks", "models", "datasets"):
        for name in registry.names(group):
            assert callable(registry.load(group, name)), (group, name)
