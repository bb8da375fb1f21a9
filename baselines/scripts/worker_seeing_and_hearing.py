"""Seeing-and-Hearing, at the repository commit of its card; runs in the repository's `v2a/`.

Differs from `video2audio.py` where that serves its demo only: the seed is the request's
(upstream looks it up in a table of nine videos), ImageBind is built once (upstream builds
it for every clip), and the vocoder's output is cloned (upstream needs a fork of
transformers for that). The caption is the request's prompt; upstream's comes from Qwen-VL.
"""

from __future__ import annotations

import importlib
import math
import sys
from typing import Any

from v2a_worker import Order, Sound, WorkerError, need_files, serve

SAMPLE_RATE = 16000
AUDIOLDM = "ckpt/audioldm-m-full"
IMAGEBIND = "imagebind/.checkpoints/imagebind_huge.pth"
VOCABULARY = "imagebind/bpe/bpe_simple_vocab_16e6.txt.gz"
SEED_LIMIT = 2**32
"""NumPy takes no larger seeds."""


class SeeingAndHearing:
    """AudioLDM with ImageBind as its guide."""

    name = "seeing-and-hearing"
    capabilities = {
        "prompt": True,
        "negative_prompt": True,
        "cot": False,
        "options": ["steps", "cfg", "lr", "opt_steps", "opt_start"],
    }

    def load(self, device: str) -> dict[str, Any]:
        """Build pipeline and ImageBind once, and make the vocoder safe for in-place changes."""
        need_files(AUDIOLDM, IMAGEBIND, VOCABULARY)
        _alias_functional_tensor()
        import torch
        from audioldm.models.unet import UNet2DConditionModel
        from audioldm.pipelines import pipeline_audioldm

        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cuda.matmul.allow_tf32 = False
        unet = UNet2DConditionModel.from_pretrained(AUDIOLDM, subfolder="unet").to(device)
        self.pipe = pipeline_audioldm.AudioLDMPipeline.from_pretrained(AUDIOLDM, unet=unet).to(device)
        self.pipe.vocoder.register_forward_hook(_clone_output)
        guide = pipeline_audioldm.imagebind_model.imagebind_huge(pretrained=True)
        guide.eval().to(device).requires_grad_(False)

        def cached(pretrained: bool = True) -> Any:
            return guide

        pipeline_audioldm.imagebind_model.imagebind_huge = cached
        self.device = device
        return {"sample_rate": SAMPLE_RATE, "channels": 1, "device": device}

    def generate(self, order: Order) -> Sound:
        """Start from latents drawn beforehand, as `pipeline.sh` does, and denoise under the guide."""
        import torch
        from accelerate.utils import set_seed

        if not order.prompt.strip():
            raise WorkerError("bad_request", "the model needs a prompt, and none was given")
        length, seed = math.ceil(order.seconds - 1e-6), order.seed % SEED_LIMIT
        set_seed(seed)
        generator = torch.Generator(device=self.device).manual_seed(seed)
        latents = self.pipe.only_prepare_latents(order.prompt, audio_length_in_s=length, generator=generator)
        steps = int(order.option("steps", 30))
        try:
            made = self.pipe.bind_forward_double_loss(
                order.prompt,
                latents=latents,
                num_inference_steps=steps,
                guidance_scale=float(order.option("cfg", 2.5)),
                negative_prompt=order.negative_prompt or None,
                audio_length_in_s=length,
                generator=generator,
                video_paths=[order.video],
                learning_rate=float(order.option("lr", 0.1)),
                clip_duration=1,
                clips_per_video=length,
                num_optimization_steps=int(order.option("opt_steps", 1)),
                optimization_starting_point=float(order.option("opt_start", 0.2)),
                callback=lambda step, _time, _latents: order.progress("step", step + 1, steps),
            )
        except ValueError as error:
            if "No clip found" in str(error):
                raise WorkerError("video_too_short", "the video ends before %d s" % length) from error
            raise
        return Sound(made.audios[0].reshape(1, -1), SAMPLE_RATE)


def _clone_output(_module: Any, _inputs: Any, output: Any) -> Any:
    """ImageBind's front end subtracts the mean in place, which must not reach into the vocoder's graph."""
    return output.clone()


def _alias_functional_tensor() -> None:
    """Pytorchvideo 0.1.5 imports a module of torchvision that was merged into another."""
    old = "torchvision.transforms.functional_tensor"
    try:
        importlib.import_module(old)
    except ImportError:
        sys.modules[old] = importlib.import_module("torchvision.transforms.functional")


if __name__ == "__main__":
    serve(SeeingAndHearing())
