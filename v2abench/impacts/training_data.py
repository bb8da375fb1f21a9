"""Scenes as arrays, for training: rendered once, cached, without any encoding.

A cache folder holds shards of 100 scenes: `frames-NNNN.npy` (small pictures),
`sounds-NNNN.npy` (16-bit), `mels-NNNN.npy` and `events-NNNN.npy`, each of which
appears whole or not at all, so that a killed run goes on where it stopped. The
arrays depend on world version, split and index only.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from v2abench.errors import V2ABenchError
from v2abench.files import atomic
from v2abench.home import home
from v2abench.impacts.materials import MATERIALS
from v2abench.impacts.pictures import render_frames
from v2abench.impacts.scenes import (
    MOST_EVENTS,
    VERSION,
    Scene,
    make_scene,
    material_and_kind,
    split_size,
)
from v2abench.impacts.sounds import render_sound
from v2abench.impacts.spectrograms import log_mel
from v2abench.progress import Progress, silent

PIXELS = 48
"""Width and height of the small pictures: half the world's, by averaging."""
SHARD = 100

Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class TrainingData:
    """The first `count` scenes of `split`; arrays are read from disk as they are asked for."""

    split: str
    count: int
    folder: Path

    def frames(self, indices: Sequence[int] | NDArray[np.int64]) -> Pictures:
        """Return the pictures of some scenes, (len(indices), 100, 48, 48, 3) uint8 RGB."""
        return np.stack([self._frames[i // SHARD][i % SHARD] for i in indices])

    def sounds(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the sounds of some scenes, (len(indices), 64000) float32 at 16 kHz."""
        chosen = np.stack([self._sounds[i // SHARD][i % SHARD] for i in indices])
        return np.asarray(chosen / np.float32(32767))

    @cached_property
    def mels(self) -> NDArray[np.float16]:
        """The log-mel spectrograms of all scenes, (count, 400, 64) float16; kept in memory."""
        return np.concatenate([np.load(path) for path in self._files("mels")])[: self.count]

    @cached_property
    def events(self) -> NDArray[np.float64]:
        """The times of each scene's events in seconds, (count, 8) ascending, NaN where there are fewer."""
        return np.concatenate([np.load(path) for path in self._files("events")])[: self.count]

    @cached_property
    def materials(self) -> NDArray[np.int64]:
        """The number of each scene's material in `MATERIALS`, (count,)."""
        pairs = (material_and_kind(self.split, index) for index in range(self.count))
        return np.array([MATERIALS.index(material) for material, _ in pairs])

    @cached_property
    def scenes(self) -> tuple[Scene, ...]:
        """The scenes themselves; made anew, in some 10 ms each."""
        return tuple(make_scene(self.split, index) for index in range(self.count))

    @cached_property
    def _frames(self) -> list[Pictures]:
        return [np.load(path, mmap_mode="r") for path in self._files("frames")]

    @cached_property
    def _sounds(self) -> list[NDArray[np.int16]]:
        return [np.load(path, mmap_mode="r") for path in self._files("sounds")]

    def _files(self, what: str) -> list[Path]:
        return [_file(self.folder, what, shard) for shard in range(-(-self.count // SHARD))]


def training_data(
    split: str,
    count: int | None = None,
    *,
    cache: Path | None = None,
    workers: int = 2,
    progress: Progress = silent,
) -> TrainingData:
    """Return the first `count` scenes of `split` (all where None), rendering what the cache lacks.

    They lie in `<cache>/impacts/<version>/arrays/<split>/`, by default under
    `v2abench.home.home()`; whole shards of 100 are rendered by `workers` processes.
    Raises `V2ABenchError` for an unknown split and a folder that cannot be written.
    """
    size = split_size(split)
    wanted = size if count is None else min(count, size)
    folder = (cache or home()) / "impacts" / VERSION / "arrays" / split
    shards = range(-(-wanted // SHARD))
    missing = [shard for shard in shards if not _is_whole(folder, shard)]
    with progress(f"render impacts {split}", len(missing) * SHARD) as advance:
        for _ in _rendered(split, missing, folder, workers):
            advance(SHARD)
    return TrainingData(split, wanted, folder)


def _is_whole(folder: Path, shard: int) -> bool:
    return all(_file(folder, what, shard).is_file() for what in ("frames", "sounds", "mels", "events"))


def _file(folder: Path, what: str, shard: int) -> Path:
    return folder / f"{what}-{shard:04d}.npy"


def _rendered(split: str, shards: Sequence[int], folder: Path, workers: int) -> Iterator[None]:
    if workers <= 1 or len(shards) < 2:
        for shard in shards:
            _write_shard(split, shard, folder)
            yield
        return
    try:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield from pool.map(_write_shard, repeat(split), shards, repeat(folder))
    except BrokenProcessPool as error:
        raise V2ABenchError(
            "a worker process that rendered impacts scenes died: it ran out of memory, or your script "
            "lacks `if __name__ == '__main__':`; call it again (what is done is kept) with workers=1"
        ) from error


def _write_shard(split: str, shard: int, folder: Path) -> None:
    """Write what the shard lacks; of four files each appears when all of it is known."""
    scenes = [make_scene(split, i) for i in range(shard * SHARD, min((shard + 1) * SHARD, split_size(split)))]
    if not _file(folder, "frames", shard).is_file():
        _keep(_file(folder, "frames", shard), np.stack([small(render_frames(scene)) for scene in scenes]))
    if not _file(folder, "sounds", shard).is_file():
        sounds = np.stack([render_sound(scene).samples[0] for scene in scenes])
        _keep(_file(folder, "sounds", shard), np.rint(sounds * 32767).astype(np.int16))
    heard = np.load(_file(folder, "sounds", shard)) / np.float32(32767)
    _keep(_file(folder, "mels", shard), np.stack([log_mel(sound) for sound in heard]).astype(np.float16))
    events = np.full((len(scenes), MOST_EVENTS), np.nan)
    for row, scene in zip(events, scenes, strict=True):
        row[: len(scene.events)] = [event.time_s for event in scene.events]
    _keep(_file(folder, "events", shard), events)


def _keep(path: Path, array: NDArray[np.generic]) -> None:
    with atomic(path) as temporary:
        np.save(temporary, array)


def small(frames: Pictures) -> Pictures:
    """Return (n, 96, 96, 3) frames at half their width and height, each pixel the mean of four."""
    scaled = [cv2.resize(frame, (PIXELS, PIXELS), interpolation=cv2.INTER_AREA) for frame in frames]
    return np.asarray(scaled, dtype=np.uint8)
