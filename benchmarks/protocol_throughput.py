"""How many clips a second the networks of a protocol take, each alone and all in one pass; and decoding."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from extraction_passes import alone, everything, make_clips
from tables import Row, Table
from timing import seconds_of

from v2abench.clips import Dataset
from v2abench.contracts import Network
from v2abench.features.contents import hash_contents
from v2abench.features.extraction import Content, Extractor
from v2abench.features.plan import is_media, make_plan
from v2abench.home import home
from v2abench.impacts.datasets import impacts_dataset
from v2abench.media.reading import FrameStream, read_media
from v2abench.protocols.schema import Protocol, load_protocol
from v2abench.weights.deterministic import weights_mode

TEXTS = ("A wooden ball strikes a metal plate.", "A glass is struck twice.", "A drum, and then nothing.")


def networks_of(protocol: Protocol) -> list[Network]:
    """Return the networks of a protocol that work on media or text."""
    plan = make_plan(protocol.build_metrics(), protocol, Dataset("none", "none", ()))
    return [network for network in plan.networks.values() if is_media(network)]


def impacts_clips(folder: Path, count: int) -> list[Content]:
    """Return the first clips of the embedded benchmark, rendered where the cache lacks them."""
    del folder
    videos = [clip.video for clip in impacts_dataset("test", count, cache=home()).clips]
    found = hash_contents([video for video in videos if video])
    return [content for content in found.values() if isinstance(content, Content)]


def throughput(name: Literal["impacts", "light", "mmaudio"], count: int) -> Table:
    """Return processor seconds a clip of each network of a protocol, and of all media networks in one pass.

    `impacts` has its own weights and clips; the others deterministic weights, and clips of ten seconds.
    """
    protocol = load_protocol(name)
    own = name == "impacts"
    make: Callable[[Path, int], list[Content]] = impacts_clips if own else make_clips
    with tempfile.TemporaryDirectory() as folder, weights_mode("official" if own else "deterministic"):
        contents = make(Path(folder), count)
        extractor = Extractor(Path(folder) / "features", protocol.window)
        rows = _rows(extractor, networks_of(protocol), contents)
    note = (
        f"Protocol `{name}`, {count} clips, processor seconds, store included, weights loaded before. "
        "`alone` opens the files for each network again, `together` once."
    )
    return Table(f"extraction_{name}", f"Extraction: networks of {name}", rows, note)


def _rows(extractor: Extractor, networks: Sequence[Network], contents: Sequence[Content]) -> list[Row]:
    texts = [Content.of_text(text) for text in TEXTS]
    media = [network for network in networks if network.modality != "text"]
    seconds = {
        network.name: alone(extractor, network, contents if network in media else texts)
        for network in networks
    }
    rows = [_row(name, taken) for name, taken in seconds.items()]
    together = seconds_of(lambda: everything(extractor, media, contents), rounds=1) / len(contents)
    apart = sum(seconds[network.name] for network in media)
    return [*rows, _row("media networks, alone, summed", apart), _row("media networks, together", together)]


def _row(name: str, seconds: float) -> Row:
    return {"network": name, "CPU s a clip": seconds, "clips a CPU second": 1 / seconds}


def decoding(count: int) -> list[Table]:
    """Return processor seconds a clip for decoding its sound, and frames as networks want them."""
    wanted: dict[str, list[FrameStream]] = {"sound": []}
    for name in ("light", "mmaudio"):
        frames = {n.name: n.frames for n in networks_of(load_protocol(name)) if n.frames is not None}
        wanted |= {f"sound, frames of {network}": [stream] for network, stream in frames.items()}
        wanted[f"sound, all frames of {name}"] = list(dict.fromkeys(frames.values()))
    with tempfile.TemporaryDirectory() as folder:
        contents = make_clips(Path(folder), count, scale=24)
        rows: list[Row] = [
            {"wanted": what, "CPU s a clip": _opened(contents, streams)} for what, streams in wanted.items()
        ]
    note = f"The first 8 s of {count} clips of 10 s, 360 x 480 H.264 at 25 frames a second and AAC."
    return [Table("decoding", "Decoding", rows, note)]


def _opened(contents: Sequence[Content], streams: Sequence[FrameStream]) -> float:
    def work() -> None:
        for content in contents:
            read_media(content.path, seconds=8.0, sound=True, frames=streams)

    return seconds_of(work) / len(contents)
