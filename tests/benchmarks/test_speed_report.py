"""The benchmark report: what one command writes."""

import platform
import subprocess
import sys
from pathlib import Path

import pandas as pd

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "report.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )


def test_a_quick_report_writes_markdown_and_a_csv_for_each_table(tmp_path: Path) -> None:
    done = run("--output", str(tmp_path), "--quick", "--only", "mathematics", "store")

    assert done.returncode == 0, done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {"report.md", "mathematics.csv", "store.csv"}
    compared = pd.read_csv(tmp_path / "mathematics.csv")
    assert {"metric", "peer", "ours", "theirs", "difference", "ours s", "theirs s", "ratio"} <= {
        *compared.columns
    }
    assert {("FD", "scipy"), ("KL", "scipy")} <= set(zip(compared["metric"], compared["peer"], strict=True))
    assert compared["difference"].max() < 1e-6
    stored = pd.read_csv(tmp_path / "store.csv")
    assert list(stored.columns) == [
        "clips", "write ms", "missing ms", "read ms", "kB on disk", "kB of values",
    ]  # fmt: skip
    assert (stored["kB on disk"] > 0.9 * stored["kB of values"]).all()
    text = (tmp_path / "report.md").read_text()
    assert "## Metric mathematics beside peers" in text
    assert "## Feature store" in text
    assert "Quick" in text


def test_a_report_says_nothing_of_names_and_paths_of_the_machine(tmp_path: Path) -> None:
    assert run("--output", str(tmp_path), "--quick", "--only", "store").returncode == 0

    text = (tmp_path / "report.md").read_text()
    assert str(tmp_path) not in text
    assert platform.node() not in text


def test_peers_that_are_not_there_are_an_error_that_names_the_remedy(tmp_path: Path) -> None:
    done = run(
        "--output", str(tmp_path), "--quick", "--only", "mathematics", "--peers", str(tmp_path / "python")
    )

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("name a Python interpreter")
