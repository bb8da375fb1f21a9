"""ThinkSound, at the repository commit of its card; runs in the repository's root.

Features and prediction happen in one process and in memory; upstream has two programs
with a file between them. One clip at a time, because upstream normalises loudness over
the whole batch, and with a seed of its own, because upstream seeds once a run.
"""

from __future__ import annotations

import json
from typing import Any

from v2a_worker import Order, Sound, WorkerError, need_files, serve

SAMPLE_RATE = 44100
HOP = 2048
CLIP_FPS, SYNC_FPS = 8, 25
SHORTEST_FRAMES = 16
TRAINED_SECONDS = 9
SLACK_SECONDS = 0.05
CONFIG = "ThinkSound/configs/model_configs/thinksound.json"
CHECKPOINT, VAE, SYNCHFORMER = (
    "ckpts/thinksound_light.ckpt", "ckpts/vae.ckpt", "ckpts/synchformer_state_dict.pth"
)  # fmt: skip
CLIP_MODEL = "facebook/metaclip-h14-fullcc2.5b"


def latent_length(seconds: int) -> int:
    """Latent frames for whole seconds, as upstream counts them."""
    return round(SAMPLE_RATE / 64 / 32 * seconds)


def native_seconds(wanted: float, available: float) -> int:
    """The whole seconds to generate for `wanted` seconds of sound from `available` seconds of video.

    Enough for all of the sound if the video has them; one less where that lacks so little
    that the host takes it; else more than the video has, whose last frame then stands.
    """
    enough = 1
    while latent_length(enough) * HOP / SAMPLE_RATE < wanted:
        enough += 1
    fitting = int(min(available, enough) + 1e-3)
    if fitting < enough and fitting and latent_length(fitting) * HOP / SAMPLE_RATE >= wanted - SLACK_SECONDS:
        return fitting
    return enough


class ThinkSound:
    """Feature encoders and the diffusion model, on one device."""

    name = "thinksound"
    capabilities = {
        "prompt": True,
        "negative_prompt": False,
        "cot": True,
        "options": ["steps", "cfg", "half"],
    }

    def load(self, device: str) -> dict[str, Any]:
        """Build the wrapper as `predict.py` does and the encoders as `extract_latents.py` does."""
        need_files(CONFIG, CHECKPOINT, VAE, SYNCHFORMER)
        import torch
        from data_utils.v2a_utils.feature_utils_224 import FeaturesUtils
        from ThinkSound.models import create_model_from_config
        from ThinkSound.models.utils import load_ckpt_state_dict
        from torio.utils import ffmpeg_utils
        from transformers import AutoProcessor

        # Fails where FFmpeg's libraries are not found; else every video would seem to be unreadable.
        ffmpeg_utils.get_versions()

        with open(CONFIG, encoding="utf-8") as stream:
            config = json.load(stream)
        self.seconds, self.half, self.device = TRAINED_SECONDS, False, device
        lengths = config["model"]["diffusion"]["config"]
        lengths["sync_seq_len"] = 24 * self.seconds
        lengths["clip_seq_len"] = 8 * self.seconds
        lengths["latent_seq_len"] = latent_length(self.seconds)
        model = create_model_from_config(config)
        model.load_state_dict(torch.load(CHECKPOINT, map_location="cpu"))
        model.pretransform.load_state_dict(load_ckpt_state_dict(VAE, prefix="autoencoder."))
        self.model = model.to(device)
        features = FeaturesUtils(
            vae_ckpt=None, vae_config=None, enable_conditions=True, synchformer_ckpt=SYNCHFORMER
        )
        self.features = features.eval().to(device)
        self.processor = AutoProcessor.from_pretrained(CLIP_MODEL)
        return {"sample_rate": SAMPLE_RATE, "channels": 2, "device": device}

    def generate(self, order: Order) -> Sound:
        """Encode video and text, sample, decode, normalise this clip alone."""
        import torch

        clip_frames, sync_frames, seconds = self._frames(order)
        self._set_half(bool(order.option("half", False)))
        self._set_length(seconds)
        order.progress("features", 0, 3)
        with torch.no_grad():
            metadata = self._metadata(order, clip_frames, sync_frames)
            order.progress("sampling", 1, 3)
            audio = self._sample(order, metadata, seconds)
        peak = audio.abs().max()
        if not bool(torch.isfinite(peak)) or not float(peak) > 0:
            raise WorkerError("no_audio", "the model gave silence or samples that are not finite")
        scaled = audio.div(peak).clamp(-1, 1).mul(32767).to(torch.int16)
        return Sound(scaled[0].cpu().numpy(), SAMPLE_RATE)

    def _frames(self, order: Order) -> tuple[Any, Any, int]:
        """Frames for CLIP and for Synchformer, each (T, 3, H, W) uint8, and the seconds they stand for."""
        longest = native_seconds(order.seconds, float("inf"))
        clip_frames, sync_frames = _decode(order.video, longest)
        if len(sync_frames) < SHORTEST_FRAMES:
            raise WorkerError("video_too_short", "%d frames at 25 fps, 16 are needed" % len(sync_frames))
        seconds = native_seconds(order.seconds, len(sync_frames) / SYNC_FPS)
        if len(sync_frames) < SYNC_FPS * seconds:
            order.warn(
                "video of %.2f s where %d s are generated: its last frame is repeated"
                % (len(sync_frames) / SYNC_FPS, seconds)
            )
        return _fill(clip_frames, CLIP_FPS * seconds), _fill(sync_frames, SYNC_FPS * seconds), seconds

    def _metadata(self, order: Order, clip_frames: Any, sync_frames: Any) -> dict[str, Any]:
        import torch

        caption, thought = [order.prompt or " "], [order.cot or " "]
        squares = [_square(frame).permute(1, 2, 0).numpy() for frame in clip_frames]
        pixels = self.processor(images=squares, return_tensors="pt")["pixel_values"].unsqueeze(0)
        sync = _sync_transform()(sync_frames).unsqueeze(0).to(self.device)
        if self.half:
            sync = sync.half()
        global_text, text = self.features.encode_text(caption)
        found = {
            "metaclip_features": self.features.encode_video_with_clip(pixels.to(self.device)),
            "sync_features": self.features.encode_video_with_sync(sync),
            "metaclip_global_text_features": global_text,
            "metaclip_text_features": text,
            "t5_features": self.features.encode_t5_text(thought),
        }
        metadata: dict[str, Any] = {name: value[0].float() for name, value in found.items()}
        metadata["video_exist"] = torch.tensor(True)
        return metadata

    def _sample(self, order: Order, metadata: dict[str, Any], seconds: int) -> Any:
        import torch
        from ThinkSound.inference.sampling import sample_discrete_euler

        torch.manual_seed(order.seed)
        noise = torch.randn([1, self.model.io_channels, latent_length(seconds)]).to(self.device)
        with torch.autocast("cuda", enabled=self.device.startswith("cuda")):
            conditions = self.model.conditioner([metadata], self.device)
            inputs = self.model.get_conditioning_inputs(conditions)
            steps, scale = int(order.option("steps", 24)), float(order.option("cfg", 5.0))
            latent = sample_discrete_euler(
                self.model.model, noise, steps, **inputs, cfg_scale=scale, batch_cfg=True
            )
            audio = self.model.pretransform.decode(latent)
        order.progress("decoded", 3, 3)
        return audio.float()

    def _set_length(self, seconds: int) -> None:
        """The lengths are baked into rotary tables, which are made anew where they change."""
        if seconds != self.seconds:
            self.model.model.model.update_seq_lengths(latent_length(seconds), 8 * seconds, 24 * seconds)
            self.seconds = seconds

    def _set_half(self, half: bool) -> None:
        if half != self.half:
            for name in ("clip_model", "t5_model", "synchformer"):
                encoder = getattr(self.features, name)
                setattr(self.features, name, encoder.half() if half else encoder.float())
            self.half = half


def _decode(path: str, seconds: int) -> tuple[Any, Any]:
    from torio.io import StreamingMediaDecoder

    try:
        reader = StreamingMediaDecoder(path)
        for rate in (CLIP_FPS, SYNC_FPS):
            reader.add_basic_video_stream(frames_per_chunk=rate * seconds, frame_rate=rate, format="rgb24")
        reader.fill_buffer()
        clip_frames, sync_frames = reader.pop_chunks()
    except RuntimeError as error:
        raise WorkerError("video_unreadable", str(error)) from error
    if clip_frames is None or sync_frames is None:
        raise WorkerError("video_unreadable", "no frames could be decoded")
    return clip_frames, sync_frames


def _fill(frames: Any, count: int) -> Any:
    """Cut to `count` frames, or repeat the last one up to them."""
    import torch

    kept = frames[:count]
    lacking = count - len(kept)
    return torch.cat([kept, kept[-1:].repeat(lacking, 1, 1, 1)]) if lacking else kept


def _square(frame: Any) -> Any:
    """Pad one frame (3, H, W) with black until it is square."""
    import torch

    height, width = frame.shape[1:]
    side = max(height, width)
    above, left = (side - height) // 2, (side - width) // 2
    edges = (left, side - width - left, above, side - height - above)
    return torch.nn.functional.pad(frame, edges)


def _sync_transform() -> Any:
    import torch
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.Resize(224, interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
            v2.CenterCrop(224),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5]),
        ]
    )


if __name__ == "__main__":
    serve(ThinkSound())
