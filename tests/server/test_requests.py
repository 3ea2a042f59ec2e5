from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from motet_decoding.contrast import Contrast
from motet_decoding.engine.arguments import AMATEUR, Mix, ensure_engine_key, read_contrast
from motet_decoding.errors import RequestError
from motet_server.requests import Route, prepare
from motet_server.settings import Preset, ServerSettings
from motet_server.voices.arranging import arrange
from motet_server.voices.borrowing import Lender
from motet_server.voices.settings import VoiceSettings

DEFAULTS = Contrast(strength=0.6)
SHARP = Contrast(strength=2.0, form="ratio")
PAIR = ServerSettings(
    amateur="small",
    contrast=DEFAULTS,
    presets={"contrast": Preset(contrast=DEFAULTS), "sharp": Preset(contrast=SHARP)},
)


class Body(BaseModel):
    """Stands in for vLLM's request models, which cost ten seconds to import."""

    messages: list[dict[str, Any]]
    model: str | None = None
    n: int | None = 1
    temperature: float | None = None
    stop: str | list[str] | None = []
    cache_salt: str | None = None
    vllm_xargs: dict[str, str | float | list[str]] | None = None
    use_beam_search: bool = False
    tools: list[Any] | None = None


async def unused(_request: Any, _raw: Any) -> Any:
    raise AssertionError("nothing is sent to the engine here")


ROUTE = Route(
    "chat",
    "/v1/chat/completions",
    "messages",
    Body,
    unused,
    frozenset({*Body.model_fields, "metadata", "functions"}),
)


def order(settings: ServerSettings = PAIR, **fields: Any):
    return prepare(
        {"messages": [{"role": "user", "content": "a"}], **fields}, ROUTE, settings, ["toy", "adapter"]
    )


def sent(result: Any) -> Mix | None:
    """What the engine is asked for once the request's voices are found: the amateur needs nobody to be asked."""
    if result.contrast is not None:
        asyncio.run(arrange(result, VoiceSettings(), None, Lender(None, None, ()), {}))
    return read_contrast(result.request.vllm_xargs, ensure_engine_key())


def heard(contrast: Contrast | None) -> Mix | None:
    return None if contrast is None else Mix.of(contrast, (AMATEUR,))


def test_a_plain_request_reaches_the_engine_without_arguments_or_salt():
    result = order(model="toy")
    assert result.contrast is None
    assert result.request.vllm_xargs is None
    assert result.request.cache_salt is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"contrast": True}, DEFAULTS),
        ({"contrast": {}}, DEFAULTS),
        ({"contrast": {"strength": 1.5}}, Contrast(strength=1.5)),
        ({"model": "toy:contrast"}, DEFAULTS),
        ({"model": "toy:sharp"}, SHARP),
        ({"model": "adapter:sharp"}, SHARP),
        ({"model": "toy:sharp", "contrast": None}, SHARP),
        ({"model": "toy:sharp", "contrast": {"strength": 1}}, Contrast(strength=1.0, form="ratio")),
    ],
)
def test_a_contrast_reaches_the_engine_as_it_was_asked_for(fields, expected):
    result = order(**fields)
    assert result.contrast == expected
    assert sent(result) == heard(expected)
    assert result.request.cache_salt
    assert result.request.model in {None, "toy", "adapter"}
    assert result.model == fields.get("model")


def test_false_switches_a_presets_contrast_off():
    result = order(model="toy:sharp", contrast=False)
    assert (result.contrast, sent(result), result.request.model) == (None, None, "toy")


def test_a_neutral_contrast_is_told_but_not_sent():
    result = order(contrast={"strength": 0, "plausibility": 0})
    assert result.contrast is not None
    assert (sent(result), result.request.cache_salt) == (None, None)


def test_the_clients_own_arguments_and_salt_are_kept_apart():
    mine, other = (order(contrast=True, cache_salt=salt, vllm_xargs={"own": "1"}) for salt in ("a", "b"))
    assert sent(mine) == sent(other) == heard(DEFAULTS)
    assert mine.request.vllm_xargs["own"] == "1"
    assert mine.request.cache_salt != other.request.cache_salt


@pytest.mark.parametrize("name", ["toy:none", "other:sharp", "toy"])
def test_a_name_that_is_no_preset_is_left_for_vllm_to_judge(name):
    assert order(model=name).request.model == name


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"contrast": {"strenght": 1}}, "contrast.strenght"),
        ({"contrast": {"strength": -1}}, "contrast.strength"),
        ({"contrast": {"strength": True}}, "contrast.strength"),
        ({"contrast": "yes"}, "contrast"),
        ({"contrast": True, "use_beam_search": True}, "use_beam_search"),
        ({"model": "toy:sharp", "use_beam_search": True}, "use_beam_search"),
        ({"best_of": {"n": 800}}, "best_of.n"),
        ({"best_of": 1, "n": 2}, "best_of.return"),
        ({"best_of": True}, "best_of"),
        ({"contrst": True}, "contrst"),
        ({"functions": []}, "functions"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages.0"),
        ({"temperature": "hot"}, "temperature"),
        ({"vllm_xargs": {"motet": "1"}}, "vllm_xargs.motet"),
        ({"vllm_xargs": {"Motet-0": "1"}}, "vllm_xargs.Motet-0"),
        ({"vllm_xargs": {"a": {"b": 1}}}, "vllm_xargs.a"),
    ],
)
def test_what_cannot_be_honoured_is_refused_naming_the_field(fields, field):
    with pytest.raises(RequestError) as refused:
        order(**fields)
    assert refused.value.field == field


def test_more_choices_than_the_server_gives_are_refused():
    settings = PAIR.model_copy(update={"max_choices": 2})
    assert order(settings, n=2).request.n == 2
    with pytest.raises(RequestError, match="--max-choices") as refused:
        order(settings, n=3)
    assert refused.value.field == "n"


def test_an_amateur_is_refused_where_there_is_none_even_if_it_would_change_nothing():
    for contrast in (True, {"strength": 0, "plausibility": 0}):
        with pytest.raises(RequestError, match="--amateur") as refused:
            order(ServerSettings(), contrast=contrast)
        assert refused.value.field == "contrast.against"


def test_a_misspelt_field_is_told_what_was_probably_meant():
    with pytest.raises(RequestError, match="did you mean contrast"):
        order(contrats=True)


def test_the_secret_of_the_engine_is_no_clients_to_use():
    with pytest.raises(RequestError, match="reserved"):
        order(vllm_xargs={ensure_engine_key(): Contrast().model_dump_json()})


@pytest.mark.parametrize(("stop", "expected"), [([], []), ("x", ["x"]), (["x", "y"], ["x", "y"]), (None, [])])
def test_a_chatml_default_stops_at_the_end_of_a_turn(stop, expected):
    assert order(PAIR.model_copy(update={"chatml": True}), stop=stop).request.stop == [
        *expected,
        "<|im_end|>",
    ]
