"""The voices that an answer can be contrasted with, as a request names them.

A *sequence* voice is another conversation, or other weights, or both: it reads its own prompt, then every token of the
answer. A *layer* voice is the answer's own model, read too early.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from motet_decoding.errors import RequestError
from motet_decoding.problems import first_problem, shown

#: The most voices that any request may name, whatever a server allows.
MOST_VOICES = 8

#: The largest weight of a voice among several, either way.
MAX_WEIGHT = 10.0

#: The most layers that a model can have, as far as requests are concerned.
MOST_LAYERS = 1024


#: Stands for the adapter of the answer itself, or for none where it has none.
OWN_ADAPTER = ""


class SequenceVoice(BaseModel):
    """The same model elsewhere: other weights, another prompt, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    adapter: Annotated[
        str | None,
        Field(
            max_length=256,
            description="`NAME` or `NAME@VERSION`; null is the model without any. The answer's own if not said.",
        ),
    ] = OWN_ADAPTER
    prompt: Annotated[
        str | Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(fail_fast=True)] | None,
        Field(description="A text, or its tokens, read in the place of the answer's prompt."),
    ] = None
    messages: Annotated[
        Annotated[tuple[Mapping[str, Any], ...], Field(fail_fast=True)] | None,
        Field(description="A conversation, read in the place of the answer's prompt."),
    ] = None

    @field_validator("prompt", mode="before")
    @classmethod
    def _text_or_tokens(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, str | list | tuple):
            raise ValueError("must be a text or a list of tokens")
        return tuple(value) if isinstance(value, list) else value

    @field_validator("messages", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, list | tuple):
            raise ValueError("must be a list of messages")
        return value if value is None else tuple(value)

    @model_validator(mode="after")
    def _says_one_thing(self) -> SequenceVoice:
        if self.prompt is not None and self.messages is not None:
            raise ValueError("has one prompt: a prompt or messages, not both")
        for name, value in (("prompt", self.prompt), ("messages", self.messages)):
            if value is not None and len(value) == 0:
                raise ValueError(f"{name} must not be empty")
        if self.own_adapter and self.own_prompt:
            raise ValueError("must name an adapter, a prompt or messages")
        return self

    @property
    def own_adapter(self) -> bool:
        """Whether it speaks with the adapter of the answer itself, or with none where the answer has none."""
        return self.adapter == OWN_ADAPTER

    @property
    def own_prompt(self) -> bool:
        """Whether it reads what the answer's own model reads."""
        return self.prompt is None and self.messages is None


class LayerVoice(BaseModel):
    """The model's own prediction after some of its layers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    layer: Annotated[
        int,
        Field(
            ge=0,
            lt=MOST_LAYERS,
            description="How many of the model's layers the state has passed: 0 is the embedding itself.",
        ),
    ]


class LayersVoice(BaseModel):
    """That of the layer, of one half of them, that differs most from the last (DoLa, arXiv 2309.03883)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    layers: Annotated[
        Literal["low", "high"],
        Field(description="Every second layer of the lower or of the upper half is a candidate."),
    ]


#: `"amateur"` is the server's second model; `"base"` the answer's prompt read by the model without an adapter.
Voice = Literal["amateur", "base"] | SequenceVoice | LayerVoice | LayersVoice


class WeightedVoice(BaseModel):
    """One of several voices."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    voice: Annotated[Voice, Field(description="As `against` would name it alone.")]
    weight: Annotated[
        float,
        Field(
            ge=-MAX_WEIGHT,
            le=MAX_WEIGHT,
            allow_inf_nan=False,
            description="Of its logits among those that are taken away; below 0 they are added.",
        ),
    ] = 1.0

    @field_serializer("voice")
    def _said(self, voice: Voice) -> Any:
        return said(voice)


_KINDS: Mapping[str, type[SequenceVoice | LayerVoice | LayersVoice]] = {
    "adapter": SequenceVoice,
    "prompt": SequenceVoice,
    "messages": SequenceVoice,
    "layer": LayerVoice,
    "layers": LayersVoice,
}


def read_against(value: Any, field: str = "against") -> Voice | tuple[WeightedVoice, ...]:
    """Reads what a contrast is against.

    Args:
        value: decoded JSON, or what this gave before.
        field: the field's name, for the error.

    Raises:
        RequestError: naming the part that is no voice, or a list with none, too many, or no weight that counts.
    """
    if not isinstance(value, list | tuple):
        return read_voice(value, field)
    if not 1 <= len(value) <= MOST_VOICES:
        raise RequestError(field, f"must name from 1 to {MOST_VOICES} voices, got {len(value)}")
    voices = tuple(_read_weighted(item, f"{field}.{index}") for index, item in enumerate(value))
    if all(voice.weight == 0.0 for voice in voices):
        raise RequestError(field, "must have a voice with a weight other than 0")
    return voices


def read_voice(value: Any, field: str) -> Voice:
    """Reads one voice.

    Raises:
        RequestError: naming the part that is none.
    """
    if isinstance(value, SequenceVoice | LayerVoice | LayersVoice):
        return value
    if value == "amateur" or value == "base":
        return value
    if not isinstance(value, Mapping):
        raise RequestError(
            field,
            'must be "amateur", "base", an object such as {"adapter": NAME}, {"prompt": TEXT} or {"layer": K}, or a '
            f"list of objects with a voice and a weight, got {shown(value)}",
        )
    kind = next((kind for key, kind in _KINDS.items() if key in value), None)
    if kind is None:
        raise RequestError(field, f"must have one of the keys {', '.join(_KINDS)}")
    return _validated(kind, value, field)


def _read_weighted(value: Any, field: str) -> WeightedVoice:
    if isinstance(value, WeightedVoice):
        return value
    if not isinstance(value, Mapping) or "voice" not in value:
        raise RequestError(field, "must be an object with a voice and its weight")
    return _validated(WeightedVoice, {**value, "voice": read_voice(value["voice"], f"{field}.voice")}, field)


def said(voice: Voice) -> Any:
    """A voice as a request names it, in JSON's types: without what it doesn't say."""
    if not isinstance(voice, SequenceVoice):
        return voice if isinstance(voice, str) else voice.model_dump()
    unsaid = {"adapter": OWN_ADAPTER, "prompt": None, "messages": None}
    return {name: value for name, value in voice.model_dump().items() if value != unsaid[name]}


_Model = TypeVar("_Model", bound=BaseModel)


def _validated(model: type[_Model], value: Mapping[str, Any], field: str) -> _Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise first_problem(error, field, model, value) from None
