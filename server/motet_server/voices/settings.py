"""What a server can hear beside the answer's own model; read by every process that answers HTTP."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from motet_decoding.voices import MOST_VOICES

#: The further sequences and layers of one request unless the server is told otherwise.
DEFAULT_MAX_VOICES = 4


class VoiceSettings(BaseModel):
    """The voices of a server. Without an engine that was started for them there are none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    most: Annotated[
        int,
        Field(
            ge=0,
            le=MOST_VOICES,
            description="The most further sequences and layers that one request's contrast may hear; 0 serves without "
            "them, by vLLM's own scheduler.",
        ),
    ] = DEFAULT_MAX_VOICES
    no_groups: Annotated[
        str | None, Field(description="Why no sequence can be held in lockstep with the answer.")
    ] = "the engine wasn't started by `motet serve`"
    no_layers: Annotated[str | None, Field(description="Why none of the model's layers can be heard.")] = (
        "the engine wasn't started by `motet serve`"
    )
    no_edits: Annotated[
        str | None,
        Field(description="Why logits that other sequences contrast can't be biased or penalised as well."),
    ] = None
    layers: Annotated[tuple[int, ...], Field(description="The layers that can be heard.")] = ()
    depth: Annotated[int, Field(ge=0, description="How many layers the model has.")] = 0
    tied: Annotated[bool, Field(description="Whether its head is tied to its embedding.")] = False
