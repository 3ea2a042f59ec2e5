"""What a run of the load generator leaves: `load.json` as these models say, and a line of `load.csv` for each request.

Times are seconds, rates are per second. A latency is counted from the moment at which a request was due, so that one
that had to wait for the client, or behind others, is charged for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.statistics import Interval
from motet_benchmarks.strategies.records import Strategy

#: Goes up when a report could misread what an older version wrote.
FORMAT = 1

STEM = "load"
LOAD_FILE, SAMPLES_FILE = f"{STEM}.json", f"{STEM}.csv"

_FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

Metric = Literal["first token", "per token", "end to end"]
METRICS: tuple[Metric, ...] = ("first token", "per token", "end to end")


class Server(BaseModel):
    """Who is asked."""

    model_config = _FROZEN

    name: Annotated[str, Field(min_length=1, description="What tables call it.")]
    url: Annotated[str | None, Field(description="Where it is; none where the run started it.")] = None
    model: Annotated[str, Field(description="Whom members ask that name no model.")]


class Member(BaseModel):
    """One kind of request in the mix."""

    model_config = _FROZEN

    strategy: Strategy
    share: Annotated[float, Field(gt=0, description="Its part of the arrivals, beside the others' parts.")]


class Targets(BaseModel):
    """The longest latencies of a good answer; a request keeps those that are set."""

    model_config = _FROZEN

    first_token: Annotated[float | None, Field(gt=0, description="Seconds to the first token.")] = None
    per_token: Annotated[float | None, Field(gt=0, description="Seconds for each further token.")] = None
    end_to_end: Annotated[float | None, Field(gt=0, description="Seconds to the whole answer.")] = None


class Step(BaseModel):
    """One load: a rate of arrivals, or as many clients that each ask again once they are answered."""

    model_config = _FROZEN

    rate: Annotated[float | None, Field(gt=0, description="Arrivals a second; the mean, on a ramp.")] = None
    concurrency: Annotated[int | None, Field(ge=1, description="Requests open at once.")] = None

    @property
    def load(self) -> float:
        """Where it stands on a plot: the rate, or the number of clients. Raises ValueError where it has neither."""
        found = self.rate if self.rate is not None else self.concurrency
        if found is None:
            raise ValueError("a step needs a rate or a concurrency")
        return found

    def __str__(self) -> str:
        if self.rate is not None:
            return f"{self.rate:g}/s"
        return f"{self.concurrency} client{'' if self.concurrency == 1 else 's'}"


class Quantiles(BaseModel):
    """Percentiles of a latency over the answered requests that have one, with block bootstrap 95% intervals."""

    model_config = _FROZEN

    count: Annotated[int, Field(ge=1, description="Requests.")]
    p50: Interval
    p90: Interval
    p99: Interval


class Figures(BaseModel):
    """What a server did with a member of the mix, or all of them, in a step."""

    model_config = _FROZEN

    step: Annotated[int, Field(ge=0, description="Its place among the run's steps.")]
    server: str
    member: Annotated[str | None, Field(description="A strategy's name; none for all together.")] = None
    requests: Annotated[int, Field(ge=0, description="That were due while it was measured.")]
    answered: Annotated[int, Field(ge=0, description="Of these, wholly, whenever that was.")]
    failures: Annotated[Mapping[str, int], Field(description="The others, by kind.")] = {}
    offered: Annotated[float, Field(ge=0, description="Requests due, a second.")]
    completed: Annotated[
        float,
        Field(
            ge=0,
            description="The throughput: answers that ended while it was measured, a second. Some were due before, so "
            "that they can be more than were offered.",
        ),
    ]
    tokens: Annotated[
        float, Field(ge=0, description="Answers' tokens that came while it was measured, a second.")
    ]
    answer_tokens: Annotated[
        float | None, Field(ge=0, description="An answer's on average; none without one.")
    ] = None
    goodput: Annotated[
        Interval | None,
        Field(description="Requests a second that were answered within every target; none without targets."),
    ] = None
    good: Annotated[int | None, Field(ge=0, description="Requests that were.")] = None
    latency: Annotated[
        Mapping[Metric, Quantiles], Field(description="Without those that no answer has a figure for.")
    ] = {}
    growth: Annotated[
        float | None,
        Field(
            ge=0,
            description="The median seconds to the end of the last third of the requests over those of the first; none "
            "of few, on a ramp and in a closed loop.",
        ),
    ] = None


class Ratio(BaseModel):
    """A figure of another server over the first one's, on the same arrivals."""

    model_config = _FROZEN

    step: Annotated[int, Field(ge=0)]
    server: Annotated[str, Field(description="The other server.")]
    member: str | None = None
    figure: Annotated[str, Field(description="`goodput`, or a latency such as `first token p99`.")]
    ratio: Interval


class Client(BaseModel):
    """How well the client itself kept the times that it had set, towards one server in one step."""

    model_config = _FROZEN

    step: Annotated[int, Field(ge=0)]
    server: str
    late_p99: Annotated[
        float, Field(ge=0, description="Seconds after its time at which the client turned to it.")
    ]
    late_most: Annotated[float, Field(ge=0)]
    held: Annotated[int, Field(ge=0, description="Requests that waited since too many were open.")]
    most_open: Annotated[int, Field(ge=0, description="Requests at once.")]
    complaint: Annotated[
        str | None, Field(description="Why this step's figures are the client's as well as the server's.")
    ] = None


class Load(BaseModel):
    """A whole run."""

    model_config = _FROZEN

    format: Annotated[int, Field(description="Of these files.")] = FORMAT
    command: Annotated[str, Field(description="What was typed.")]
    circumstances: Annotated[Mapping[str, Any], Field(description="The machine, versions and date.")]
    servers: Annotated[tuple[Server, ...], Field(min_length=1, description="The first is compared with.")]
    mix: tuple[Member, ...]
    refused: Annotated[
        Mapping[str, Mapping[str, str]],
        Field(description="Members left out everywhere: the servers that don't serve them, and why."),
    ] = {}
    steps: tuple[Step, ...]
    ramp: Annotated[bool, Field(description="Whether the steps are parts of one rising rate.")] = False
    seconds: Annotated[float, Field(gt=0, description="That each server was measured for in each step.")]
    segments: Annotated[int, Field(ge=1, description="Turns of each server within a step, or on the ramp.")]
    warm_up: Annotated[float, Field(ge=0, description="Seconds of load before each turn that don't count.")]
    tokens: Annotated[int, Field(ge=1, description="The longest answer.")]
    exact: Annotated[bool, Field(description="Whether every answer was to have as many.")] = False
    inexact: Annotated[
        str | None, Field(description="Which server refused ignore_eos, so that none was asked for it.")
    ] = None
    stream: bool
    timeout: Annotated[float, Field(gt=0, description="Seconds after which a request has failed.")]
    max_open: Annotated[int, Field(ge=1, description="The most requests open at once.")]
    targets: Targets
    prompts: Annotated[str, Field(description="Where they come from.")]
    seed: int = 0
    errors: Annotated[
        Mapping[str, Mapping[str, str]],
        Field(description="By server, what the first failure of each kind said."),
    ] = {}
    at_once: Annotated[
        Mapping[str, int],
        Field(
            description="By server, answers of which nothing came before the end, where streams were asked for."
        ),
    ] = {}
    counted: Annotated[
        Mapping[str, int],
        Field(
            description="By server, answers whose tokens are the pieces of a stream, as nothing else told them."
        ),
    ] = {}
    figures: tuple[Figures, ...]
    ratios: tuple[Ratio, ...] = ()
    client: tuple[Client, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `path` holds. Raises BenchmarkError that names it where it can't be read."""
        try:
            found = cls.model_validate_json(path.read_bytes())
        except OSError as problem:
            raise BenchmarkError(f"{path}: can't be read: {problem.strerror or problem}") from None
        except ValidationError as problem:
            first = problem.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise BenchmarkError(f"{path}: no record of a load: {place}: {first['msg']}") from None
        if found.format != FORMAT:
            raise BenchmarkError(f"{path}: of format {found.format}, and only {FORMAT} can be read")
        return found
