"""Help is instant: no command line that only prints imports torch."""

import subprocess
import sys

import pytest

COMMANDS = [
    [],
    ["eval"],
    ["generate"],
    ["check"],
    ["doctor"],
    ["leaderboard"],
    ["leaderboard", "build"],
    ["models", "list"],
    ["models", "setup"],
    ["models", "doctor"],
    ["models", "add"],
    ["metrics", "list"],
    ["datasets", "list"],
    ["protocols", "list"],
    ["weights"],
    ["weights", "list"],
    ["weights", "pull"],
    ["weights", "verify"],
    ["weights", "path"],
    ["cache"],
    ["cache", "info"],
    ["cache", "verify"],
    ["cache", "gc"],
]
CODE = """
import sys
from v2abench.cli import main
sys.argv = ["v2abench", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    heavy = {"torch", "numpy", "pandas", "scipy", "av", "pyarrow", "cv2"} & set(sys.modules)
    print("imported:", sorted(heavy))
    raise
"""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *command, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: v2abench" in done.stdout
    assert "imported: []" in done.stdout


def test_version_prints_and_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "v2abench", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("v2abench 0.")
