"""The machine of a measurement, by its properties: never by its name, and without paths."""

import os
import platform
from pathlib import Path

import numpy as np
import psutil
import scipy
import torch


def described() -> str:
    """Return one line: processor, cores, threads, memory, system, versions."""
    parts = (
        f"{processor()} ({platform.machine()}), {os.cpu_count()} cores",
        f"{torch.get_num_threads()} threads of torch",
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB of memory, {accelerator()}",
        platform.system(),
        f"Python {platform.python_version()}, torch {torch.__version__}",
        f"NumPy {np.__version__}, SciPy {scipy.__version__}",
    )
    return "; ".join(parts)


def processor() -> str:
    """Return the processor's model as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def accelerator() -> str:
    """Return the GPU's model."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
