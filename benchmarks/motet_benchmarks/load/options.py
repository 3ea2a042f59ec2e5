"""What `motet bench serving` is told of servers and targets, read and checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.machine import without_secrets

if TYPE_CHECKING:
    from motet_benchmarks.load.records import Targets

#: What the server that is started is called.
BUNDLED = "bundled"
#: Seconds within which a good answer's first and further tokens come, where nothing else is said.
FIRST_TOKEN, PER_TOKEN = 0.5, 0.1


def named_urls(url: str | None, against: Sequence[str]) -> dict[str, str | None]:
    """Servers by what tables call them: the name before the address, else its host and port; None for the bundled one.

    Behind a # an address may name a model.

    Raises BenchmarkError for what is no address, and for two of one name.
    """
    told = [_named("--url", url) if url is not None else (BUNDLED, None)]
    told += [_named("--against", one) for one in against]
    names = [name for name, _ in told]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BenchmarkError(f"--against: two servers are called {twice}; call them NAME=URL")
    return dict(told)


def targets(
    first_token: float | None, per_token: float | None, end_to_end: float | None, *, stream: bool
) -> Targets:
    """The targets told; without any those for streams, and none for other answers.

    Raises BenchmarkError for one that no answer can be held against.
    """
    from motet_benchmarks.load.records import Targets

    told = {"--ttft-target": first_token, "--tpot-target": per_token, "--e2e-target": end_to_end}
    for option, value in told.items():
        if value is not None and not 0 < value < math.inf:
            raise BenchmarkError(f"{option} {value}: must be seconds, above zero")
        if value is not None and not stream and option != "--e2e-target":
            raise BenchmarkError(f"{option}: only a stream tells when its tokens come; leave out --no-stream")
    if stream and not any(told.values()):
        return Targets(first_token=FIRST_TOKEN, per_token=PER_TOKEN)
    return Targets(first_token=first_token, per_token=per_token, end_to_end=end_to_end)


def _named(option: str, told: str) -> tuple[str, str]:
    name, equals, url = told.partition("=")
    if not equals or "/" in name:
        name, url = "", told
    try:
        parts = urlsplit(url)
        place = parts.hostname and f"{parts.hostname}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        place = None
    if not place or parts.scheme not in ("http", "https"):
        raise BenchmarkError(
            f"{option} {without_secrets(told)}: must be [NAME=]URL[#MODEL], such as vllm=http://127.0.0.1:8001"
        )
    return name.strip() or place, url
