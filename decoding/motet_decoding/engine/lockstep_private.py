"""The reach of lockstep groups into parts of vLLM's scheduler that its documentation does not promise.

The methods that groups extend stand in ``lockstep.py``; what those call, change or read beside them stands here.
Seen with vLLM 0.32.0. ``tests/decoding/test_lockstep_private.py`` fails when one of them moves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.v1.core.kv_cache_manager import KVCacheBlocks
    from vllm.v1.core.sched.output import NewRequestData
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.request import Request

    from motet_decoding.engine.arguments import AdapterFile


def follower(
    leader: Request,
    *,
    request_id: str,
    tokens: list[int],
    adapter: AdapterFile | None,
    cache_salt: str | None,
    extra_args: dict[str, str],
) -> Request:
    """An engine request that draws nothing of its own: no grammar, no penalty, no end but the leader's."""
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest
    from vllm.v1.request import Request

    asked = leader.sampling_params
    assert asked is not None
    return Request(
        request_id=request_id,
        client_index=leader.client_index,
        prompt_token_ids=tokens,
        sampling_params=SamplingParams(
            # Its draw is thrown away; with the leader's kind of draw it costs the batch nothing more.
            temperature=0.0 if asked.temperature < 1e-5 else 1.0,
            max_tokens=asked.max_tokens,
            ignore_eos=True,
            detokenize=False,
            extra_args=dict(extra_args),
        ),
        pooling_params=None,
        arrival_time=leader.arrival_time,
        lora_request=None
        if adapter is None
        else LoRARequest(lora_name=adapter.name, lora_int_id=adapter.number, lora_path=adapter.path),
        cache_salt=cache_salt,
        priority=leader.priority,
        block_hasher=leader._block_hasher,
    )


def is_running(request: Request) -> bool:
    """Whether the request has its place among those that are computed."""
    from vllm.v1.request import RequestStatus

    return bool(request.status == RequestStatus.RUNNING)


def may_be_admitted(request: Request) -> bool:
    """Whether the request waits for nothing but room."""
    from vllm.v1.request import RequestStatus

    return request.status in (RequestStatus.WAITING, RequestStatus.PREEMPTED)


def tell_apart(scheduler: Scheduler, request: Request) -> None:
    """Has no two requests come at the same time where that decides between them.

    Of several that came last, vLLM preempts the one that stands first: in a step, somebody who may have tokens already.
    Children of one request come at its time.
    """
    if scheduler.policy.name != "PRIORITY":
        return
    taken = {each.arrival_time for each in scheduler.requests.values()}
    while request.arrival_time in taken:
        request.arrival_time = math.nextafter(request.arrival_time, math.inf)


def hit_within(scheduler: Scheduler, request: Request, tokens: int) -> tuple[KVCacheBlocks, int, int, bool]:
    """What the cache has of a request's first ``tokens``, as ``_get_local_prefix_cache_hit`` tells it.

    Looked up anew: of a window's layers a longer hit lacks blocks that a shorter one needs.
    """
    manager = scheduler.kv_cache_manager
    blocks, hit, uncached = manager.coordinator.find_longest_cache_hit(request.block_hashes, tokens)
    return manager.create_kv_cache_blocks(blocks), hit, hit + uncached if uncached else 0, False


def blocks_to_go_on(scheduler: Scheduler, request: Request) -> int:
    """How many cache blocks a running request lacks for one more token, as ``allocate_slots`` reckons."""
    manager = scheduler.kv_cache_manager
    computed = request.num_computed_tokens
    return int(
        manager.coordinator.get_num_blocks_to_allocate(
            request_id=request.request_id,
            num_tokens=computed + 1,
            new_computed_blocks=manager.empty_kv_cache_blocks.blocks,
            num_encoder_tokens=0,
            total_computed_tokens=computed,
            num_local_computed_tokens=computed,
            num_tokens_main_model=computed + 1,
            prefill_end=max(request.num_prompt_tokens, request.num_tokens - 1),
        )
    )


def free_blocks(scheduler: Scheduler) -> int:
    """Cache blocks that nobody holds."""
    return int(scheduler.kv_cache_manager.block_pool.get_num_free_blocks())


def guard_allocation(scheduler: Scheduler, fits: Callable[[Request], bool]) -> None:
    """Has the scheduler allot nothing to a request while ``fits`` says no; it then preempts others and asks again."""
    manager = scheduler.kv_cache_manager
    allocate = manager.allocate_slots

    def allocate_slots(request: Request, *arguments: Any, **options: Any) -> Any:
        return allocate(request, *arguments, **options) if fits(request) else None

    manager.allocate_slots = allocate_slots


def put_first(scheduler: Scheduler, requests: Sequence[Request]) -> None:
    """Puts waiting requests at the head of the queue, in order; a queue by priorities keeps its own order."""
    if requests and scheduler.policy.name == "FCFS" and scheduler.waiting.peek_request() not in requests:
        scheduler.waiting.remove_requests(requests)
        scheduler.waiting.prepend_requests(reversed(requests))


def next_waiting(scheduler: Scheduler) -> Request | None:
    """The request at the head of the queue."""
    return scheduler.waiting.peek_request() if scheduler.waiting else None


def enter(scheduler: Scheduler, request: Request) -> bool:
    """Moves a waiting request with nothing computed among the running, if there is a block for its first token.

    vLLM itself admits a request only together with a step of its own.
    """
    from vllm.v1.engine import EngineCoreEventType
    from vllm.v1.request import RequestStatus

    if scheduler.kv_cache_manager.allocate_slots(request, 1) is None:
        return False
    if request.prefill_stats is not None and request.num_preemptions == 0:
        request.prefill_stats.set(
            num_prompt_tokens=request.num_prompt_tokens,
            num_local_cached_tokens=0,
            num_external_cached_tokens=0,
        )
    if scheduler.log_stats:
        request.record_event(EngineCoreEventType.SCHEDULED, time.monotonic())
    scheduler.waiting.remove_request(request)
    scheduler.deferred_waiting.discard(request)
    request.status = RequestStatus.RUNNING
    scheduler.running.append(request)
    return True


def new_request_data(scheduler: Scheduler, request: Request) -> NewRequestData:
    """What tells the workers of a request that they have not heard of."""
    from vllm.v1.core.sched.output import NewRequestData

    blocks = scheduler.kv_cache_manager.get_blocks(request.request_id).get_block_ids()
    known = [list(request.all_token_ids)] if scheduler.use_v2_model_runner else []
    return NewRequestData.from_request(request, blocks, *known)


def fail(scheduler: Scheduler, request: Request) -> None:
    """Ends a request with an error in the step's output, as vLLM ends one whose grammar doesn't compile."""
    scheduler.grammar_compile_error_reqs.add(request.request_id)


def abort(scheduler: Any, requests: Sequence[Request]) -> None:
    """Ends requests whose clients, if they have any, are told otherwise."""
    from vllm.v1.request import RequestStatus

    if requests:
        scheduler.finish_requests([each.request_id for each in requests], RequestStatus.FINISHED_ABORTED)


def agree(members: Sequence[Request], output: Any) -> bool:
    """Whether a step drew the same token for all of ``members``, or none for any."""
    drawn = []
    for member in members:
        row = output.req_id_to_index.get(member.request_id)
        drawn.append(
            [] if row is None or not output.sampled_token_ids else list(output.sampled_token_ids[row])
        )
    return all(tokens == drawn[0] for tokens in drawn)


def copy_leaders_draws() -> None:
    """Has the samplers of both model runners hand a group's followers what they drew for their leader. Re-entrant."""
    from vllm.v1.sample.sampler import Sampler as V1Sampler
    from vllm.v1.worker.gpu.sample.sampler import Sampler as V2Sampler

    _after(V1Sampler, "forward", lambda _, metadata: metadata.logitsprocs.non_argmax_invariant)
    _after(V2Sampler, "__call__", lambda sampler, _: sampler.logits_processors)


def _after(sampler: type[Any], method: str, processors: Callable[[Any, Any], Iterable[Any]]) -> None:
    from motet_decoding.engine.following import follow_leaders

    draw = getattr(sampler, method)
    if draw.__module__ == __name__:
        return

    def followed(self: Any, logits: Any, batch: Any = None, *arguments: Any, **options: Any) -> Any:
        # The V1 runner names its second argument, the V2 runner doesn't.
        named = {} if batch is not None else {"sampling_metadata": options.pop("sampling_metadata")}
        batch = named.get("sampling_metadata", batch)
        output = draw(self, logits, *([] if named else [batch]), *arguments, **named, **options)
        for processor in processors(self, batch):
            # vLLM's own have none; a Protocol's check would cost each of them some microseconds a step.
            if leading := getattr(processor, "leading", None):
                follow_leaders(output.sampled_token_ids, leading())
        return output

    setattr(sampler, method, followed)
