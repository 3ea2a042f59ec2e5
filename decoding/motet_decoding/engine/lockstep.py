"""vLLM's scheduler, with groups whose members draw in the same step or not at all.

A member's last known token stays uncomputed until all members have come as far; then all of them compute it in one
step, whose rows the logits processor makes one score of, and each takes the leader's token. vLLM decides request by
request, in the order of its list of the running ones, so a group's members stand side by side there, and the first of
them speaks for all: it is only let through when the step has tokens and the cache has blocks for the whole group.

    waiting --admitted by vLLM--> running, its prompt read but for one token --all members so far--> drawing in step

Everything else is vLLM's: its queue, its budget, its preemption. Of a preempted member's group those go with it that
have no part in the step; they come back as any request does, and whoever stayed waits for them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING, Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler

from motet_decoding.engine import lockstep_private as private
from motet_decoding.engine.arguments import engine_key, read_asked
from motet_decoding.engine.groups import Group, form_group
from motet_decoding.engine.lockstep_plan import Plan

if TYPE_CHECKING:
    from vllm.v1.request import Request

_LOG = logging.getLogger(__name__)

#: Steps in a row in which nothing moves before a group gives way.
_PATIENCE = 8


class Lockstep(Scheduler):
    """The part that both schedulers share."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        private.guard_allocation(self, lambda request: self._plan is None or self._plan.fits(request))
        self._key = engine_key()
        self._numbers = count(1)
        #: By the id of each member.
        self._groups: dict[str, Group] = {}
        #: Only while a step is planned in which there are groups.
        self._plan: Plan | None = None
        self._idle_steps = 0
        #: Members that run and that the workers haven't heard of; members that were let in by us and that they have.
        self._unheard: set[str] = set()
        self._heard: set[str] = set()

    # Requests come and go.

    def add_request(self, request: Request) -> None:
        """Adds a client's request, and the followers that it asks for."""
        known = request.request_id in self.requests
        asked = read_asked(request.sampling_params and request.sampling_params.extra_args, self._key)
        if not known:
            private.tell_apart(self, request)
        super().add_request(request)
        if known or not asked.members:
            return
        group = form_group(request, asked, next(self._numbers), self._key, self.max_model_len)
        reason = self._never_served(group)
        if reason is not None:
            group.members[1:] = []
        for member in group.members:
            self._groups[member.request_id] = group
        for follower in group.followers:
            super().add_request(follower)
        if reason is not None:
            self._fail(group, f"can't be served: {reason}")

    def _never_served(self, group: Group) -> str | None:
        """Why no step could have all members of a group; None where one could."""
        if group.room < 1:
            return "a member's prompt fills the context"
        if len(group.members) > min(self.max_num_active_reqs, self.max_num_scheduled_tokens):
            return "it has more members than a step of the engine"
        if self.lora_config is not None and len(group.adapters) > self.lora_config.max_loras:
            return "it has more adapters than a step of the engine"
        return None

    def finish_requests(self, request_ids: Any, finished_status: Any) -> list[Request]:
        """Ends requests; followers with their leaders, and unmentioned."""
        if not self._groups:
            return super().finish_requests(request_ids, finished_status)
        if isinstance(request_ids, str):
            request_ids = [request_ids]
        if request_ids is not None:
            request_ids = {
                member.request_id for each in request_ids for member in self._with_followers(each)
            } | set(request_ids)
        ended = super().finish_requests(request_ids, finished_status)
        return self._forget(ended)

    def _with_followers(self, request_id: str) -> Iterable[Request]:
        group = self._groups.get(request_id)
        return group.members if group is not None and request_id == group.leader.request_id else ()

    def _forget(self, ended: Iterable[Request]) -> list[Request]:
        """Takes requests off the books; those of them that are clients' are given back."""
        theirs = []
        for request in ended:
            group = self._groups.pop(request.request_id, None)
            self._unheard.discard(request.request_id)
            self._heard.discard(request.request_id)
            if group is None or request is group.leader:
                theirs.append(request)
        return theirs

    def _fail(self, group: Group, reason: str) -> None:
        _LOG.error("motet: request %s %s", group.leader.request_id, reason)
        private.fail(self, group.leader)

    def books_are_empty(self) -> bool:
        """Whether nothing is remembered of any group."""
        return not (self._groups or self._unheard or self._heard)

    # A step is planned.

    def schedule(self, throttle_prefills: bool = False) -> Any:
        """As vLLM's, with groups side by side."""
        if not self._groups:
            return super().schedule(throttle_prefills)
        if self.pause_state.name == "PAUSED_NEW":
            self._stand_back()
        self._plan = plan = Plan(self, self._groups)
        try:
            output = super().schedule(throttle_prefills)
        finally:
            self._plan = None
        output.scheduled_new_reqs.extend(plan.announced)
        for request in plan.entering:
            if private.enter(self, request):
                self._unheard.add(request.request_id)
                plan.moved = True
        idle = not (output.total_num_scheduled_tokens or plan.moved or throttle_prefills)
        self._idle_steps = self._idle_steps + 1 if idle else 0
        if self._idle_steps >= _PATIENCE:
            self._idle_steps = 0
            self._give_way()
        return output

    def _reserve_prefill_lookahead(
        self, request: Request, num_computed_tokens: int, num_new_tokens: int
    ) -> int:
        """Called for each request, running or waiting, before it is allotted blocks."""
        tokens = super()._reserve_prefill_lookahead(request, num_computed_tokens, num_new_tokens)
        return tokens if self._plan is None else self._plan.tokens(request, num_computed_tokens, tokens)

    def _get_local_prefix_cache_hit(self, request: Request) -> Any:
        """What the cache has of a prompt; of a member's, so much that two tokens stay to be computed."""
        found = super()._get_local_prefix_cache_hit(request)
        if found[1] and found[1] > request.num_tokens - 2 and request.request_id in self._groups:
            return private.hit_within(self, request, request.num_tokens - 2)
        return found

    def _handle_blocked_waiting_request(self, request: Request) -> bool:
        """Whether vLLM may admit a waiting request if there is room."""
        plan = self._plan
        admissible: bool = super()._handle_blocked_waiting_request(request)
        return admissible and (plan is None or (plan.has_slot(request) and not plan.enters(request)))

    def _request_blocks_can_be_freed(self, request: Request) -> bool:
        """Whether a request may be preempted at once."""
        if self._plan is not None and not self._plan.may_be_preempted(request):
            return False
        freeable: bool = super()._request_blocks_can_be_freed(request)
        return freeable

    def _preempt_request(self, request: Request, timestamp: float, drop_stale_output: bool = False) -> None:
        """Preempts a request, and with a member the others of its group that have no part in the step."""
        self._preempt_one(request, timestamp, drop_stale_output)
        group = self._groups.get(request.request_id)
        for member in reversed(group.members if group is not None else ()):
            if private.is_running(member) and (
                self._plan is None or member.request_id not in self._plan.granted
            ):
                self.running.remove(member)
                self._preempt_one(member, timestamp, drop_stale_output)

    def _preempt_one(self, request: Request, timestamp: float, drop_stale_output: bool) -> None:
        super()._preempt_request(request, timestamp, drop_stale_output)
        if self._plan is not None:
            self._plan.moved = True
        if request.request_id in self._unheard:
            self._unheard.discard(request.request_id)
            self.reset_preempted_req_ids.discard(request.request_id)

    def _make_cached_request_data(
        self,
        running_reqs: list[Request],
        resumed_reqs: list[Request],
        num_scheduled_tokens: dict[str, int],
        spec_decode_tokens: dict[str, list[int]],
        req_to_new_blocks: dict[str, Any],
    ) -> Any:
        """What the workers are told of requests that they know; others are set aside for ``schedule``."""
        known = [request for request in running_reqs if request.request_id not in self._unheard]
        resumed = list(resumed_reqs)
        for request in running_reqs if self._unheard else ():
            if request.request_id not in self._unheard:
                continue
            self._unheard.discard(request.request_id)
            if request.request_id in self._heard and not self.use_v2_model_runner:
                req_to_new_blocks[request.request_id] = self.kv_cache_manager.get_blocks(request.request_id)
                resumed.append(request)
            elif self._plan is not None:
                self._heard.add(request.request_id)
                self._plan.announced.append(private.new_request_data(self, request))
        return super()._make_cached_request_data(
            known, resumed, num_scheduled_tokens, spec_decode_tokens, req_to_new_blocks
        )

    def _stand_back(self) -> None:
        """Under a pause that lets the running ones end and admits nobody: half a group would never end."""
        for group in {
            self._groups[each.request_id] for each in self.running if each.request_id in self._groups
        }:
            if all(map(private.is_running, group.members)):
                continue
            if not any(member.num_in_flight_tokens for member in group.members):
                self._withdraw(group)

    def _withdraw(self, group: Group) -> None:
        """Preempts those of a group that run."""
        for member in filter(private.is_running, list(group.members)):
            self.running.remove(member)
            self._preempt_one(member, time.monotonic(), drop_stale_output=False)

    def _give_way(self) -> None:
        """Ends a standstill: groups of which some members run and others find no room."""
        if self.pause_state.name != "UNPAUSED" or any(each.num_in_flight_tokens for each in self.running):
            return
        groups = {self._groups[each.request_id] for each in self.running if each.request_id in self._groups}
        stuck = [
            group
            for group in groups
            if all(private.is_running(member) or private.may_be_admitted(member) for member in group.members)
        ]
        if not stuck:
            return
        last = max(stuck, key=lambda group: group.number)
        if len(groups) == 1 and private.next_waiting(self) in (None, *last.members):
            self._fail(last, "can't go on: the KV cache or the adapter slots have no room for all its voices")
            return
        self._withdraw(last)

    # A step has run.

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        """As vLLM's, of leaders alone; a group whose leader has ended ends."""
        if not self._groups:
            return super().update_from_output(scheduler_output, model_runner_output)
        groups = set(self._groups.values())
        followers = {member.request_id for group in groups for member in group.followers}
        for group in groups:
            if not private.agree(group.members, model_runner_output):
                self._fail(group, "has lost lockstep: its voices drew different tokens")
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        for group in groups:
            ended = [member for member in group.members if member.is_finished()]
            if group.leader in ended:
                private.abort(super(), [each for each in group.followers if each not in ended])
                self._forget(group.members)
            elif ended:
                self._fail(group, "has lost a voice")
        for each in outputs.values():
            each.outputs = [output for output in each.outputs if output.request_id not in followers]
        return outputs


class LockstepScheduler(Lockstep):
    """For an engine that knows each step's tokens before it plans the next."""


class LockstepAsyncScheduler(Lockstep, AsyncScheduler):
    """For one that plans ahead of them."""
