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
from motet_decoding.engine.arguments import Asked, Member

if TYPE_CHECKING:
    from vllm.v1.request import Request


@dataclass(eq=False, slots=True)
class Group:
    """One group.

    Attributes:
        number: tells it from all others of the engine.
        members: the leader first.
    """

    number: int
    members: list[Request]

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
        members.append(_follower(leader, member, place, {key: told.model_dump_json(exclude_none=True)}))
    longest = max(member.num_prompt_tokens for member in members)
    for each in members:
        each.max_tokens = min(leader.max_tokens, max_model_len - longest)
    return Group(number, members)


def _follower(leader: Request, member: Member, place: int, extra_args: dict[str, str]) -> Request:
    return private.follower(
        leader,
        request_id=f"{leader.request_id}~{place}",
        tokens=list(leader.prompt_token_ids or ()) if member.tokens is None else list(member.tokens),
        adapter=member.adapter,
        extra_args=extra_args,
    )


def left(request: Request) -> int:
    """How many tokens of a request are known, or will be after the steps under way, and not computed yet."""
    known: int = request.num_tokens + request.num_output_placeholders
    return known - int(request.num_computed_tokens)
