"""What a request may ask of contrastive decoding, checked at the door.

With ``e`` and ``a`` the expert's and the amateur's logits at one position, ``s`` the strength, ``t`` the
amateur's temperature and ``alpha`` the plausibility, the next token is drawn from ``softmax(score)``:

    extrapolate:  score = (1 + s) e - s a / t          (O'Brien & Lewis, arXiv 2309.09117)
    ratio:        score = e - s a / t                  (Li et al., arXiv 2210.15097, at s = 1)

on the plausible head ``{e >= max(e) + log(alpha)}``, that is ``p_e >= alpha max p_e``; everything else is excluded.
The papers' log-softmax normalisers are constant along a row and cancel in the softmax.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from motet_decoding.errors import RequestError

Form = Literal["extrapolate", "ratio"]

#: Bounds of the client-controlled numbers.
MAX_STRENGTH = 10.0
MIN_AMATEUR_TEMPERATURE = 0.05
MAX_AMATEUR_TEMPERATURE = 20.0

Strength = Annotated[
    float,
    Field(
        ge=0.0,
        le=MAX_STRENGTH,
        allow_inf_nan=False,
        description="How much of the amateur is taken away: 0 leaves the expert alone.",
    ),
]
Plausibility = Annotated[
    float,
    Field(
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="Tokens less than this share as likely as the expert's favourite are excluded: "
        "0 excludes none, 1 leaves the favourite alone.",
    ),
]
AmateurTemperature = Annotated[
    float,
    Field(
        ge=MIN_AMATEUR_TEMPERATURE,
        le=MAX_AMATEUR_TEMPERATURE,
        allow_inf_nan=False,
        description="Divides the amateur's logits: below 1 sharpens what it objects to.",
    ),
]


class Contrast(BaseModel):
    """An expert's answer sharpened against an amateur's. Every field has a default, so ``{}`` is valid."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    against: Annotated[
        Literal["amateur"], Field(description="The voice to contrast with: the server's second model.")
    ] = "amateur"
    strength: Strength = 0.5
    plausibility: Plausibility = 0.1
    form: Annotated[
        Form,
        Field(
            description="`extrapolate`: (1+s) e - s a; `ratio`: e - s a, with e and a the two voices' logits."
        ),
    ] = "extrapolate"
    amateur_temperature: AmateurTemperature = 1.0

    @property
    def neutral(self) -> bool:
        """Whether this is exactly plain decoding, so that no second voice needs to be heard."""
        return self.strength == 0.0 and self.plausibility == 0.0


def parse_contrast(value: Any, defaults: Contrast, field: str = "contrast") -> Contrast | None:
    """Reads a request's ``contrast`` field.

    Args:
        value: the decoded JSON value: ``None`` or ``false`` ask for none, ``true`` for the defaults, an
            object for the defaults with its own keys over them.
        defaults: what the server (or the preset chosen by model name) fills in.
        field: the field's name in the request body, for the error.

    Raises:
        RequestError: naming the field, for an unknown key, a wrong type or a number out of range.
    """
    if value is None or value is False:
        return None
    if value is True:
        return defaults
    if not isinstance(value, dict):
        raise RequestError(field, f"must be an object, true, false or null, not {type(value).__name__}")
    try:
        return Contrast.model_validate({**defaults.model_dump(), **value})
    except ValidationError as error:
        raise _first_problem(error, field) from None


def _first_problem(error: ValidationError, field: str) -> RequestError:
    """The first of pydantic's complaints, as a field and a sentence."""
    problem = error.errors(include_url=False)[0]
    path = ".".join([field, *(str(part) for part in problem["loc"])])
    if problem["type"] == "extra_forbidden":
        known = ", ".join(Contrast.model_fields)
        return RequestError(path, f"unknown key; known are {known}")
    message = problem["msg"]
    return RequestError(path, f"{message[0].lower()}{message[1:]}, got {problem['input']!r:.80}")
