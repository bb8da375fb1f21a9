"""FoleyCrafter, at the repository commit of its card; runs in the repository's root.

Differs from `inference.py` where that would make results depend on other clips or on
the machine: a generator of its own for every request, no hard-wired `cuda`, checkpoints
loaded to the chosen device, missing keys and missing files are errors, and only the part
of the video whose sound is wanted is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from v2a_worker import Order, Sound, WorkerError, need_files, serve

SAMPLE_RATE = 16000
LONGEST_SECONDS = 10.0
FRAMES = 150
COLUMNS_PER_SECOND = 1024 / 10
COLUMNS, ROWS = 1024, 256
CHECKPOINTS = "checkpoints"
AUFFUSION = CHECKPOINTS + "/auffusion"
IMAGE_ENCODER = CHECKPOINTS + "/ip-adapter"


class FoleyCrafter:
    """Pipeline, vocoder, onset detector and image encoder."""

    name = "foleycrafter"
    capabilities = {
        "prompt": True,
        "negative_prompt": True,
        "cot": False,
        "options": ["steps", "cfg", "temporal_scale", "semantic_scale"],
    }

    def load(self, device: str) -> dict[str, Any]:
        """Build everything as `inference.py` does, from local folders."""
        need_files(
            CHECKPOINTS + "/temporal_adapter.ckpt",
            CHECKPOINTS + "/timestamp_detector.pth.tar",
            CHECKPOINTS + "/semantic/semantic_adapter.bin",
            CHECKPOINTS + "/vocoder",
            AUFFUSION,
            IMAGE_ENCODER + "/models/image_encoder",
        )
        from foleycrafter.models.onset import torch_utils
        from foleycrafter.models.time_detector.model import VideoOnsetNet
        from foleycrafter.pipelines.auffusion_pipeline import Generator
        from foleycrafter.utils.util import build_foleycrafter
        from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

        self.device = device
        with loading_to(device):
            self.vocoder = Generator.from_pretrained(CHECKPOINTS, subfolder="vocoder").to(device)
            detector_path = CHECKPOINTS + "/timestamp_detector.pth.tar"
            detector = VideoOnsetNet(False)
            # On the CPU and in training mode, as upstream has it: it normalises by the clip's own statistics.
            self.detector, _epoch = torch_utils.load_model(detector_path, detector, device="cpu", strict=True)
            self.pipe = build_foleycrafter(AUFFUSION).to(device)
            self._load_temporal_adapter()
            self.pipe.load_ip_adapter(
                CHECKPOINTS + "/semantic",
                subfolder="",
                weight_name="semantic_adapter.bin",
                image_encoder_folder=None,
            )
        encoder = CLIPVisionModelWithProjection.from_pretrained(
            IMAGE_ENCODER, subfolder="models/image_encoder"
        )
        self.image_encoder = encoder.to(device)
        self.image_processor = CLIPImageProcessor()
        return {
            "sample_rate": SAMPLE_RATE,
            "channels": 1,
            "device": device,
            "max_seconds": LONGEST_SECONDS,
        }

    def generate(self, order: Order) -> Sound:
        """Onsets and image embedding, then the spectrogram, then the vocoder."""
        import torch
        from foleycrafter.pipelines.auffusion_pipeline import denormalize_spectrogram

        frames, duration = read_frames(order.video, min(order.seconds, LONGEST_SECONDS))
        self.pipe.set_ip_adapter_scale(float(order.option("semantic_scale", 1.0)))
        with torch.no_grad():
            condition = self._onsets(frames, duration).to(self.device)
            order.progress("onsets", 1, 3)
            image = self.pipe(
                prompt=order.prompt,
                negative_prompt=order.negative_prompt,
                ip_adapter_image_embeds=self._embedding(frames),
                image=condition,
                controlnet_conditioning_scale=float(order.option("temporal_scale", 0.2)),
                num_inference_steps=int(order.option("steps", 25)),
                guidance_scale=float(order.option("cfg", 7.5)),
                height=ROWS,
                width=COLUMNS,
                output_type="pt",
                generator=torch.Generator(device=self.device).manual_seed(order.seed),
            ).images[0]
            order.progress("spectrogram", 2, 3)
            mel = denormalize_spectrogram(image)
            audio = self.vocoder.inference(mel, lengths=SAMPLE_RATE * 10)[0]
        return Sound(audio[: int(duration * SAMPLE_RATE)].reshape(1, -1), SAMPLE_RATE)

    def _load_temporal_adapter(self) -> None:
        import torch

        found = torch.load(CHECKPOINTS + "/temporal_adapter.ckpt")
        found = found.get("state_dict", found)
        start = len("module.")
        plain = {name[start:] if name.startswith("module.") else name: v for name, v in found.items()}
        missing, _unexpected = self.pipe.controlnet.load_state_dict(plain, strict=False)
        if missing:
            raise WorkerError("checkpoint_mismatch", "temporal_adapter.ckpt lacks " + ", ".join(missing[:5]))

    def _onsets(self, frames: Any, duration: float) -> Any:
        """The condition (1, 1, 256, 1024): +1 where the detector sees an onset, else -1."""
        import torch
        import torchvision

        transform = torchvision.transforms.Compose(
            [
                torchvision.transforms.Resize((128, 128)),
                torchvision.transforms.CenterCrop((112, 112)),
                # On the scale 0..255, as upstream has it.
                torchvision.transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
            ]
        )
        pictures = transform(torch.FloatTensor(frames).permute(0, 3, 1, 2))
        seen = self.detector({"frames": pictures.unsqueeze(0).permute(0, 2, 1, 3, 4)})
        likely = torch.sigmoid(seen)[0]
        columns = int(COLUMNS_PER_SECOND * duration)
        values = [
            1.0 if float(likely[int(i / (COLUMNS_PER_SECOND * duration) * FRAMES)]) >= 0.5 else -1.0
            for i in range(columns)
        ]
        values += [-1.0] * (COLUMNS - columns)
        return torch.FloatTensor(values).reshape(1, 1, 1, COLUMNS).repeat(1, 1, ROWS, 1)

    def _embedding(self, frames: Any) -> Any:
        """The mean image embedding behind zeros as the negative one, (1, 2, 1, dim)."""
        import torch

        images = self.image_processor(images=frames, return_tensors="pt").to(self.device)
        embedding = self.image_encoder(**images).image_embeds
        mean = torch.mean(embedding, dim=0, keepdim=True).unsqueeze(0).unsqueeze(0)
        return torch.cat([torch.zeros_like(mean), mean], dim=1)


def read_frames(path: str, seconds: float) -> tuple[Any, float]:
    """Return 150 frames spread over the first `seconds`, (150, H, W, 3) uint8, and the length seen.

    The frames are those that upstream takes of a file of that length, one by one instead
    of all in memory.
    """
    import numpy as np
    from moviepy.editor import VideoFileClip

    try:
        clip = VideoFileClip(path, audio=False)
        duration = min(float(clip.duration), seconds)
        count = len(np.arange(0, duration, 1.0 / clip.fps))
        if not count:
            raise WorkerError("video_too_short", "the video has no frame")
        chosen = np.linspace(0, count - 1, FRAMES, dtype=int)
        frames = [clip.get_frame(index / clip.fps) for index in chosen]
        clip.close()
    except OSError as error:
        raise WorkerError("video_unreadable", str(error)) from error
    return np.array(frames), duration


@contextmanager
def loading_to(device: str) -> Iterator[None]:
    """Give every `torch.load` of upstream the `map_location` that it lacks."""
    import torch

    original = torch.load

    def load(*arguments: Any, **options: Any) -> Any:
        options.setdefault("map_location", device)
        return original(*arguments, **options)

    torch.load = load
    try:
        yield
    finally:
        torch.load = original


if __name__ == "__main__":
    serve(FoleyCrafter())
