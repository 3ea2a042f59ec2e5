"""What a server is told of adapters at its start; read by every process that answers HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from motet_alignment.store import BaseFingerprint

#: What a server takes unless told otherwise.
DEFAULT_SLOTS = 4
DEFAULT_MOST = 16
DEFAULT_RANK = 32
DEFAULT_UPLOAD = 2 * 2**30


class AdapterOptions(BaseModel):
    """What the command line says of adapters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    store: Annotated[Path | None, Field(description="Where they are published; $MOTET_HOME/adapters.")] = None
    slots: Annotated[int, Field(ge=1, description="Adapters in one step of the engine.")] = DEFAULT_SLOTS
    most: Annotated[int, Field(ge=1, description="Versions that the engine keeps loaded.")] = DEFAULT_MOST
    max_rank: Annotated[int, Field(ge=1, description="The largest rank an adapter may have.")] = DEFAULT_RANK
    pins: Annotated[tuple[str, ...], Field(description="NAME or NAME@VERSION, never unloaded for room.")] = ()
    max_upload: Annotated[int, Field(ge=1, description="The largest uploaded adapter, in bytes.")] = (
        DEFAULT_UPLOAD
    )


class AdapterSettings(BaseModel):
    """Everything that the shelf and its routes need to know. Picklable: vLLM hands it to its API processes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: Annotated[Path, Field(description="Where adapters are published; watched.")]
    bundled: Annotated[Path | None, Field(description="The store of the bundled adapters; only read.")] = None
    folder: Annotated[Path, Field(description="The server's own, for the copies of what it serves.")]
    model: Annotated[Path, Field(description="The base model's folder.")]
    base: Annotated[BaseFingerprint, Field(description="What it is; other models' adapters are refused.")]
    most: Annotated[int, Field(ge=1, description="Versions that the engine keeps loaded.")] = DEFAULT_MOST
    max_rank: Annotated[int, Field(ge=1, description="The largest rank an adapter may have.")] = DEFAULT_RANK
    pins: Annotated[tuple[str, ...], Field(description="NAME or NAME@VERSION, never unloaded for room.")] = ()
    max_upload: Annotated[int, Field(ge=1, description="The largest uploaded adapter, in bytes.")] = (
        DEFAULT_UPLOAD
    )
    no_rewards: Annotated[str | None, Field(description="Why the engine can't score, if it can't.")] = None
