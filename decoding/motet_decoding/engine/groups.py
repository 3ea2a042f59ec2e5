"""Groups: sequences of one engine that advance together and take the same token.

The leader is the client's request; its followers are made here, inside the engine core, so that whatever becomes of the
leader (several answers, candidates of best-of-N, an abort, a replica of its own) becomes of them. Nobody outside ever
hears of a follower.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet_decoding.engine import lockstep_private as private
from motet_decoding.engine.arguments import Asked, Member, own_salt

if TYPE_CHECKING:
    from vllm.v1.request import Request


@dataclass(eq=False, slots=True)
class Group:
    """One group.

    Attributes:
        number: tells it from all others of the engine.
        members: the leader first.
        room: the tokens that its longest member may still take.
        adapters: the numbers of its members' adapters.
    """

    number: int
    members: list[Request]
    room: int
    adapters: frozenset[int]

    @property
    def leader(self) -> Request:
        """The client's request."""
        return self.members[0]

    @property
    def followers(self) -> list[Request]:
        """The others."""
        return self.members[1:]

    def ready(self) -> bool:
        """Whether each member has its last known token, and nothing else, to compute."""
        return all(private.is_running(member) and left(member) == 1 for member in self.members)


def form_group(leader: Request, asked: Asked, number: int, key: str, max_model_len: int) -> Group:
    """Makes the followers that a leader asks for.

    Args:
        leader: changed so that the engine's processes know its group; it ends where its longest member must.
        asked: what it asks for.
        number: the group's.
        key: what our sampling arguments stand under.
        max_model_len: tokens that any sequence may have.
    """
    params = copy(leader.sampling_params)
    assert params is not None
    told = asked.model_copy(update={"members": (), "group": number})
    params.extra_args = {**(params.extra_args or {}), key: told.model_dump_json(exclude_none=True)}
    leader.sampling_params = params
    members = [leader]
    for place, member in enumerate(asked.members, 1):
        told = Asked(group=number, member=place)
        members.append(_follower(leader, member, place, key, told))
    room = max_model_len - max(member.num_prompt_tokens for member in members)
    for each in members:
        each.max_tokens = max(1, min(leader.max_tokens, room))
    adapters = frozenset(each.lora_request.lora_int_id for each in members if each.lora_request)
    return Group(number, members, room, adapters)


def _follower(leader: Request, member: Member, place: int, key: str, told: Asked) -> Request:
    return private.follower(
        leader,
        request_id=f"{leader.request_id}~{place}",
        tokens=list(leader.prompt_token_ids or ()) if member.tokens is None else list(member.tokens),
        adapter=member.adapter,
        # Blocks under a salt of ours hold the amateur's keys and values, which nobody computes for a follower.
        cache_salt=own_salt(leader.cache_salt, key),
        extra_args={key: told.model_dump_json(exclude_none=True)},
    )


def left(request: Request) -> int:
    """How many tokens of a request are known, or will be after the steps under way, and not computed yet."""
    known: int = request.num_tokens + request.num_output_placeholders
    return known - int(request.num_computed_tokens)
