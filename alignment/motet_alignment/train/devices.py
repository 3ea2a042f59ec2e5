"""Where a training runs and in which precision."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from motet_alignment.errors import TrainError

# Processors that multiply bf16 matrices without widening them; others take longer in bf16 than in fp32.
_CPU_BF16 = re.compile(r"\b(avx512_bf16|amx_bf16|bf16)\b")


@dataclass(frozen=True, slots=True)
class Place:
    """Device and precision of one process among several."""

    device: Literal["cpu", "cuda"]
    precision: Literal["bf16", "fp32"]
    processes: int = 1
    process: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks to people."""
        return self.process == 0


def choose_place(device: str, precision: str) -> Place:
    """Where to train. Raises TrainError for what this machine doesn't have.

    With several GPUs and no launcher, this process takes the first one that it may see.
    """
    import torch

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    process = int(os.environ.get("RANK", "0"))
    if device == "auto":
        device = (
            "cuda" if torch.cuda.is_available() and os.environ.get("ACCELERATE_USE_CPU") != "true" else "cpu"
        )
    if device == "cuda":
        if not torch.cuda.is_available():
            raise TrainError("--device cuda: this machine has no CUDA device that torch can use")
        if processes == 1 and torch.cuda.device_count() > 1:
            seen = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
            os.environ["CUDA_VISIBLE_DEVICES"] = seen[0]
        computes = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        computes = _cpu_computes_bf16()
    if precision == "bf16" and device == "cuda" and not computes:
        raise TrainError("--precision bf16: this GPU doesn't compute in bf16; take fp32")
    bf16 = precision == "bf16" or (precision == "auto" and computes)
    return Place(
        "cuda" if device == "cuda" else "cpu",
        "bf16" if bf16 else "fp32",
        processes=processes,
        process=process,
    )


def _cpu_computes_bf16(about: Path = Path("/proc/cpuinfo")) -> bool:
    try:
        return _CPU_BF16.search(about.read_text()) is not None
    except OSError:
        return False
