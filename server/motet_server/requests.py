"""From an HTTP body to vLLM's request: what was asked is checked, read and handed on; nothing is ignored."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import ValidationError

from motet_decoding.best_of.request import BestOf
from motet_decoding.contrast import Contrast, parse_contrast
from motet_decoding.engine.arguments import ensure_engine_key
from motet_decoding.errors import RequestError
from motet_server.best_of.asking import take_best_of
from motet_server.body import json_type
from motet_server.bounds import check_amounts
from motet_server.errors import first_problem
from motet_server.presets import find_preset
from motet_server.settings import Preset, ServerSettings
from motet_server.vllm_private import Handler
from motet_server.voices.checking import check_together, check_voices

#: Fields of ours, beside OpenAI's and vLLM's.
OWN_FIELDS = frozenset({"contrast", "best_of"})

#: OpenAI's fields that vLLM would drop in silence although they change the answer.
_NOT_HERE = frozenset({"functions", "function_call", "audio", "web_search_options"})

#: Fields under which no other voice can be heard, and why.
_NOT_WITH_CONTRAST = {
    "use_beam_search": "beams are scored by the answer's own model alone",
    "prompt_embeds": "the other voices can't read them",
    "kv_transfer_params": "transferred caches hold nothing of the other voices'",
    "ec_transfer_params": "transferred caches hold nothing of the other voices'",
}

#: Our keys in ``SamplingParams.extra_args`` start with this, and no client's may.
_ENGINE_PREFIX = "motet"


@dataclass(frozen=True, slots=True)
class Route:
    """One of the two routes that know ``contrast``.

    Attributes:
        name: how metrics call it.
        path: where clients find it.
        prompt: the name of its prompt field.
        request_type: vLLM's model of the body.
        handler: vLLM's route function.
        fields: the top-level fields that vLLM or OpenAI know.
    """

    name: Literal["chat", "completions"]
    path: str
    prompt: Literal["messages", "prompt"]
    request_type: type[Any]
    handler: Handler
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class Order:
    """A checked request.

    Attributes:
        request: vLLM's, ready for its handler.
        model: the model's name as the client wrote it.
        preset: the preset that the name chose, if any.
        contrast: what was asked for; a neutral one needs nothing of the engine.
        told: the same as the answer tells it, once its voices are found.
        best_of: how the answer is chosen; None for a plain answer.
        messages: the conversation whose answer is chosen, as the client wrote it; None where the prompt is a text.
        kind: the route's name.
        adapter: the version of an adapter that answers, ``NAME@VERSION``.
        cache_salt: the client's own, of which a contrast makes another for the engine.
    """

    request: Any
    model: str | None
    preset: str | None
    contrast: Contrast | None
    told: Mapping[str, Any] | None = None
    best_of: BestOf | None = None
    messages: Sequence[Mapping[str, Any]] | None = None
    kind: Literal["chat", "completions"] = "chat"
    adapter: str | None = None
    cache_salt: str | None = None

    def answered_by(self, adapter: str) -> Order:
        """The same of a version of an adapter; the answer names it in the place of the name that was asked for."""
        self.request.model = adapter
        model = adapter if self.preset is None else f"{adapter}:{self.preset}"
        return replace(self, model=model, adapter=adapter)


def prepare(
    body: dict[str, Any],
    route: Route,
    settings: ServerSettings,
    served: Container[str],
    *,
    rewarded: Callable[[], bool] = lambda: False,
) -> Order:
    """Reads ``body`` (and takes out what is ours) into a request for vLLM's handler.

    Args:
        body: from ``body.read_body``.
        route: where it was sent.
        settings: the server's.
        served: the names by which the model and its adapters are known.
        rewarded: whether there is a reward by which an answer can be chosen.

    Raises:
        RequestError: naming the field that can't be honoured.
    """
    _check_fields(body, route)
    asked = body.get("model")
    model, name = split_model_name(asked, settings, served, rewarded=rewarded)
    preset = (name and find_preset(name, settings.presets, rewarded)) or Preset()
    best_of = take_best_of(body, route.name, settings, preset.best_of)
    contrast = _take_contrast(body, settings, preset.contrast)
    if contrast is not None:
        _check_honoured(body, contrast, best_of, settings)
    if name is not None:
        body["model"] = model
    messages = body.get("messages") if best_of is not None and route.name == "chat" else None
    try:
        request = route.request_type.model_validate(body)
    except ValidationError as error:
        raise first_problem(error, body) from None
    except (
        AttributeError,
        IndexError,
        KeyError,
        TypeError,
    ) as error:  # vLLM's checks on what they didn't expect
        raise RequestError("body", f"malformed: {type(error).__name__}: {error}") from None
    check_amounts(
        dict(request), settings.max_choices, sequences=1 if contrast is None else contrast.sequences
    )
    if settings.chatml and route.name == "chat":
        # Without the model's own template its end-of-turn marker isn't known to the engine as an end.
        request.stop = [
            *([request.stop] if isinstance(request.stop, str) else request.stop or []),
            "<|im_end|>",
        ]
    return Order(
        request,
        asked if isinstance(asked, str) else None,
        name,
        contrast,
        best_of=best_of,
        messages=messages,
        kind=route.name,
        cache_salt=request.cache_salt,
    )


def split_model_name(
    name: Any,
    settings: ServerSettings,
    served: Container[str],
    *,
    rewarded: Callable[[], bool] = lambda: False,
) -> tuple[str | None, str | None]:
    """``MODEL:NAME`` as the model and one of the server's presets; other names are left whole."""
    if not isinstance(name, str):
        return None, None
    model, colon, preset = name.rpartition(":")
    if (
        colon
        and name not in served
        and model in served
        and find_preset(preset, settings.presets, rewarded) is not None
    ):
        return model, preset
    return name, None


def _check_fields(body: Mapping[str, Any], route: Route) -> None:
    for field, value in body.items():
        if field in _NOT_HERE and value is not None:
            raise RequestError(field, "isn't available on this server")
        if field not in route.fields and field not in OWN_FIELDS:
            near = get_close_matches(field, route.fields | OWN_FIELDS, n=1, cutoff=0.7)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise RequestError(f"{field:.100}", f"unknown field{meant}")
    if body.get("modalities") not in (None, ["text"]):
        raise RequestError("modalities", 'only ["text"] is available on this server')
    _check_shapes(body, route)
    xargs = body.get("vllm_xargs")
    for key in xargs if isinstance(xargs, dict) else ():
        if key.lower().startswith(_ENGINE_PREFIX) or key == ensure_engine_key():
            raise RequestError(f"vllm_xargs.{key:.100}", "reserved for the server; use the field `contrast`")


def _check_shapes(body: Mapping[str, Any], route: Route) -> None:
    """What vLLM's own checks look into without looking at its type first."""
    if route.prompt in body and body[route.prompt] in (None, [], ""):
        raise RequestError(route.prompt, "must not be empty")
    for field in ("messages", "tools"):
        if field not in route.fields or (value := body.get(field)) is None:
            continue
        if not isinstance(value, list):
            raise RequestError(field, f"must be a list of objects, not {json_type(value)}")
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                raise RequestError(f"{field}.{index}", f"must be an object, not {json_type(item)}")
    structure = body.get("structured_outputs")
    if structure is not None and not isinstance(structure, dict):
        raise RequestError("structured_outputs", f"must be an object, not {json_type(structure)}")


def _take_contrast(
    body: dict[str, Any], settings: ServerSettings, preset: Contrast | None
) -> Contrast | None:
    """What the body asks for over what the model's name asks for; ``false`` asks for none, ``null`` says nothing."""
    value = body.pop("contrast", None)
    if preset is None:
        return parse_contrast(value, settings.contrast)
    return parse_contrast(True if value is None else value, preset)


def _check_honoured(
    body: Mapping[str, Any], contrast: Contrast, best_of: BestOf | None, settings: ServerSettings
) -> None:
    check_voices(contrast, settings.voices, amateur=settings.amateur is not None)
    check_together(contrast, best_of)
    for field, reason in _NOT_WITH_CONTRAST.items():
        if body.get(field):
            raise RequestError(field, f"can't be combined with contrast: {reason}")
