"""From the voices that a request names to the group and the mix that the engine is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from motet_decoding.engine.arguments import AMATEUR, AdapterFile, Heard, Member, Mix, engine_arguments
from motet_decoding.errors import RequestError
from motet_decoding.voices import LayersVoice, LayerVoice, SequenceVoice
from motet_server import vllm_private
from motet_server.adapters.entry import Entry
from motet_server.adapters.leases import chat_template
from motet_server.room import Room
from motet_server.voices.borrowing import Lender
from motet_server.voices.checking import FIELD, layers_of, places
from motet_server.voices.edits import NoEdits, follows
from motet_server.voices.group import Group
from motet_server.voices.prompts import tokens_of
from motet_server.voices.settings import VoiceSettings
from motet_server.voices.telling import told_of

if TYPE_CHECKING:
    from motet_server.requests import Order

_BASE = SequenceVoice(adapter=None)


@dataclass
class _Arranged:
    """What is known of a request's voices so far; by place where it is a mapping."""

    heard: list[Heard] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    adapters: dict[int, str] = field(default_factory=dict)
    lengths: dict[int, int] = field(default_factory=dict)


async def arrange(
    order: Order, settings: VoiceSettings, state: Any, lender: Lender, borrowed: Mapping[str, Entry]
) -> tuple[dict[str, Any], Group | None]:
    """Finds the voices of a request with a contrast, and writes what the engine is asked for into it.

    A neutral contrast is held against the same rules, and asks nothing of the engine.

    Args:
        order: the request's, its adapter known.
        settings: the server's.
        state: the app's.
        lender: tells the engine's names of adapters.
        borrowed: the versions that the voices' adapters mean, loaded.

    Returns:
        The contrast as the answer tells it, and the group that gives it where there is one.

    Raises:
        RequestError: naming the voice that can't be heard.
    """
    contrast, request = order.contrast, order.request
    assert contrast is not None
    arranged = _Arranged()
    for place, (named, weighted) in enumerate(places(contrast)):
        voice = weighted.voice
        if voice == "amateur":
            heard = AMATEUR
        elif isinstance(voice, LayerVoice | LayersVoice):
            heard = Heard(source="layer", layers=layers_of(voice, named, settings))
        else:
            sequence = _BASE if voice == "base" else voice
            member = await _member(order, sequence, named, place, state, lender, borrowed, arranged)
            if weighted.weight == 0.0:
                continue
            arranged.members.append(member)
            arranged.fields.append(named)
            heard = Heard(source="member", member=len(arranged.members))
        if weighted.weight != 0.0:  # what has none is checked like any other, and changes nothing
            arranged.heard.append(heard.model_copy(update={"weight": weighted.weight}))
    group = None
    if arranged.members:
        room = vllm_private.room_of(state)
        _check_room(arranged.members, room)
        prompt = "messages" if order.kind == "chat" else "prompt"
        group = Group(
            tuple(arranged.members),
            tuple(arranged.fields),
            room,
            prompt,
            _asked(request),
            None
            if settings.no_edits is None
            else NoEdits(settings.no_edits, follows(contrast), frozenset(request.model_fields_set)),
        )
    if not contrast.neutral:
        mix = Mix.of(contrast, tuple(arranged.heard))
        arguments = engine_arguments(mix, request.cache_salt, arranged.members)
        request.vllm_xargs = {**(request.vllm_xargs or {}), **arguments.extra_args}
        request.cache_salt = arguments.cache_salt
    told = told_of(contrast, arranged.adapters, arranged.lengths)
    return told, None if contrast.neutral else group


async def _member(
    order: Order,
    voice: SequenceVoice,
    named: str,
    place: int,
    state: Any,
    lender: Lender,
    borrowed: Mapping[str, Entry],
    arranged: _Arranged,
) -> Member:
    """One voice that is a sequence of its own."""
    adapter: AdapterFile | None = None
    template = None
    if voice.own_adapter:
        template = chat_template.get()
        reference = order.adapter
    elif voice.adapter is None:
        reference = None
    else:
        entry = borrowed[voice.adapter]
        reference, template = entry.reference, entry.source.chat_template
        arranged.adapters[place] = reference
    if reference is not None:
        adapter = lender.file(reference)
    if voice.own_prompt:
        _check_different(reference, order.adapter, named)
        return Member(adapter=adapter)
    tokens = await tokens_of(state, order.request, voice, named, template)
    arranged.lengths[place] = len(tokens)
    return Member(tokens=tokens, adapter=adapter)


def _check_different(reference: str | None, answers: str | None, named: str) -> None:
    """Refuses a voice that would say exactly what it is held against."""
    if reference != answers:
        return
    if reference is None:
        raise RequestError(
            named,
            "the model itself answers, so there is nothing to contrast with; ask an adapter, or give the voice a "
            "prompt",
        )
    raise RequestError(
        f"{named}.adapter", f"{reference} itself answers; name another, or give the voice a prompt"
    )


def _check_room(members: list[Member], room: Room) -> None:
    """Refuses what could never take part in one step of the engine."""
    sequences = 1 + len(members)
    if sequences > room.sequences:
        raise RequestError(
            FIELD,
            f"{sequences} sequences must advance together, and the engine's steps hold {room.sequences}; name fewer "
            "voices, or start the server with more --max-num-seqs and --max-num-batched-tokens",
        )


def _asked(request: Any) -> str | None:
    """The field by which a request says how long its answer may be."""
    for field_name in ("max_completion_tokens", "max_tokens"):
        if field_name in request.model_fields_set and getattr(request, field_name) is not None:
            return field_name
    return None
