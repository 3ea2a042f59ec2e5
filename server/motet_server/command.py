"""The command line of ``motet serve``, ours of it read and the rest left for vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from motet_decoding.contrast import Contrast
from motet_decoding.voices import MOST_VOICES
from motet_server.adapters.settings import AdapterOptions
from motet_server.settings import (
    DEFAULT_MAX_BODY,
    DEFAULT_MAX_CANDIDATES,
    DEFAULT_MAX_CHOICES,
    DEFAULT_SCORER_TIMEOUT,
)
from motet_server.voices.settings import DEFAULT_MAX_VOICES


class ServeCommand(BaseModel):
    """What was asked on the command line, ours; ``vllm`` holds what is left for vLLM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[
        str | None, Field(description="A folder or hub name; the bundled expert if not given.")
    ] = None
    amateur: str | None = None
    amateur_revision: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="0 takes a free one.")] = 8000
    contrast: Contrast = Contrast()
    presets: Path | None = None
    preset: tuple[str, ...] = ()
    max_body: int = DEFAULT_MAX_BODY
    max_choices: int = DEFAULT_MAX_CHOICES
    max_candidates: int = DEFAULT_MAX_CANDIDATES
    best_of_by: str | None = None
    scorers: tuple[str, ...] = ()
    scorer_timeout: float = DEFAULT_SCORER_TIMEOUT
    default_chat_template: Literal["refuse", "chatml"] = "refuse"
    adapters: AdapterOptions = AdapterOptions()
    rewards: tuple[str, ...] = ()
    max_voices: Annotated[int, Field(ge=0, le=MOST_VOICES)] = DEFAULT_MAX_VOICES
    layers: Annotated[
        str | None,
        Field(description="As `voices.launch.read_layers` takes it; depends on the model if not given."),
    ] = None
    verbose: bool = False
    vllm: tuple[str, ...] = ()


def split_model(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The model, if it stands first, and what is left for vLLM."""
    if arguments and not arguments[0].startswith("-"):
        return arguments[0], list(arguments[1:])
    return None, list(arguments)
