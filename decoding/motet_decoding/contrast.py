"""What a request may ask of contrastive decoding, checked at the door.

With ``e`` and ``a`` the expert's and the amateur's logits at one position, ``s`` the strength, ``t`` the
amateur's temperature and ``alpha`` the plausibility, the next token is drawn from ``softmax(score)``:

    extrapolate:  score = (1 + s) e - s a / t          (O'Brien & Lewis, arXiv 2309.09117)
    ratio:        score = e - s a / t                  (Li et al., arXiv 2210.15097, at s = 1)

on the plausible head ``{e >= max(e) + log(alpha)}``, that is ``p_e >= alpha max p_e``; everything else is excluded.
The papers' log-softmax normalisers are constant along a row and cancel in the softmax. Of several voices ``a_k`` with
weights ``w_k``, ``w`` their sum:

    extrapolate:  score = (1 + s w) e - s sum_k w_k a_k / t
    ratio:        score = e - s sum_k w_k a_k / t       (proxy-tuning, arXiv 2401.08565: weights -1 and 1)
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator

from motet_decoding.adapting import Adapt
from motet_decoding.errors import RequestError
from motet_decoding.problems import first_problem
from motet_decoding.voices import SequenceVoice, Voice, WeightedVoice, read_against, said

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
        description="How much of the voice that it is against is taken away: 0 leaves the expert alone.",
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
        description="Divides the logits of the amateur, or of any voice in its place: below 1 sharpens what it "
        "objects to.",
    ),
]


class Formula(BaseModel):
    """How two voices' logits become one score."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    strength: Strength = 0.5
    plausibility: Plausibility = 0.1
    form: Annotated[
        Form,
        Field(
            description="`extrapolate`: (1+s) e - s a; `ratio`: e - s a, with e and a the two voices' logits."
        ),
    ] = "extrapolate"
    amateur_temperature: AmateurTemperature = 1.0
    adapt: Annotated[
        Adapt | None,
        Field(
            description="What a token's share of the strength follows: `entropy` and `divergence`, or an object with "
            "`by` and settings."
        ),
    ] = None

    @field_validator(
        "adapt", mode="before", json_schema_input_type=Literal["entropy", "divergence"] | Adapt | None
    )
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"by": value} if isinstance(value, str) else value

    @property
    def neutral(self) -> bool:
        """Whether this is exactly plain decoding, so that no second voice needs to be heard."""
        return self.strength == 0.0 and self.plausibility == 0.0


class Contrast(Formula):
    """An answer sharpened against other voices. Every field has a default, so ``{}`` is valid."""

    against: Annotated[
        Voice | tuple[WeightedVoice, ...],
        Field(
            description="The voice to contrast with: `amateur`, the server's second model; `base`, the model without "
            "its adapter; an object with an `adapter`, a `prompt` or `messages`; one with a `layer` or `layers`; or a "
            "list of objects with a `voice` and its `weight`."
        ),
    ] = "amateur"

    @field_validator("against", mode="plain", json_schema_input_type=Voice | tuple[WeightedVoice, ...])
    @classmethod
    def _read_against(cls, value: Any) -> Any:
        return read_against(value)

    @field_serializer("against")
    def _said(self, against: Voice | tuple[WeightedVoice, ...]) -> Any:
        if isinstance(against, tuple):
            return [voice.model_dump() for voice in against]
        return said(against)

    @property
    def sequences(self) -> int:
        """How many sequences of the engine give one answer: its own, and one for each voice that reads on its own."""
        if self.neutral:
            return 1
        return 1 + sum(
            weighted.weight != 0.0 and (weighted.voice == "base" or isinstance(weighted.voice, SequenceVoice))
            for weighted in self.voices
        )

    @property
    def voices(self) -> tuple[WeightedVoice, ...]:
        """All voices with their weights."""
        return self.against if isinstance(self.against, tuple) else (WeightedVoice(voice=self.against),)


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
    filled = {**defaults.model_dump(), **value}
    try:
        return Contrast.model_validate(filled)
    except ValidationError as error:
        raise first_problem(error, field, Contrast, filled) from None
