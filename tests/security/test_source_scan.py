"""No source runs what a file says: no pickles, no shells, no archives that leave their folder."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("v2abench", "metrics", "baselines", "finetune", "leaderboards", "benchmarks")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))

UPSTREAM = {"worker_thinksound.py", "worker_foleycrafter.py"}
"""They run upstream's code in upstream's environment, and load its checkpoints as it does."""

MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "pd.read_pickle",
    "shutil.unpack_archive",
    "eval",
    "exec",
    "torch.hub.load",
}


def faults(source: str, name: str = "a.py") -> Iterator[str]:
    """What is wrong in a source, with its lines."""
    archives = "tarfile" in source or "zipfile" in source
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (f"{node.lineno}: imports {a.name}" for a in node.names if _banned(a.name, source))
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            wrong = {alias.name for alias in node.names} - {"UnpicklingError"}
            yield from (f"{node.lineno}: imports {node.module}.{what}" for what in sorted(wrong))
        elif isinstance(node, ast.Call):
            yield from (f"{node.lineno}: {what}" for what in _wrong_calls(node, name, archives))


def _banned(module: str, source: str) -> bool:
    """`pickle` may be imported for the name of its error alone."""
    if module != "pickle":
        return module.partition(".")[0] in MODULES
    used = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pickle"
    }
    return used != {"UnpicklingError"}


def _wrong_calls(call: ast.Call, name: str, archives: bool) -> Iterator[str]:
    called = ast.unparse(call.func)
    given = {word.arg: word.value for word in call.keywords}
    if called in CALLS or called.endswith(".to_pickle"):
        yield f"calls {called}"
    if called == "torch.load" and not _is(given.get("weights_only"), True) and name not in UPSTREAM:
        yield "torch.load without weights_only=True"
    if "allow_pickle" in given and not _is(given["allow_pickle"], False):
        yield "allow_pickle"
    if called.startswith("yaml.") and called not in {"yaml.safe_load", "yaml.safe_dump"}:
        yield f"calls {called}"
    if "shell" in given and not _is(given["shell"], False):
        yield "a shell"
    if archives and called.endswith((".extractall", ".extract")) and not _is(given.get("filter"), "data"):
        yield "extracts without filter='data'"


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is type(value) and node.value == value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_runs_what_a_file_says(path: Path) -> None:
    assert list(faults(path.read_text(encoding="utf-8"), path.name)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(f)",
        "from pickle import loads",
        "import joblib",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "subprocess.run(line, shell=True)",
        "subprocess.run(line, shell=wanted)",
        "os.system(line)",
        "eval(text)",
        "table.to_pickle(path)",
        "import tarfile\narchive.extractall(folder)",
        "import zipfile\narchive.extract(name, folder, filter='tar')",
    ],
)
def test_the_scan_finds(source: str) -> None:
    assert len(list(faults(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\ntry: pass\nexcept pickle.UnpicklingError: pass",
        "from pickle import UnpicklingError",
        "torch.load(path, weights_only=True)",
        "yaml.safe_load(text)",
        "model.eval()",
        "archive.extractall(folder, filter='data')",
        "subprocess.run([program, line], shell=False)",
    ],
)
def test_the_scan_leaves_alone(source: str) -> None:
    assert list(faults(source)) == []
