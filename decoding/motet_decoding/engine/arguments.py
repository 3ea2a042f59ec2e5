"""How a checked request travels to the engine: sampling arguments under a key that no client can know.

vLLM hands ``SamplingParams.extra_args`` through to logits processors untouched, and clients may fill them
(``vllm_xargs``). What our own code says there must therefore stand under a name that can't be guessed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from motet_decoding.contrast import Formula
from motet_decoding.voices import MOST_VOICES

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
        cache_salt: the request's prefix-cache salt. Requests that hear the amateur share prefix blocks among
            themselves only, because the blocks of plain requests need not hold the amateur's keys and values.
    """

    extra_args: dict[str, str]
    cache_salt: str | None


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


class Heard(BaseModel):
    """One voice of a contrast, where the engine finds it.

    Attributes:
        source: the second model, another member of the group, or a layer of the answer's own model.
        member: which member of the group, from 1 on.
        layers: the layers among which the one that differs most from the last is chosen; one is the one.
        weight: of its logits among those that are taken away.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Literal["amateur", "member", "layer"]
    member: Annotated[int, Field(ge=0, le=MOST_VOICES)] = 0
    layers: tuple[int, ...] = ()
    weight: float = 1.0


#: The voice of the second model.
AMATEUR = Heard(source="amateur")


class Mix(Formula):
    """A contrast as the engine makes it: the formula, and the voices that it takes away."""

    voices: tuple[Heard, ...] = (AMATEUR,)

    @classmethod
    def of(cls, formula: Formula, voices: tuple[Heard, ...]) -> Mix:
        """``formula`` over ``voices``."""
        return cls(**{name: getattr(formula, name) for name in Formula.model_fields}, voices=voices)

    @property
    def hears_amateur(self) -> bool:
        """Whether the second model takes part."""
        return any(voice.source == "amateur" for voice in self.voices)


class AdapterFile(BaseModel):
    """A LoRA adapter as vLLM is told of it.

    Attributes:
        name: its reference, which is part of the key of prefix-cache blocks.
        number: vLLM's number of it.
        path: its folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    number: Annotated[int, Field(ge=1)]
    path: str


class Member(BaseModel):
    """A sequence that is held in lockstep with the answer: it takes the answer's tokens and is heard before each.

    Attributes:
        tokens: its prompt; None for the answer's own.
        adapter: its adapter; None for the model without any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: tuple[int, ...] | None = None
    adapter: AdapterFile | None = None


class Asked(BaseModel):
    """What one engine request asks of our own code beside vLLM's.

    Attributes:
        contrast: the contrast to sample from.
        members: the other sequences of the group that it leads, from member 1 on.
        group: the number of its group, which the scheduler gives; every member of it has the same.
        member: its place in the group; 0 leads.
        reward_head: the safetensors file by which the last token is scored instead of being followed by another.
        measure: keep the certainty of each drawn token under this name.
        reading: tell what was kept instead of drawing a token.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    contrast: Mix | None = None
    members: tuple[Member, ...] = ()
    group: int | None = None
    member: Annotated[int, Field(ge=0, le=MOST_VOICES)] = 0
    reward_head: Path | None = None
    measure: Annotated[str, Field(max_length=MEASURE_LENGTH)] | None = None
    reading: Reading | None = None


NOTHING = Asked()


def engine_arguments(
    formula: Formula, cache_salt: str | None = None, members: Sequence[Member] = ()
) -> EngineArguments:
    """The engine request's arguments for a contrast that isn't neutral.

    Args:
        formula: a ``Mix``; anything else is taken to be against the amateur.
        cache_salt: the client's own.
        members: the sequences that the mix hears.
    """
    key, mix = ensure_engine_key(), formula if isinstance(formula, Mix) else Mix.of(formula, (AMATEUR,))
    asked = Asked(contrast=mix, members=tuple(members))
    return EngineArguments(
        extra_args={key: asked.model_dump_json(exclude_none=True)},
        cache_salt=f"{key}:{cache_salt or ''}" if mix.hears_amateur else cache_salt,
    )


def own_salt(cache_salt: str | None, key: str) -> str | None:
    """The client's own salt, of a salt that ``engine_arguments`` may have made of it."""
    if cache_salt is None or not cache_salt.startswith(f"{key}:"):
        return cache_salt
    return cache_salt.removeprefix(f"{key}:") or None


def continued_arguments(extra_args: Mapping[str, Any] | None, said: Sequence[int]) -> dict[str, Any] | None:
    """``extra_args`` of a request that goes on with an answer: members with prompts of their own have read it too.

    Args:
        extra_args: those with which the answer was begun.
        said: the answer's tokens so far.
    """
    key = ensure_engine_key()
    asked = read_asked(extra_args, key)
    if not any(member.tokens is not None for member in asked.members):
        return None if extra_args is None else dict(extra_args)
    members = tuple(
        member if member.tokens is None else member.model_copy(update={"tokens": (*member.tokens, *said)})
        for member in asked.members
    )
    asked = asked.model_copy(update={"members": members})
    return {**(extra_args or {}), key: asked.model_dump_json(exclude_none=True)}


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
    return _parsed(extra_args[key])


@lru_cache(maxsize=8)
def _parsed(text: str) -> Asked:
    """All candidates of a request say the same, in as many tokens as its voices read, and are read several times."""
    return Asked.model_validate_json(text)


def read_contrast(extra_args: Mapping[str, Any] | None, key: str) -> Mix | None:
    """The contrast in ``read_asked``'s answer, or None."""
    return read_asked(extra_args, key).contrast
