"""What the public packages say, run inside of their own environment by `selftest --upstream`.

    python oracle.py NETWORK DETERMINISTIC.py SIGNALS.py READING.py OUT.npz [CHECKPOINT]

It imports nothing of v2abench but the three modules given by path, which need NumPy and
torch alone: the same weights and the same signals as on the other side. With a
CHECKPOINT the network is loaded with it instead.
"""

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch


def load_module(path: Path) -> ModuleType:
    """Return the module at `path`."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def passt(weights: Any, signals: Any, checkpoint: Any) -> dict[str, Any]:
    """hear21passt's network and front end on 10 s."""
    from hear21passt.models.passt import get_model
    from hear21passt.models.preprocess import AugmentMelSTFT

    network = get_model(arch="passt_s_swa_p16_128_ap476", pretrained=False).eval()
    fill(network, weights, checkpoint)
    front = AugmentMelSTFT(freqm=0, timem=0, fmin=0.0, fmax=15000, fmin_aug_range=1, fmax_aug_range=1).eval()
    sound = torch.from_numpy(signals.wave(10, 32000, 1))[None]
    logits, embedding = network(front(sound)[:, None])
    return {"embedding": embedding[0], "logits": logits[0]}


def cnn14(weights: Any, signals: Any, checkpoint: Any) -> dict[str, Any]:
    """panns-inference's Cnn14 on 10 s; it gives the logits after the sigmoid only."""
    from panns_inference.models import Cnn14

    network = Cnn14(16000, 512, 160, 64, 50, 8000, 527).eval()
    fill(network, weights, checkpoint, skip=("spectrogram_extractor", "logmel_extractor"), entry="model")
    answer = network(torch.from_numpy(signals.wave(10, 16000, 1))[None], None)
    return {"embedding": answer["embedding"][0], "probabilities": answer["clipwise_output"][0]}


def imagebind(weights: Any, signals: Any, checkpoint: Any) -> dict[str, Any]:  # noqa: ARG001
    """An ImageBind of small width, both towers that the IB-score needs, on given tensors."""
    import torchvision.transforms.functional

    # A module of torchvision that pytorchvideo, which the package imports, knows by its old name.
    sys.modules.setdefault("torchvision.transforms.functional_tensor", torchvision.transforms.functional)
    from imagebind.models.imagebind_model import ImageBindModel

    small = {"text_embed_dim": 64, "text_num_blocks": 1, "text_num_heads": 2, "imu_num_blocks": 1}
    network = ImageBindModel(
        vision_embed_dim=160, vision_num_blocks=4, vision_num_heads=4, out_embed_dim=64, audio_embed_dim=96,
        audio_num_blocks=4, audio_num_heads=4, depth_num_blocks=1, thermal_num_blocks=1, **small,
    ).eval()  # fmt: skip
    fill(network, weights, None)
    vision, audio = (
        weights.values("probe.vision", (2, 3, 2, 224, 224)),
        weights.values("probe.audio", (2, 128, 204)),
    )
    answer = network({"vision": vision[:, None], "audio": audio[:, None, None]})
    return {"vision": answer["vision"], "audio": answer["audio"]}


def clap_audio(weights: Any, signals: Any, checkpoint: Any) -> dict[str, Any]:
    """laion-clap's HTSAT-base with its projection on 10 s."""
    keep_off_the_hub()
    import laion_clap  # noqa: F401 (it puts `clap_module` on the path)
    from clap_module.htsat import create_htsat_model
    from clap_module.model import CLAPAudioCfp

    config = CLAPAudioCfp(
        model_type="HTSAT", model_name="base", sample_rate=48000, audio_length=1024, window_size=1024,
        hop_size=480, fmin=50, fmax=14000, class_num=527, mel_bins=64, clip_samples=480000,
    )  # fmt: skip
    projection = torch.nn.Sequential(torch.nn.Linear(1024, 512), torch.nn.ReLU(), torch.nn.Linear(512, 512))
    parts = torch.nn.ModuleDict({"audio_branch": create_htsat_model(config), "audio_projection": projection})
    fill(parts.eval(), weights, checkpoint, skip=("extractor", "attn_mask"), entry="state_dict")
    sound = torch.from_numpy(signals.wave(10, 48000, 1))[None]
    branch: Any = parts["audio_branch"]
    pooled = branch({"waveform": sound, "longer": torch.tensor([False])}, device="cpu")["embedding"]
    return {"embedding": torch.nn.functional.normalize(parts["audio_projection"](pooled), dim=-1)[0]}


def keep_off_the_hub() -> None:
    """laion-clap fetches tokenizers and text models when it is imported; the sound half needs none."""
    import transformers

    nothing = classmethod(lambda _cls, *_args, **_kwargs: None)
    for kind in (transformers.PreTrainedTokenizerBase, transformers.PreTrainedModel):
        setattr(kind, "from_pretrained", nothing)  # noqa: B010 (a checker refuses to assign a method)


def fill(
    network: torch.nn.Module,
    weights: Any,
    checkpoint: Any,
    skip: tuple[str, ...] = (),
    entry: str | None = None,
) -> None:
    """Give `network` deterministic weights, or those of an official checkpoint."""
    if checkpoint is None:
        weights.fill_(network, skip=skip)
        return
    state = checkpoint[entry] if entry else checkpoint
    own = network.state_dict()
    plain = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    lacking = [name for name in own if name not in plain and not any(word in name for word in skip)]
    if lacking:
        raise ValueError(f"the checkpoint lacks {len(lacking)} entries, e.g. {lacking[0]}")
    network.load_state_dict({name: tensor for name, tensor in plain.items() if name in own}, strict=False)


NETWORKS = {"passt": passt, "cnn14": cnn14, "imagebind": imagebind, "clap_audio": clap_audio}


def main() -> None:
    """Write the answers of one network as an .npz file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("deterministic", type=Path)
    parser.add_argument("signals", type=Path)
    parser.add_argument("reading", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("checkpoint", type=Path, nargs="?")
    given = parser.parse_args()
    sys.argv = sys.argv[:1]  # laion-clap parses the command line when it is imported
    weights, signals = load_module(given.deterministic), load_module(given.signals)
    checkpoint = load_module(given.reading).read_pickle(given.checkpoint) if given.checkpoint else None
    with torch.inference_mode():
        answers = NETWORKS[given.network](weights, signals, checkpoint)
    np.savez(given.out, **{name: tensor.float().numpy() for name, tensor in answers.items()})


if __name__ == "__main__":
    main()
