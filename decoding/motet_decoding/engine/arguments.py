"""How a checked request travels to the engine: sampling arguments under a key that no client can know.

vLLM hands ``SamplingParams.extra_args`` through to logits processors untouched, and clients may fill them
(``vllm_xargs``). What our own code says there must therefore stand under a name that can't be guessed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from motet_decoding.contrast import Contrast

#: Hands the key from the process that launches the engine to those it starts.
KEY_VARIABLE = "MOTET_ENGINE_KEY"


@dataclass(frozen=True, slots=True)
class EngineArguments:
    """What to put into one engine request.

    Attributes:
        extra_args: goes into ``SamplingParams.extra_args`` (over HTTP: ``vllm_xargs``).
        cache_salt: the request's prefix-cache salt. Contrast requests share prefix blocks among themselves only,
            because the blocks of plain requests need not hold the amateur's keys and values.
    """

    extra_args: dict[str, str]
    cache_salt: str


def ensure_engine_key() -> str:
    """This server's secret; made at the first call, inherited by the processes started afterwards."""
    return os.environ.setdefault(KEY_VARIABLE, f"motet-{secrets.token_hex(16)}")


def engine_arguments(contrast: Contrast, cache_salt: str | None = None) -> EngineArguments:
    """The engine request's arguments for a contrast that isn't neutral; ``cache_salt`` is the client's own."""
    key = ensure_engine_key()
    return EngineArguments(
        extra_args={key: contrast.model_dump_json()},
        cache_salt=f"{key}:{cache_salt or ''}",
    )


def read_contrast(extra_args: Mapping[str, Any] | None, key: str) -> Contrast | None:
    """What ``engine_arguments`` wrote, or None for a plain request."""
    if not extra_args or key not in extra_args:
        return None
    return Contrast.model_validate_json(extra_args[key])
