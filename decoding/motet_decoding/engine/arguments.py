"""How a checked request travels to the engine: sampling arguments under a key that no client can know.

vLLM hands ``SamplingParams.extra_args`` through to logits processors untouched, and clients may fill them
(``vllm_xargs``). What our own code says there must therefore stand under a name that can't be guessed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from motet_decoding.contrast import Contrast

#: Hands the secret from the process that launches the engine to those it starts; on several nodes, a person does.
KEY_VARIABLE = "MOTET_ENGINE_KEY"

#: What our keys begin with, and no client's may.
KEY_PREFIX = "motet-"

#: The longest name of a measurement.
MEASURE_LENGTH = 64


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
    """This server's key; its secret is made at the first call and inherited by the processes started afterwards."""
    return f"{KEY_PREFIX}{os.environ.setdefault(KEY_VARIABLE, secrets.token_hex(16))}"


def engine_key() -> str:
    """The key of the server that this process works for.

    Raises:
        RuntimeError: where nobody handed its secret over, so that a contrast could only be ignored.
    """
    if not os.environ.get(KEY_VARIABLE):
        raise RuntimeError(f"{KEY_VARIABLE} isn't set in this process; set it to the same text on every node")
    return ensure_engine_key()


class Reading(BaseModel):
    """Which certainties an engine request is to tell.

    Attributes:
        measure: the name they were kept under.
        tokens: the mean over so many, from the first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    measure: Annotated[str, Field(max_length=MEASURE_LENGTH)]
    tokens: Annotated[int, Field(ge=1)]


class Asked(BaseModel):
    """What one engine request asks of our own code beside vLLM's.

    Attributes:
        contrast: the contrast to sample from.
        reward_head: the safetensors file by which the last token is scored instead of being followed by another.
        measure: keep the certainty of each drawn token under this name.
        reading: tell what was kept instead of drawing a token.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    contrast: Contrast | None = None
    reward_head: Path | None = None
    measure: Annotated[str, Field(max_length=MEASURE_LENGTH)] | None = None
    reading: Reading | None = None


NOTHING = Asked()


def engine_arguments(contrast: Contrast, cache_salt: str | None = None) -> EngineArguments:
    """The engine request's arguments for a contrast that isn't neutral; ``cache_salt`` is the client's own."""
    key = ensure_engine_key()
    return EngineArguments(
        extra_args={key: Asked(contrast=contrast).model_dump_json(exclude_none=True)},
        cache_salt=f"{key}:{cache_salt or ''}",
    )


def reward_arguments(head: Path) -> dict[str, str]:
    """The ``extra_args`` of an engine request that is to be scored by ``head``."""
    return {ensure_engine_key(): Asked(reward_head=head).model_dump_json(exclude_none=True)}


def measure_arguments(extra_args: Mapping[str, Any] | None, measure: str) -> dict[str, Any]:
    """``extra_args``, with the wish that the certainty of each drawn token is kept under ``measure``."""
    key = ensure_engine_key()
    asked = read_asked(extra_args, key).model_copy(update={"measure": measure})
    return {**(extra_args or {}), key: asked.model_dump_json(exclude_none=True)}


def reading_arguments(measure: str, tokens: int) -> dict[str, str]:
    """The ``extra_args`` of an engine request that is told what was kept under ``measure``."""
    asked = Asked(reading=Reading(measure=measure, tokens=tokens))
    return {ensure_engine_key(): asked.model_dump_json(exclude_none=True)}


def read_asked(extra_args: Mapping[str, Any] | None, key: str) -> Asked:
    """What one of the functions above wrote; nothing for a plain request.

    Raises:
        ValueError: for what stands under another key, which must not pass for a plain request.
    """
    for name in extra_args or ():
        if name.startswith(KEY_PREFIX) and name != key:
            raise ValueError(
                f"vllm_xargs: names that begin with {KEY_PREFIX} are reserved for the server; if it wrote this one "
                f"itself, {KEY_VARIABLE} isn't the same on every node"
            )
    if not extra_args or key not in extra_args:
        return NOTHING
    return Asked.model_validate_json(extra_args[key])


def read_contrast(extra_args: Mapping[str, Any] | None, key: str) -> Contrast | None:
    """The contrast in ``read_asked``'s answer, or None."""
    return read_asked(extra_args, key).contrast
