"""V-AURA's modules, as far as its worker calls them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from stubs.installing import Calls, Modules


def modules(calls: Calls) -> Modules:
    """The modules; the model refuses any number of segments but four, as the null condition does."""

    class Codec(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(1, 1).half()

        def decode(self, frames: list[tuple[Tensor, None]]) -> Tensor:
            ((codes, scale),) = frames
            assert scale is None
            assert codes.shape[:2] == (1, 9)
            assert self.model.weight.dtype == torch.float32, "CPUs cannot run the codec in float16"
            calls.note("codes", codes)
            return (codes[:, :1].float() / 300 - 1).repeat_interleave(512, dim=2)

    class Model(nn.Module):
        num_codebooks = 9

        def __init__(self) -> None:
            super().__init__()
            self.audio_encoder, self.sampler = Codec(), SimpleNamespace(audio_tokens_per_video_frame=None)

        @classmethod
        def load_from_checkpoint(
            cls, checkpoint_path: str, map_location: Any = None, hparams_file: str | None = None
        ) -> "Model":
            calls.note("checkpoint", checkpoint_path)
            calls.note("hparams", yaml.safe_load(Path(hparams_file or "").read_text()))
            return cls()

        def generate(
            self,
            frames: Tensor,
            audio: Tensor | None = None,
            clip_indices: None = None,
            max_new_tokens: int = 512,
            return_attention_weights: bool = False,
            return_sampled_indices: bool = False,
            check: bool = False,
            use_sampling: bool = True,
            temp: float = 1.0,
            top_k: int = 256,
            top_p: float = 0.0,
            remove_prompts: bool = False,
            prompt_is_encoded: bool = False,
            cfg_scale: float = 1.0,
        ) -> dict[str, Tensor]:
            assert not self.training
            assert self.sampler.audio_tokens_per_video_frame == 7
            assert frames.shape == (1, 4, 3, 16, 224, 224), "the null condition fits four segments"
            assert frames.is_contiguous()
            assert return_sampled_indices
            assert use_sampling
            assert prompt_is_encoded
            assert not remove_prompts
            calls.note("frames", frames[0, :, 0, :, 0, 0].clone())
            calls.note("sampling", (temp, top_k, top_p, cfg_scale))
            calls.note("tokens", max_new_tokens)
            kept = 0 if audio is None else audio.shape[-1]
            new = torch.randint(0, 1024, (1, 9, max_new_tokens - kept))
            drawn = new if audio is None else torch.cat([audio, new], dim=-1)
            return {"sampled_indices": drawn, "generated_audio": self.audio_encoder.decode([(drawn, None)])}

    def resize(image: Tensor, size: int, antialias: bool) -> Tensor:
        assert antialias
        assert size == 256
        return nn.functional.interpolate(image[None].float(), (256, 342))[0].to(torch.uint8)

    return {
        "omegaconf": {"OmegaConf": _Omega},
        "torchvision.transforms.functional": {
            "resize": resize,
            "center_crop": lambda image, size: image[..., : size[0], : size[1]],
        },
        "models.vaura_model": {"VAURAModel": Model},
    }


class _Omega:
    """OmegaConf, for plain nested dictionaries."""

    @staticmethod
    def load(path: str) -> Any:
        return yaml.safe_load(Path(path).read_text())

    @staticmethod
    def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
        merged = dict(base)
        for name, value in over.items():
            both = isinstance(value, dict) and isinstance(merged.get(name), dict)
            merged[name] = _Omega.merge(merged[name], value) if both else value
        return merged

    @staticmethod
    def save(config: dict[str, Any], path: str) -> None:
        Path(path).write_text(yaml.safe_dump(config))
