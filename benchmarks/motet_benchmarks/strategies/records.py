"""What a run is and what it leaves in its folder: `run.json`, and a line of `samples.jsonl` for each answer.

Everything that is reported is worked out from these two files, so a report can be made again, and two runs compared,
without asking anybody anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

#: Goes up when a report could misread what an older version wrote.
FORMAT = 1

RUN_FILE, SAMPLES_FILE = "run.json", "samples.jsonl"

#: What decides which answers are asked for, and of whom.
DECIDING = ("url", "server", "model", "strategies", "tasks", "draws", "seed", "tokens", "judge")

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Strategy(BaseModel):
    """One way to answer, as a request asks for it."""

    model_config = _FROZEN

    name: Annotated[str, Field(min_length=1, max_length=120, description="What tables call it.")]
    model: Annotated[
        str | None,
        Field(description="The endpoint's model, an adapter or a preset; its first one if not said."),
    ] = None
    sampling: Annotated[
        Mapping[str, Any], Field(description="Fields of the request, such as temperature and top_p.")
    ] = {}
    contrast: Annotated[Mapping[str, Any] | bool | None, Field(description="The request's `contrast`.")] = (
        None
    )
    best_of: Annotated[Mapping[str, Any] | int | None, Field(description="The request's `best_of`.")] = None
    sweep: Annotated[
        str | None,
        Field(description="The sweep that it is a point of; a sweep is drawn as one curve or map."),
    ] = None
    point: Annotated[
        Mapping[str, float], Field(description="Where in the sweep: strength, plausibility, n.")
    ] = {}

    @property
    def greedy(self) -> bool:
        """Whether another answer to the same problem would be the same."""
        return self.sampling.get("temperature") == 0

    def body(self) -> dict[str, Any]:
        """What it adds to a request, the model apart."""
        asked = {"contrast": self.contrast, "best_of": self.best_of}
        return {**self.sampling, **{name: value for name, value in asked.items() if value is not None}}


class TaskRecord(BaseModel):
    """One task of a run."""

    model_config = _FROZEN

    name: Annotated[str, Field(description="What tables call it.")]
    metric: Annotated[str, Field(description="What its score from 0 to 1 says, such as accuracy.")]
    problems: Annotated[int, Field(ge=1, description="How many.")]
    digest: Annotated[str, Field(description="SHA-256 of the problems and how they are graded.")]
    tokens: Annotated[
        int | None, Field(description="The longest answer; none where each of its requests says that itself.")
    ] = None


class Run(BaseModel):
    """What was asked of whom. Two runs of the same fingerprint may share a folder."""

    model_config = _FROZEN

    format: Annotated[int, Field(description="Of these files.")] = FORMAT
    command: Annotated[str, Field(description="What was typed.")]
    circumstances: Annotated[Mapping[str, Any], Field(description="The machine, versions and date.")]
    url: Annotated[str | None, Field(description="The endpoint; none where the run started its own.")] = None
    model: Annotated[str, Field(description="Whom strategies ask that name no model.")]
    strategies: Annotated[
        tuple[Strategy, ...], Field(description="In the order asked for; the first is compared with.")
    ]
    tasks: tuple[TaskRecord, ...]
    draws: Annotated[
        int, Field(ge=1, description="Answers to each problem by each strategy that isn't greedy.")
    ] = 1
    seed: int = 0
    tokens: Annotated[
        int | None,
        Field(description="The longest answer to whatever task; none where each has its own bound."),
    ] = None
    judge: Annotated[
        str | None, Field(description="Who gave rewards: a reward's name; none where nobody did.")
    ] = None
    server: Annotated[
        str,
        Field(description="Models and options of the server that was started; nothing of the bundled ones."),
    ] = ""
    concurrency: Annotated[int | None, Field(description="The most requests at once.")] = None
    warm_up: Annotated[
        int | None, Field(description="Answers of each strategy that came first, and don't count.")
    ] = None
    stream: Annotated[bool | None, Field(description="Whether streams were asked for.")] = None
    salted: Annotated[
        bool | None,
        Field(description="Whether strategies were kept from each other's prompts in the endpoint's cache."),
    ] = None
    changed: Annotated[
        tuple[str, ...], Field(description="What was different when the run was gone on with.")
    ] = ()
    refused: Annotated[
        Mapping[str, str], Field(description="Strategies that the endpoint doesn't serve, and what it said.")
    ] = {}

    def draws_of(self, strategy: Strategy) -> int:
        """How many answers to each problem `strategy` gives."""
        return 1 if strategy.greedy else self.draws

    def fingerprint(self) -> str:
        """SHA-256 of all that decides which answers are asked for."""
        asked = self.model_dump(mode="json", include=set(DECIDING))
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class Sample(BaseModel):
    """One answer of one strategy to one problem."""

    model_config = _FROZEN

    strategy: str
    task: str
    problem: Annotated[str, Field(description="Its id within the task.")]
    family: Annotated[str, Field(description="What kind of problem; the task's name where it has no kinds.")]
    draw: Annotated[int, Field(ge=0, description="Which of the answers to it.")] = 0
    context: Annotated[
        tuple[Mapping[str, str], ...], Field(description="The messages before the last one asked.")
    ] = ()
    prompt: Annotated[str, Field(description="The last message asked.")] = ""
    reference: Annotated[str | None, Field(description="What would have been right, for a reader.")] = None
    text: str
    refusal: Annotated[
        str | None,
        Field(
            description="Why the endpoint refused this one problem, whose answer then counts as an empty text."
        ),
    ] = None
    score: Annotated[
        float | None, Field(ge=0, le=1, description="By the task's grader; none where it has none.")
    ]
    reward: Annotated[float | None, Field(description="By the run's judge.")] = None
    declined: Annotated[bool, Field(description="Whether the text declines to answer.")] = False
    prompt_tokens: Annotated[int, Field(ge=0)]
    answer_tokens: Annotated[int, Field(ge=0, description="Of the answer that was returned.")]
    generated: Annotated[int, Field(ge=0, description="Tokens drawn, all candidates together.")]
    scored: Annotated[int, Field(ge=0, description="Tokens read by scorers to choose among candidates.")] = 0
    forwards: Annotated[
        int, Field(ge=0, description="Tokens computed by all models and voices together, prompts among them.")
    ]
    seconds: Annotated[float, Field(ge=0, description="From sending to the last byte.")]
    began: Annotated[
        float | None, Field(description="When it was sent, in seconds since 1970; none of a refused problem.")
    ] = None
    first_token: Annotated[
        float | None, Field(ge=0, description="Seconds to the first token; none unstreamed.")
    ] = None
    per_token: Annotated[
        float | None,
        Field(
            ge=0,
            description="Seconds for each further token; none unstreamed, with one token, or in one piece.",
        ),
    ] = None
    counted: Annotated[
        bool,
        Field(
            description="Whether its tokens are the pieces of a stream that told no usage, and no prompt's."
        ),
    ] = False
    finish: Annotated[str, Field(description="Why it ended: stop, length.")] = "stop"
