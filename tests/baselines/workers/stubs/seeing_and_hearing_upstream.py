"""Seeing-and-Hearing's modules, as far as its worker calls them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from stubs.installing import Calls, Modules


def modules(calls: Calls) -> Modules:  # noqa: C901 (many small stand-ins)
    """The modules; the pipeline builds ImageBind inside every call, as upstream's does."""

    class UNet:
        @classmethod
        def from_pretrained(cls, path: str, subfolder: str) -> "UNet":
            assert (path, subfolder) == ("ckpt/audioldm-m-full", "unet")
            return cls()

        def to(self, device: str) -> "UNet":
            return self

    class Vocoder(nn.Module):
        def forward(self, mel: Tensor) -> Tensor:
            self.last = torch.tanh(mel)
            return self.last

    class ImageBind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(1, 1)

    def imagebind_huge(pretrained: bool = False) -> ImageBind:
        assert pretrained
        calls.note("imagebind", True)
        return ImageBind()

    imagebind_model = SimpleNamespace(imagebind_huge=imagebind_huge)

    class Pipeline:
        def __init__(self) -> None:
            self.vocoder = Vocoder()

        @classmethod
        def from_pretrained(cls, path: str, unet: UNet) -> "Pipeline":
            assert isinstance(unet, UNet)
            return cls()

        def to(self, device: str) -> "Pipeline":
            return self

        def only_prepare_latents(
            self, prompt: str, audio_length_in_s: float, generator: torch.Generator
        ) -> Tensor:
            return torch.randn(1, 8, 25 * int(audio_length_in_s), 16, generator=generator)

        def bind_forward_double_loss(
            self,
            prompt: str,
            audio_length_in_s: float | None = None,
            num_inference_steps: int = 10,
            guidance_scale: float = 2.5,
            learning_rate: float = 0.1,
            negative_prompt: str | None = None,
            clip_duration: float = 2.0,
            clips_per_video: int = 5,
            num_optimization_steps: int = 1,
            optimization_starting_point: float = 0.2,
            video_paths: list[str] | None = None,
            generator: torch.Generator | None = None,
            latents: Tensor | None = None,
            callback: Callable[[int, int, Tensor], None] | None = None,
        ) -> SimpleNamespace:
            assert isinstance(prompt, str)
            assert latents is not None
            assert callback is not None
            if "short" in (video_paths or [""])[0]:
                raise ValueError("No clip found")
            bind = imagebind_model.imagebind_huge(pretrained=True)
            assert not any(parameter.requires_grad for parameter in bind.parameters())
            assert not bind.training
            calls.note(
                "call",
                {
                    "prompt": prompt,
                    "negative_prompt": negative_prompt,
                    "seconds": (audio_length_in_s, clip_duration, clips_per_video),
                    "sampling": (num_inference_steps, guidance_scale, learning_rate),
                    "correction": (num_optimization_steps, optimization_starting_point),
                },
            )
            callback(0, 999, latents)
            wave = self.vocoder(latents.mean().reshape(1, 1) + torch.randn(1, 200000, generator=generator))
            # In place, as ImageBind's front end does: the vocoder's own output must not change.
            before = self.vocoder.last.clone()
            wave -= wave.mean()
            assert torch.equal(self.vocoder.last, before)
            length = int((audio_length_in_s or 0) * 16000)
            return SimpleNamespace(audios=wave[:, :length].detach().numpy())

    def set_seed(seed: int) -> None:
        assert 0 <= seed < 2**32
        calls.note("seed", seed)
        torch.manual_seed(seed)

    functional: dict[str, Any] = {"resize": None}
    return {
        "torchvision.transforms.functional": functional,
        "accelerate.utils": {"set_seed": set_seed},
        "audioldm.models.unet": {"UNet2DConditionModel": UNet},
        "audioldm.pipelines.pipeline_audioldm": {
            "AudioLDMPipeline": Pipeline,
            "imagebind_model": imagebind_model,
        },
    }
