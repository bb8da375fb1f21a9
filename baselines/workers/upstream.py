"""The upstream repository of a model, at exactly the commit that its worker was written for."""

import os
import subprocess
from pathlib import Path

from v2abench.baselines.workers.cards import Repository
from v2abench.errors import V2ABenchError

_GIT = (
    "git", "-c", "advice.detachedHead=false", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60",
)  # fmt: skip
"""A connection that gives less than 1 kB/s for a minute has failed."""


def fault(folder: Path, repository: Repository) -> str | None:
    """Say what is wrong with the clone in `folder`, or None."""
    if not (folder / ".git").exists():
        return f"{folder} is no git repository"
    head = _git(folder, "rev-parse", "HEAD")
    if head.returncode != 0:
        return f"{folder}: git says: {_last(head)}"
    if head.stdout.strip() != repository.commit:
        return f"{folder} is at commit {head.stdout.strip()[:12]}, not {repository.commit[:12]}"
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no").stdout.splitlines()
    if changed:
        return f"{folder} has changed files, e.g. {changed[0][3:]}"
    if not (folder / repository.folder).is_dir():
        return f"{folder} has no folder {repository.folder}"
    return None


def fetch(folder: Path, repository: Repository) -> None:
    """Bring `folder` to the commit, from nothing or from where an earlier call ended.

    Raises `V2ABenchError` where git cannot, or where the folder holds changes of the user's.
    """
    if not (folder / ".git").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _must(folder, "init", "--quiet")
    if _git(folder, "cat-file", "-e", f"{repository.commit}^{{commit}}").returncode != 0:
        alone = _git(folder, "fetch", "--quiet", "--depth", "1", repository.url, repository.commit)
        if alone.returncode != 0:
            # A server that does not serve single commits.
            _must(folder, "fetch", "--quiet", "--tags", repository.url, "+refs/heads/*:refs/upstream/*")
    if _git(folder, "rev-parse", "--verify", "--quiet", "HEAD").stdout.strip() != repository.commit:
        _must(folder, "checkout", "--quiet", "--detach", repository.commit)
    wrong = fault(folder, repository)
    if wrong is not None:
        raise V2ABenchError(f"{wrong}; undo the changes, or remove {folder} and run setup again")


def verify(folder: Path, repository: Repository) -> None:
    """Raise `V2ABenchError` unless the user's clone `folder` is at the commit and unchanged."""
    wrong = fault(folder, repository)
    if wrong is not None:
        raise V2ABenchError(
            f"your clone: {wrong}; bring it there with: git -C {folder} fetch {repository.url} && "
            f"git -C {folder} checkout {repository.commit}, or name another with --repo"
        )


def _must(folder: Path, *arguments: str) -> None:
    done = _git(folder, *arguments)
    if done.returncode != 0:
        raise V2ABenchError(
            f"git {arguments[0]} failed in {folder}: {_last(done)}; run the command again, "
            "or clone it by hand and name it with --repo"
        )


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        quiet.pop(name, None)
    try:
        return subprocess.run(
            [*_GIT, "-C", str(folder), *arguments],
            capture_output=True, text=True, check=False, env=quiet, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise V2ABenchError("git is not installed; install it, then run setup again") from error


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {done.returncode}"
