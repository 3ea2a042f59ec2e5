"""What one server is told at start; read by every process that answers HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from motet_decoding.best_of.request import MOST_CANDIDATES, BestOf, ScorerName
from motet_decoding.contrast import Contrast
from motet_server.adapters.settings import AdapterSettings
from motet_server.voices.settings import VoiceSettings

#: The request bodies a server reads unless told otherwise, in bytes.
DEFAULT_MAX_BODY = 16 * 2**20

#: The choices one request may ask for unless the server is told otherwise.
DEFAULT_MAX_CHOICES = 1024

#: The candidates one request may ask for unless the server is told otherwise.
DEFAULT_MAX_CANDIDATES = 64

#: Seconds that a scorer of somebody's own has for one prompt's candidates unless the server is told otherwise.
DEFAULT_SCORER_TIMEOUT = 60.0

#: What decides a `best_of` that names no scorer on the bundled model: chosen on the gym's validation problems, where
#: the bundled reward adapter alone is misled the more, the more candidates it may choose from.
BUNDLED_JUDGE = "reward+likelihood:sum"

#: What the bundled pair is called in /v1/models and in requests.
BUNDLED_NAME = "motet-toy"


class Preset(BaseModel):
    """What a model name of the form ``MODEL:NAME`` asks for without saying so in the body."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contrast: Annotated[Contrast | None, Field(description="The contrast that this name stands for.")] = None
    best_of: Annotated[BestOf | None, Field(description="The choice that this name stands for.")] = None


class RewardModel(BaseModel):
    """One reward model, where every process of the server finds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(description="What requests call it.")]
    model: Annotated[str, Field(description="A sequence-classification checkpoint, a folder or a hub name.")]
    url: Annotated[str, Field(description="Its server's address.")]
    key: Annotated[str, Field(description="What its server answers to, and nobody else knows.", repr=False)]
    process: Annotated[int, Field(description="Its server's process id.")]
    log: Annotated[str, Field(description="What its server printed.")]


class ServerSettings(BaseModel):
    """Everything of ours that vLLM's own options don't cover. Picklable: vLLM hands it to its API processes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amateur: Annotated[str | None, Field(description="The second model, a folder or a hub name.")] = None
    contrast: Annotated[Contrast, Field(description="What `contrast: true` and unnamed keys stand for.")] = (
        Contrast()
    )
    presets: Annotated[Mapping[str, Preset], Field(description="By the name behind the colon.")] = {}
    max_body: Annotated[int, Field(ge=1, description="Largest request body in bytes; more is a 413.")] = (
        DEFAULT_MAX_BODY
    )
    max_choices: Annotated[
        int,
        Field(
            ge=1,
            description="The most choices of one request: its prompts times its `n`, and times the sequences that give "
            "one where it names voices.",
        ),
    ] = DEFAULT_MAX_CHOICES
    max_candidates: Annotated[
        int,
        Field(
            ge=1,
            le=MOST_CANDIDATES,
            description="The most candidates of one request: its prompts times `best_of.n`.",
        ),
    ] = DEFAULT_MAX_CANDIDATES
    best_of_by: Annotated[ScorerName, Field(description="The scorer of a `best_of` that names none.")] = (
        "reward"
    )
    scorers: Annotated[
        Mapping[str, str], Field(description="Scorers of somebody's own, by name: where each is.")
    ] = {}
    scorer_timeout: Annotated[
        float, Field(gt=0, description="Seconds that one of those has for a prompt's candidates.")
    ] = DEFAULT_SCORER_TIMEOUT
    chatml: Annotated[
        bool, Field(description="The model has no chat template and answers in ChatML, ending at <|im_end|>.")
    ] = False
    adapters: Annotated[
        AdapterSettings | None, Field(description="Where adapters come from; none without it.")
    ] = None
    voices: Annotated[VoiceSettings, Field(description="What a contrast may hear beside an amateur.")] = (
        VoiceSettings()
    )
    rewards: Annotated[tuple[RewardModel, ...], Field(description="Reward models served beside.")] = ()
