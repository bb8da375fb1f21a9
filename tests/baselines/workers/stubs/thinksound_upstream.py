"""ThinkSound's modules, as far as its worker calls them."""

from typing import Any

import torch
from torch import Tensor, nn

from stubs.installing import Calls, Modules

FRAMES = {8: 0, 25: 0}
"""How many frames the decoder finds, by rate."""


def modules(calls: Calls, seconds: float, silent: bool = False) -> Modules:  # noqa: C901 (many small stand-ins)
    """The modules, for a video of so many seconds."""

    class Chunk:
        def __init__(self, path: str) -> None:
            self.path, self.streams = path, []

        def add_basic_video_stream(self, frames_per_chunk: int, *, frame_rate: int, format: str) -> None:  # noqa: A002
            assert format == "rgb24"
            self.streams.append((frames_per_chunk, frame_rate))

        def fill_buffer(self) -> None:
            if "broken" in self.path:
                raise RuntimeError("moov atom not found")

        def pop_chunks(self) -> tuple[Tensor | None, ...]:
            return tuple(_frames(min(count, int(seconds * rate))) for count, rate in self.streams)

    class Processor:
        @classmethod
        def from_pretrained(cls, name: str) -> "Processor":
            calls.note("processor", name)
            return cls()

        def __call__(self, *, images: list[Any], return_tensors: str) -> dict[str, Tensor]:
            assert return_tensors == "pt"
            assert all(image.shape[0] == image.shape[1] and image.shape[2] == 3 for image in images)
            return {"pixel_values": torch.zeros(len(images), 3, 224, 224)}

    class Features(nn.Module):
        def __init__(
            self, *, vae_ckpt: None, vae_config: None, enable_conditions: bool, synchformer_ckpt: str
        ) -> None:
            super().__init__()
            assert enable_conditions
            assert synchformer_ckpt == "ckpts/synchformer_state_dict.pth"
            self.clip_model, self.t5_model, self.synchformer = (nn.Linear(1, 1) for _ in range(3))

        def encode_video_with_clip(self, x: Tensor, batch_size: int = -1) -> Tensor:
            assert x.shape[0] == 1
            assert x.shape[2:] == (3, 224, 224)
            return torch.full((1, x.shape[1], 1024), 1.0)

        def encode_video_with_sync(self, x: Tensor, batch_size: int = -1) -> Tensor:
            _, frames, channels, height, width = x.shape
            assert (channels, height, width) == (3, 224, 224)
            assert x.dtype == self.synchformer.weight.dtype
            assert float(x.min()) >= -1
            return torch.zeros(1, ((frames - 16) // 8 + 1) * 8, 768)

        def encode_text(self, text: list[str]) -> tuple[Tensor, Tensor]:
            calls.note("caption", text)
            return torch.zeros(1, 1024), torch.zeros(1, 77, 1024)

        def encode_t5_text(self, text: list[str]) -> Tensor:
            calls.note("cot", text)
            return torch.zeros(1, 77, 2048)

    class Inner(nn.Module):
        def update_seq_lengths(self, latent_seq_len: int, clip_seq_len: int, sync_seq_len: int) -> None:
            calls.note("lengths", (latent_seq_len, clip_seq_len, sync_seq_len))

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = Inner()

    class Pretransform(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

        def decode(self, latent: Tensor) -> Tensor:
            loudness = 0.0 if silent else 0.1
            return loudness * latent[:, :2].repeat_interleave(2048, dim=2)

    class Diffusion(nn.Module):
        io_channels = 64

        def __init__(self) -> None:
            super().__init__()
            self.model, self.pretransform = Wrapped(), Pretransform()

        def conditioner(self, metadata: list[dict[str, Tensor]], device: str) -> dict[str, Tensor]:
            (only,) = metadata
            assert bool(only["video_exist"])
            assert all(value.dtype == torch.float32 for name, value in only.items() if name != "video_exist")
            calls.note("metadata", {name: tuple(value.shape) for name, value in only.items()})
            return only

        def get_conditioning_inputs(self, conditioning: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"metaclip_features": conditioning["metaclip_features"]}

    def create_model_from_config(model_config: dict[str, Any]) -> Diffusion:
        calls.note("config", model_config["model"]["diffusion"]["config"])
        return Diffusion()

    def load_ckpt_state_dict(ckpt_path: str, prefix: str | None = None) -> dict[str, Tensor]:
        assert (ckpt_path, prefix) == ("ckpts/vae.ckpt", "autoencoder.")
        return {"weight": torch.ones(2)}

    def sample_discrete_euler(
        model: Wrapped, x: Tensor, steps: int, sigma_max: float = 1, **extra: Any
    ) -> Tensor:
        assert isinstance(model, Wrapped)
        assert extra.pop("batch_cfg") is True
        calls.note("sample", (tuple(x.shape), steps, extra.pop("cfg_scale")))
        calls.note("noise", x.clone())
        assert extra.keys() == {"metaclip_features"}
        return x

    return {
        "torio.io": {"StreamingMediaDecoder": Chunk},
        "torio.utils.ffmpeg_utils": {"get_versions": lambda: calls.note("ffmpeg", True)},
        "transformers": {"AutoProcessor": Processor},
        "torchvision.transforms.v2": _transforms(),
        "data_utils.v2a_utils.feature_utils_224": {"FeaturesUtils": Features},
        "ThinkSound.models": {"create_model_from_config": create_model_from_config},
        "ThinkSound.models.utils": {"load_ckpt_state_dict": load_ckpt_state_dict},
        "ThinkSound.inference.sampling": {"sample_discrete_euler": sample_discrete_euler},
    }


def state_dict() -> dict[str, Tensor]:
    """A checkpoint that fits `Diffusion` strictly."""
    return {"pretransform.weight": torch.zeros(2)}


def _frames(count: int) -> Tensor | None:
    if not count:
        return None
    return (torch.arange(count) % 256).to(torch.uint8).reshape(-1, 1, 1, 1).repeat(1, 3, 36, 64)


def _transforms() -> dict[str, Any]:
    def resize(size: int, interpolation: str, antialias: bool) -> Any:
        assert interpolation == "bicubic"
        return lambda x: nn.functional.interpolate(x.float(), (size, size * 64 // 36)).to(torch.uint8)

    class Mode:
        BICUBIC = "bicubic"

    def compose(steps: list[Any]) -> Any:
        def run(x: Tensor) -> Tensor:
            for step in steps:
                x = step(x)
            return x

        return run

    def to_dtype(dtype: torch.dtype, *, scale: bool) -> Any:
        assert scale
        return lambda x: x.to(dtype) / 255

    return {
        "Resize": resize,
        "InterpolationMode": Mode,
        "Compose": compose,
        "CenterCrop": lambda size: lambda x: x[..., :size, :size],
        "ToDtype": to_dtype,
        "Normalize": lambda *, mean, std: lambda x: (x - mean[0]) / std[0],
    }
