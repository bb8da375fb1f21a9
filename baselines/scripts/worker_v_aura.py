"""V-AURA, at the repository commit of its card; runs in the repository's root.

Upstream's data loader needs the video's sound and files of one length, so the frames are
read here. Sound is made in windows of 2.56 s that move by 0.64 s, counted in whole
segments of 16 frames: every window then has exactly the 4 segments that the null
condition of the guidance is made for.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from typing import Any

from v2a_worker import Order, Sound, WorkerError, need_files, serve

SAMPLE_RATE = 44100
TOKEN_SAMPLES = 512
TOKENS_PER_SECOND = 86
FRAME_RATE = 25
SEGMENT_FRAMES = 16
SEGMENT_SECONDS = SEGMENT_FRAMES / FRAME_RATE
WINDOW_SEGMENTS = 4
WINDOW_TOKENS = math.ceil(WINDOW_SEGMENTS * SEGMENT_SECONDS * TOKENS_PER_SECOND)
STRIDE_TOKENS = int(SEGMENT_SECONDS * TOKENS_PER_SECOND)
TOKENS_PER_FRAME = 7
CODEBOOKS = 9
CEILING = 10 ** (-6 / 20)
EXPERIMENT = "logs/24-08-01T08-34-26"
AVCLIP = "segment_avclip/vggsound/best.pt"
DAC = "dac/weights_44khz_8kbps_0.0.1.pth"


def windows(segments: int) -> int:
    """How many windows upstream's loop makes for so many segments of video."""
    total = int(segments * SEGMENT_SECONDS * TOKENS_PER_SECOND)
    return 1 if segments <= WINDOW_SEGMENTS else 1 + math.ceil((total - WINDOW_TOKENS) / STRIDE_TOKENS)


def tokens(segments: int) -> int:
    """How many tokens they give."""
    if segments <= WINDOW_SEGMENTS:
        return int(segments * SEGMENT_SECONDS * TOKENS_PER_SECOND)
    return WINDOW_TOKENS + STRIDE_TOKENS * (windows(segments) - 1)


def segments_for(seconds: float) -> int:
    """The least number of segments, 4 or more, whose sound is not shorter than `seconds`."""
    segments = WINDOW_SEGMENTS
    while tokens(segments) * TOKEN_SAMPLES < seconds * SAMPLE_RATE:
        segments += 1
    return segments


class VAura:
    """The sampler with its visual encoder and the DAC decoder."""

    name = "v-aura"
    capabilities = {
        "prompt": False,
        "negative_prompt": False,
        "cot": False,
        "options": ["cfg", "temperature", "top_k"],
    }

    def load(self, device: str) -> dict[str, Any]:
        """Load the checkpoint of the lowest validation loss, with local paths in its hyperparameters."""
        need_files(EXPERIMENT, AVCLIP, DAC)
        import torch
        from models.vaura_model import VAURAModel

        checkpoint = best_checkpoint(EXPERIMENT)
        with tempfile.TemporaryDirectory() as scratch:
            hparams = local_hparams(EXPERIMENT, scratch)
            model = VAURAModel.load_from_checkpoint(
                checkpoint, hparams_file=hparams, map_location=torch.device(device)
            )
        model = model.to(device).eval()
        model.sampler.audio_tokens_per_video_frame = TOKENS_PER_FRAME
        if device == "cpu":
            # Its constructor makes the codec float16, for which CPUs lack operations.
            model.audio_encoder.model.float()
        self.model, self.device = model, device
        return {"sample_rate": SAMPLE_RATE, "channels": 1, "device": device}

    def generate(self, order: Order) -> Sound:
        """Draw the tokens window by window, decode them together, clamp as upstream does."""
        import torch

        segments = segments_for(order.seconds)
        frames = self._frames(order, segments).to(self.device)
        torch.manual_seed(order.seed)
        with torch.no_grad():
            if segments == WINDOW_SEGMENTS:
                audio = self._draw(order, frames, None, tokens(segments))["generated_audio"]
            else:
                drawn = self._windows(order, frames, windows(segments))
                audio = self.model.audio_encoder.decode([(drawn[..., :CODEBOOKS, :], None)])
        samples = audio.float().clamp(-CEILING, CEILING).reshape(1, -1)
        return Sound(samples.cpu().numpy(), SAMPLE_RATE)

    def _windows(self, order: Order, frames: Any, count: int) -> Any:
        import torch

        parts, prompt = [], None
        for start in range(count):
            seen = frames[:, start : start + WINDOW_SEGMENTS].contiguous()
            drawn = self._draw(order, seen, prompt, WINDOW_TOKENS)["sampled_indices"]
            parts.append(drawn if prompt is None else drawn[:, :, prompt.shape[-1] :])
            prompt = drawn[:, :, STRIDE_TOKENS:]
            order.progress("window", start + 1, count)
        return torch.cat(parts, dim=-1)

    def _draw(self, order: Order, frames: Any, prompt: Any, count: int) -> Any:
        return self.model.generate(
            frames=frames,
            audio=prompt,
            max_new_tokens=count,
            return_sampled_indices=True,
            use_sampling=True,
            temp=float(order.option("temperature", 1.0)),
            top_k=int(order.option("top_k", 128)),
            top_p=0,
            remove_prompts=False,
            prompt_is_encoded=True,
            cfg_scale=float(order.option("cfg", 6.0)),
        )

    def _frames(self, order: Order, segments: int) -> Any:
        """The video as (1, segments, 3, 16, 224, 224), the last frame repeated where it is too short."""
        import torch

        wanted = segments * SEGMENT_FRAMES
        pictures = read_frames(order.video, wanted)
        if len(pictures) < SEGMENT_FRAMES:
            raise WorkerError("video_too_short", "%d frames at 25 fps, 16 are needed" % len(pictures))
        if len(pictures) < wanted:
            order.warn(
                "video of %.2f s where %.2f s are generated: its last frame is repeated"
                % (len(pictures) / FRAME_RATE, wanted / FRAME_RATE)
            )
            pictures += [pictures[-1]] * (wanted - len(pictures))
        video = torch.stack(pictures).reshape(segments, SEGMENT_FRAMES, 3, 224, 224)
        return video.permute(0, 2, 1, 3, 4).unsqueeze(0).contiguous()


def best_checkpoint(folder: str) -> str:
    """The `.ckpt` below `folder` with the lowest `val_loss=` in its name."""
    found = []
    for place, _folders, names in os.walk(folder):
        for name in names:
            loss = re.search(r"val_loss=(\d+(?:\.\d+)?)", name)
            if name.endswith(".ckpt"):
                found.append((float(loss.group(1)) if loss else math.inf, os.path.join(place, name)))
    if not found:
        raise WorkerError("missing_checkpoint", "no .ckpt below " + os.path.abspath(folder))
    return min(found)[1]


def local_hparams(folder: str, scratch: str) -> str:
    """Write a copy of the hyperparameters that names our files; upstream's stays as it is."""
    from omegaconf import OmegaConf

    for name in ("hparams.original.yaml", "hparams.yaml"):
        for place, _folders, names in os.walk(folder):
            if name in names:
                ours = {
                    "feature_extractor_config": {"params": {"ckpt_path": os.path.abspath(AVCLIP)}},
                    "audio_encoder_config": {"params": {"ckpt_path": os.path.abspath(DAC)}},
                }
                merged = OmegaConf.merge(OmegaConf.load(os.path.join(place, name)), ours)
                path = os.path.join(scratch, "hparams.yaml")
                OmegaConf.save(merged, path)
                return path
    raise WorkerError("missing_checkpoint", "no hparams.yaml below " + os.path.abspath(folder))


def read_frames(path: str, count: int) -> list[Any]:
    """At most `count` frames at 25 fps, each (3, 224, 224) float, -1..1.

    Frame k is the last one that begins, rounded to the grid, not after k / 25 s.
    """
    import av

    pictures: list[Any] = []
    held, first, end = None, None, 0
    try:
        with av.open(path) as container:
            for frame in container.decode(video=0):
                if frame.time is None:
                    continue
                start = math.floor(frame.time * FRAME_RATE + 0.5)
                first = start if first is None else first
                pictures += [held] * (min(start - first, count) - len(pictures))
                if len(pictures) == count:
                    break
                rate = float(container.streams.video[0].average_rate or FRAME_RATE)
                end = math.floor((frame.time + 1 / rate) * FRAME_RATE + 0.5) - first
                held = _prepared(frame.to_ndarray(format="rgb24"))
    except (OSError, ValueError, IndexError) as error:
        raise WorkerError("video_unreadable", str(error)) from error
    return pictures + [held] * (min(end, count) - len(pictures))


def _prepared(picture: Any) -> Any:
    """Short side 256, centre crop 224, -1..1."""
    import torch
    from torchvision.transforms import functional

    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    tensor = functional.center_crop(functional.resize(tensor, 256, antialias=True), [224, 224])
    return (tensor.float() / 255 - 0.5) / 0.5


if __name__ == "__main__":
    serve(VAura())
