"""FoleyCrafter's modules, as far as its worker calls them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stubs.installing import Calls, Modules

FPS = 25


def modules(calls: Calls, seconds: float) -> Modules:  # noqa: C901 (many small stand-ins)
    """The modules, for a video of so many seconds."""

    class VideoFileClip:
        def __init__(self, filename: str, has_mask: bool = False, audio: bool = True) -> None:
            if "broken" in filename:
                raise OSError("MoviePy error: failed to read the duration")
            assert not audio
            self.duration, self.fps = seconds, FPS

        def get_frame(self, t: float) -> NDArray[np.uint8]:
            assert 0 <= t < seconds
            calls.note("times", t)
            return np.full((36, 64, 3), round(t * FPS) % 256, np.uint8)

        def close(self) -> None:
            calls.note("closed", True)

    class Detector(nn.Module):
        def __init__(self, pretrained: bool) -> None:
            super().__init__()
            assert pretrained is False

        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            assert self.training, "eval() changes what the detector says"
            assert inputs["frames"].shape == (1, 3, 150, 112, 112)
            assert float(inputs["frames"].max()) > 10, "the scale is 0..255"
            assert inputs["frames"].device.type == "cpu"
            return torch.where(torch.arange(150) % 50 == 0, 5.0, -5.0).unsqueeze(0)

    def load_model(
        cp_path: str, net: nn.Module, device: Any = None, strict: bool = True
    ) -> tuple[nn.Module, int]:
        calls.note("detector", (cp_path, device, strict))
        return net, 7

    class Generator:
        @classmethod
        def from_pretrained(cls, pretrained_model_name_or_path: str, subfolder: str) -> "Generator":
            assert (pretrained_model_name_or_path, subfolder) == ("checkpoints", "vocoder")
            torch.load("checkpoints/vocoder/vocoder.pt")
            return cls()

        def to(self, device: str) -> "Generator":
            return self

        def inference(self, mels: Tensor, lengths: int | None = None) -> NDArray[np.int16]:
            assert mels.shape == (256, 1024)
            assert lengths is not None
            draw = np.random.default_rng(int(mels.abs().sum() * 1000))
            return draw.integers(-3000, 3000, (1, lengths)).astype(np.int16)

    def denormalize_spectrogram(data: Tensor, max_value: float = 200, min_value: float = 1e-5) -> Tensor:
        assert data.shape == (3, 256, 1024)
        return data[0]

    class Pipe:
        def __init__(self) -> None:
            self.controlnet, self.scale = nn.Linear(2, 2), 0.0

        def to(self, device: str) -> "Pipe":
            return self

        def load_ip_adapter(
            self, folder: str, subfolder: str, weight_name: str, image_encoder_folder: str | None
        ) -> None:
            assert (folder, subfolder, image_encoder_folder) == ("checkpoints/semantic", "", None)
            calls.note("adapter", weight_name)

        def set_ip_adapter_scale(self, scale: float) -> None:
            calls.note("semantic_scale", scale)

        def __call__(
            self,
            *,
            prompt: str,
            negative_prompt: str,
            ip_adapter_image_embeds: Tensor,
            image: Tensor,
            controlnet_conditioning_scale: float,
            num_inference_steps: int,
            guidance_scale: float,
            height: int,
            width: int,
            output_type: str,
            generator: torch.Generator,
        ) -> SimpleNamespace:
            assert ip_adapter_image_embeds.shape == (1, 2, 1, 1024)
            assert not ip_adapter_image_embeds[:, 0].any()
            assert image.shape == (1, 1, height, width) == (1, 1, 256, 1024)
            assert output_type == "pt"
            calls.note("condition", image[0, 0, 0])
            calls.note("prompts", (prompt, negative_prompt))
            calls.note("sampling", (controlnet_conditioning_scale, num_inference_steps, guidance_scale))
            return SimpleNamespace(images=torch.rand((1, 3, height, width), generator=generator))

    def build_foleycrafter(
        pretrained_model_name_or_path: str = "auffusion/auffusion-full-no-adapter",
    ) -> Pipe:
        calls.note("base", pretrained_model_name_or_path)
        return Pipe()

    class Images(dict[str, Tensor]):
        def to(self, device: str) -> "Images":
            return self

    class ImageProcessor:
        def __call__(self, *, images: Any, return_tensors: str) -> Images:
            assert images.shape == (150, 36, 64, 3)
            return Images(pixel_values=torch.zeros(150, 3, 224, 224))

    class ImageEncoder:
        @classmethod
        def from_pretrained(cls, name: str, subfolder: str) -> "ImageEncoder":
            assert (name, subfolder) == ("checkpoints/ip-adapter", "models/image_encoder")
            return cls()

        def to(self, device: str) -> "ImageEncoder":
            return self

        def __call__(self, pixel_values: Tensor) -> SimpleNamespace:
            return SimpleNamespace(image_embeds=torch.ones(150, 1024))

    return {
        "moviepy.editor": {"VideoFileClip": VideoFileClip},
        "torchvision.transforms": _transforms(),
        "transformers": {
            "CLIPImageProcessor": ImageProcessor,
            "CLIPVisionModelWithProjection": ImageEncoder,
        },
        "foleycrafter.models.onset.torch_utils": {"load_model": load_model},
        "foleycrafter.models.time_detector.model": {"VideoOnsetNet": Detector},
        "foleycrafter.pipelines.auffusion_pipeline": {
            "Generator": Generator,
            "denormalize_spectrogram": denormalize_spectrogram,
        },
        "foleycrafter.utils.util": {"build_foleycrafter": build_foleycrafter},
    }


def adapter() -> dict[str, Any]:
    """A temporal adapter that fits the pipe's ControlNet, wrapped as upstream's is."""
    return {"state_dict": {"module.weight": torch.zeros(2, 2), "module.bias": torch.zeros(2)}}


def _transforms() -> dict[str, Any]:
    def compose(steps: list[Any]) -> Any:
        def run(x: Tensor) -> Tensor:
            for step in steps:
                x = step(x)
            return x

        return run

    def resize(size: tuple[int, int]) -> Any:
        return lambda x: nn.functional.interpolate(x, size)

    return {
        "Compose": compose,
        "Resize": resize,
        "CenterCrop": lambda size: lambda x: x[..., : size[0], : size[1]],
        "Normalize": lambda *, mean, std: lambda x: (x - mean[0]) / std[0],
    }
