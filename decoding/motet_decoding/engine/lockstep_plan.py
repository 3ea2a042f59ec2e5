"""One step's plan: which groups draw in it, and whom else vLLM's scheduler may let in, asked request by request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from motet_decoding.engine import lockstep_private as private
from motet_decoding.engine.groups import Group, left

if TYPE_CHECKING:
    from vllm.v1.core.sched.output import NewRequestData
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.request import Request


class Plan:
    """What is known and decided about groups while vLLM plans one step.

    Args:
        scheduler: the one that plans; its list of running requests is put in order.
        groups: by the id of each member.

    Attributes:
        granted: requests that were given tokens.
        entering: waiting members of one token, which vLLM can't admit without letting them draw.
        announced: what the workers are to be told of members that they don't know.
        moved: whether the step changed anything although nothing may be computed.
    """

    def __init__(self, scheduler: Scheduler, groups: Mapping[str, Group]) -> None:
        self._scheduler = scheduler
        self._groups = groups
        self.granted: set[str] = set()
        self.entering: list[Request] = []
        self.announced: list[NewRequestData] = []
        self.moved = False
        self._drawing: set[Group] = set()
        self._held: set[Group] = set()
        self._spent = 0
        #: The group whose members are being allotted blocks, and the one for which there aren't enough.
        self._placing: Group | None = None
        self._short_of_blocks: Group | None = None
        #: A group of which a member waits for an adapter's slot: others may not take the next one.
        self._wants_slot: Group | None = None
        self._slots: set[int] | None = None
        #: Whether a member that vLLM can't admit waits for places: nobody behind it may take them.
        self._closed = False
        self._first = self._side_by_side()
        private.put_first(scheduler, self._missing())

    def _side_by_side(self) -> dict[Group, Request]:
        """Puts each group's running members where the first of them stands; under priorities, in their order."""
        running, first = self._scheduler.running, dict[Group, "Request"]()
        if self._scheduler.policy.name == "PRIORITY":
            # vLLM preempts who came last wherever it stands; at the end it has no tokens of this step yet.
            running.sort(key=lambda each: (each.priority, each.arrival_time))
        order: list[Request] = []
        for request in running:
            group = self._groups.get(request.request_id)
            if group is None:
                order.append(request)
            elif group not in first:
                members = [member for member in group.members if private.is_running(member)]
                order += members
                first[group] = members[0]
        running[:] = order
        return first

    def _missing(self) -> list[Request]:
        """Waiting members of groups of which others run: until they come, those hold what they have for nothing."""
        return [
            member for group in self._first for member in group.members if private.may_be_admitted(member)
        ]

    def tokens(self, request: Request, computed: int, tokens: int) -> int:
        """How many tokens a request may compute of those that vLLM would have it compute.

        0 passes over a running request; a waiting one is left, with all behind it, for a later step.

        Args:
            request: running or waiting.
            computed: its tokens that are computed, or found in the cache.
            tokens: what vLLM has in mind.
        """
        group = self._groups.get(request.request_id)
        if private.is_running(request):
            if group is not None:
                tokens = self._of_running(request, group, tokens)
        elif self._closed or self._short_of_blocks is not None or not self.has_places(group):
            tokens = 0  # who is admitted now would take what a group waits for
        elif group is not None:
            tokens = min(tokens, request.num_tokens - computed - 1)
        if tokens:
            self._spent += tokens
            self.granted.add(request.request_id)
        return tokens

    def _of_running(self, request: Request, group: Group, tokens: int) -> int:
        if (ahead := left(request)) > 1:
            return min(tokens, ahead - 1)
        if group in self._drawing:
            return tokens
        config = self._scheduler.scheduler_config
        budget = min(self._scheduler.max_num_scheduled_tokens, config.max_num_batched_tokens) - self._spent
        may_draw = (
            group not in self._held
            and request is self._first[group]
            and budget >= len(group.members)
            and group.ready()
        )
        (self._drawing if may_draw else self._held).add(group)
        return tokens if may_draw else 0

    def has_places(self, group: Group | None) -> bool:
        """Whether as many may run as are missing of a group, or one where there is none."""
        scheduler, coming = self._scheduler, {each.request_id for each in self.entering}
        if group is not None:
            coming |= {each.request_id for each in group.members if not private.is_running(each)}
        taken = len(scheduler.running) + scheduler.num_waiting_for_streaming_input
        return bool(taken + len(coming) + (group is None) <= scheduler.max_num_active_reqs)

    def fits(self, request: Request) -> bool:
        """Whether blocks may be allotted; of a group that draws, to its first member only with room for all."""
        group = self._groups.get(request.request_id)
        if group is None or group not in self._drawing:
            self._placing = None
            return True
        if self._placing is group:
            return True
        lacking = sum(private.blocks_to_go_on(self._scheduler, member) for member in group.members)
        if lacking > private.free_blocks(self._scheduler):
            self._short_of_blocks = group
            return False
        self._placing, self._short_of_blocks = group, None
        return True

    def may_be_preempted(self, request: Request) -> bool:
        """Whether a request may make room; a member doesn't for its own group, nor once that draws."""
        group = self._groups.get(request.request_id)
        if group is None:
            return True
        return group is not self._short_of_blocks and request.request_id not in self._drawn(group)

    def _drawn(self, group: Group) -> set[str]:
        """Of a group that draws in this step, the members that have their tokens for it."""
        return self.granted & {each.request_id for each in group.members} if group in self._drawing else set()

    def has_slot(self, request: Request) -> bool:
        """Whether there is a slot for a waiting request's adapter; of a member, for those of its whole group.

        A group of which one member runs has the slots of all, lest two groups each hold what the other waits for.
        """
        lora, adapter = self._scheduler.lora_config, request.lora_request
        group = self._groups.get(request.request_id)
        needed = (
            group.adapters if group is not None else {adapter.lora_int_id} if adapter is not None else set()
        )
        if lora is None or not needed:
            return True
        if self._wants_slot not in (None, group):
            return False
        taken = self._taken_slots() | needed
        if len(taken) <= lora.max_loras:
            self._slots = taken
            return True
        if group is not None:
            self._wants_slot = group
        return False

    def _taken_slots(self) -> set[int]:
        """The adapters of all that run or have been let in, worked out once a step."""
        if self._slots is None:
            running = self._scheduler.running
            self._slots = {each.lora_request.lora_int_id for each in running if each.lora_request}
            self._slots = self._slots.union(*(group.adapters for group in self._first))
        return self._slots

    def enters(self, request: Request) -> bool:
        """Whether a waiting request's way in isn't vLLM's; it is then let in, if there are places, after the step."""
        group = self._groups.get(request.request_id)
        if group is None or request.num_tokens > 1:
            return False
        if self.has_places(group):
            self.entering.append(request)
        else:
            self._closed = True
        return True
