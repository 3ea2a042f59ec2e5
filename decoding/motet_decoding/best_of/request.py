"""What a request may ask of best-of-N, checked at the door.

N candidates are drawn from one prompt, a scorer gives each a number, and the best is the answer. Two ways are cheaper
than drawing all of them to their end: ``reject`` drops the hopeless share of them on the way, and ``steps`` searches
step by step and goes on from the best only.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from motet_decoding.best_of.judge import Judge, WrongError, read_judge
from motet_decoding.errors import RequestError
from motet_decoding.problems import shown

#: Bounds of the client-controlled numbers, whatever a server allows.
MOST_CANDIDATES = 4096
MOST_TOKENS = 2**24
MOST_REPORTED = 8
MOST_CHECKPOINTS = 16
MOST_STEPS = 256
MOST_PATTERN = 500
MOST_NAME = 200
MOST_DELIMITER = 32

#: No defaults.
NOTHING: Mapping[str, Any] = MappingProxyType({})

ScorerName = Annotated[
    str,
    Field(
        max_length=MOST_NAME,
        description="`reward` (the one reward model there is) or `reward:NAME`; `likelihood` (mean of the answer's "
        "log-probabilities) or `likelihood:sum`; `certainty`; `implicit:ADAPTER` (an adapter against its base); "
        "`vote`, or `vote:SCORER` weighted by one of the others; a scorer that the server was started with; or a sum "
        "of scorers, `reward+0.5*likelihood:sum`.",
    ),
]
TotalTokens = Annotated[
    int | None,
    Field(
        ge=1,
        le=MOST_TOKENS,
        description="The most tokens that all candidates may have together; as many as they come to if not given.",
    ),
]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Vote(_Settings):
    """How answers are found in candidates, and what their votes weigh."""

    pattern: Annotated[
        str | None,
        Field(
            max_length=MOST_PATTERN,
            description="A regular expression (RE2's syntax); the last match is the answer, its first group if it has "
            "any. The last number of the candidate if not given.",
        ),
    ] = None
    weights: Annotated[
        Literal["softmax", "sigmoid", "score", "borda"],
        Field(
            description="What a candidate's vote weighs under `vote:SCORER`: its share of the softmax of the scores, "
            "the sigmoid of its score, the score itself (of a scorer that gives none below 0), or (N - rank + 1)^power."
        ),
    ] = "softmax"
    power: Annotated[
        float, Field(ge=0.0, le=10.0, allow_inf_nan=False, description="Of `borda`: 0 counts all alike.")
    ] = 1.0


class Reject(_Settings):
    """Early rejection: partial answers are scored, and the worst share of them is dropped."""

    at: Annotated[
        int | tuple[int, ...],
        Field(
            description="How many tokens a candidate has when it is looked at: a rising list, or the first number of "
            "one that doubles."
        ),
    ]
    share: Annotated[
        float,
        Field(gt=0.0, lt=1.0, allow_inf_nan=False, description="Of the candidates still there, how many go."),
    ] = 0.5
    by: Annotated[
        ScorerName | None, Field(description="Scores partial answers; the scorer of whole ones.")
    ] = None
    max_total_tokens: TotalTokens = None

    @field_validator("at", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("at")
    @classmethod
    def _rising(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        listed = (value,) if isinstance(value, int) else value
        if not 1 <= len(listed) <= MOST_CHECKPOINTS:
            raise ValueError(f"must have between 1 and {MOST_CHECKPOINTS} numbers")
        if listed[0] < 1 or listed[-1] > MOST_TOKENS or any(b <= a for a, b in pairwise(listed)):
            raise ValueError(f"must rise, from 1 to at most {MOST_TOKENS}")
        return value

    def checkpoints(self, most: int) -> tuple[int, ...]:
        """The token counts below ``most``, the longest that an answer may get, at which candidates are looked at."""
        if isinstance(self.at, tuple):
            return tuple(at for at in self.at if at < most)
        found, at = [], self.at
        while at < most:
            found.append(at)
            at *= 2
        return tuple(found)


class Steps(_Settings):
    """Process-guided beam search: each step has several continuations, the best partial answers go on."""

    width: Annotated[
        int,
        Field(
            ge=1,
            le=MOST_CANDIDATES,
            description="Partial answers that go on; each gets n / width continuations.",
        ),
    ]
    until: Annotated[
        str, Field(min_length=1, max_length=MOST_DELIMITER, description="The text that ends a step.")
    ] = "\n"
    by: Annotated[
        ScorerName | None, Field(description="Scores partial answers; the scorer of whole ones.")
    ] = None
    score: Annotated[
        Literal["last", "min", "product"],
        Field(
            description="What a partial answer is worth, of its steps' scores: the last one, the least, or the product "
            "of their sigmoids."
        ),
    ] = "last"
    max_steps: Annotated[
        int, Field(ge=1, le=MOST_STEPS, description="After so many an answer is taken as it is.")
    ] = 40
    max_total_tokens: TotalTokens = None


class BestOf(_Settings):
    """The best of N candidates. Only ``n`` has no default."""

    n: Annotated[
        int, Field(ge=1, le=MOST_CANDIDATES, description="How many candidates are drawn from the prompt.")
    ]
    by: Annotated[ScorerName, Field(description="What decides.")] = "reward"
    return_: Annotated[
        int, Field(ge=1, alias="return", description="How many of the best are returned, the best one first.")
    ] = 1
    vote: Annotated[Vote, Field(description="Of `by: vote`.")] = Vote()
    report: Annotated[
        tuple[ScorerName, ...],
        Field(max_length=MOST_REPORTED, description="More scorers whose scores are told and decide nothing."),
    ] = ()
    reject: Annotated[Reject | None, Field(description="Drop hopeless candidates early.")] = None
    steps: Annotated[Steps | None, Field(description="Search step by step.")] = None
    on_error: Annotated[
        Literal["error", "likelihood"],
        Field(
            description="When the scorer fails: an error, or the likeliest candidate, and the answer says so."
        ),
    ] = "error"
    candidates: Annotated[
        bool, Field(description="Put all candidates' texts into the answer's `motet` field.")
    ] = False
    provisional: Annotated[
        bool,
        Field(
            description="Of a stream: each best so far in `motet`, where candidates are scored one by one."
        ),
    ] = False

    @field_validator("report", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _together(self) -> BestOf:
        if self.return_ > self.n:
            raise WrongError("return", f"asks for {self.return_} of {self.n} candidates")
        if self.reject is not None and self.steps is not None:
            raise WrongError("steps", "can't be combined with reject")
        if self.steps is not None and self.n % self.steps.width:
            raise WrongError(
                "steps.width", f"must divide n, and {self.n} / {self.steps.width} is no whole number"
            )
        if self.steps is not None and self.return_ > self.steps.width:
            raise WrongError(
                "return", f"asks for {self.return_} of {self.steps.width} that go on (steps.width)"
            )
        named = [("by", self.by), *((f"report.{index}", name) for index, name in enumerate(self.report))]
        if "vote" in self.model_fields_set:
            self._vote_read()
        partial = self.reject or self.steps
        if partial is not None and partial.by is not None:
            named.append(("reject.by" if self.reject else "steps.by", partial.by))
        for field, name in named:
            judge = read_judge(name, field)
            if judge.vote and field != "by":
                raise WrongError(field, "a vote can only decide (by)")
        if partial is not None and partial.by is None and read_judge(self.by).scorer is None:
            raise WrongError("by", "a plain vote can't score partial answers; name a scorer for them")
        return self

    def _vote_read(self) -> None:
        """Refuses what would be said of a vote in vain."""
        judge, said = self.judge, self.vote.model_fields_set
        if not judge.vote:
            raise WrongError("vote", f"only a vote reads it, and the candidates are chosen by {self.by}")
        if judge.scorer is None and (said & {"weights", "power"}):
            raise WrongError("vote.weights", "a plain vote has none; name a scorer, such as vote:reward")
        if self.vote.weights == "score" and (judge.scorer or "").partition(":")[0] == "likelihood":
            raise WrongError(
                "vote.weights", "log-likelihoods are below 0: with them the fewest votes would win"
            )
        if "power" in said and self.vote.weights != "borda":
            raise WrongError("vote.power", "only weights: borda has one")

    @property
    def given(self) -> dict[str, Any]:
        """What was said of it, without defaults: ``parse_best_of`` takes it for defaults of another."""
        return self.model_dump(by_alias=True, exclude_unset=True)

    @property
    def judge(self) -> Judge:
        """Who decides."""
        return read_judge(self.by)

    @property
    def partial(self) -> str | None:
        """The scorer of partial answers; None where none are scored."""
        part = self.reject or self.steps
        return None if part is None else part.by or self.judge.scorer


#: Pydantic's complaints that speak of Python.
_KINDS = {
    "tuple_type": "must be a list",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}


def parse_best_of(value: Any, defaults: Mapping[str, Any] = NOTHING, field: str = "best_of") -> BestOf:
    """Reads a request's ``best_of`` object.

    Args:
        value: the decoded JSON value: an object, or a number of candidates.
        defaults: what the server and a preset fill in, by key.
        field: the field's name in the request body, for the error.

    Raises:
        RequestError: naming the field, for an unknown key, a wrong type or a number out of range.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = {"n": value}
    if not isinstance(value, dict):
        raise RequestError(field, f"must be an object or a number of candidates, not {type(value).__name__}")
    filled = dict(defaults)
    # What a client says takes the place of what can't stand beside it.
    for said, gone in (("reject", "steps"), ("steps", "reject"), ("by", "vote")):
        if value.get(said) is not None:
            filled.pop(gone, None)
    try:
        return BestOf.model_validate({**filled, **value})
    except ValidationError as error:
        raise _first_problem(error, field) from None


def _first_problem(error: ValidationError, field: str) -> RequestError:
    """The first of pydantic's complaints, as a field and a sentence."""
    problem = error.errors(include_url=False)[0]
    cause = problem.get("ctx", {}).get("error")
    # Members of a union are told apart in pydantic's path, which clients don't know of.
    place = [str(part) for part in problem["loc"] if not str(part).startswith(("tuple[", "int"))]
    path = ".".join([field, *place])
    if isinstance(cause, WrongError):
        return RequestError(f"{field}.{cause.field}", str(cause))
    if problem["type"] == "extra_forbidden":
        models: dict[str, type[BaseModel]] = {"vote": Vote, "reject": Reject, "steps": Steps}
        of = models.get(place[0], BestOf) if len(place) > 1 else BestOf
        known = ", ".join(each.alias or name for name, each in of.model_fields.items())
        return RequestError(path, f"unknown key; known are {known}")
    if problem["type"] == "missing":
        return RequestError(path, "must be given")
    message = _KINDS.get(problem["type"], problem["msg"]).removeprefix("Value error, ")
    return RequestError(path, f"{message[0].lower()}{message[1:]}, got {shown(problem['input'])}")
