"""What the kernels run on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from motet_benchmarks.errors import BenchmarkError

CPU, CUDA = "cpu", "cuda"


@dataclass(frozen=True, slots=True)
class Device:
    """One CPU or GPU.

    Attributes:
        kind: "cpu" or "cuda".
        name: the GPU's; "CPU".
        driver: the GPU's, if the system tells.
        cuda: that torch was built with; None on a CPU.
        threads: that torch uses on the CPU.
    """

    kind: str
    name: str
    driver: str | None
    cuda: str | None
    threads: int

    @property
    def stem(self) -> str:
        """The results' name, such as "kernels-cpu" or "kernels-nvidia-h200"."""
        return f"kernels-{re.sub('[^a-z0-9]+', '-', self.name.lower()).strip('-')}"

    def sentence(self) -> str:
        """The same in words, and whether a GPU was measured."""
        if self.kind == CPU:
            return f"On the CPU, {self.threads} threads. GPU: not run."
        return f"On {self.name}, driver {self.driver or 'unknown'}, CUDA {self.cuda}."


def find_device(kind: str | None) -> Device:
    """The device of a kind; None for a GPU where there is one. Raises BenchmarkError where there is none."""
    kind = kind or (CUDA if torch.cuda.is_available() else CPU)
    if kind == CPU:
        return Device(CPU, "CPU", None, None, torch.get_num_threads())
    if not torch.cuda.is_available():
        raise BenchmarkError("--device cuda: torch sees no CUDA device here")
    return Device(CUDA, torch.cuda.get_device_name(), _driver(), torch.version.cuda, torch.get_num_threads())


def _driver() -> str | None:
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"\d+\.\d+(\.\d+)?", text)
    return found.group() if found else None
