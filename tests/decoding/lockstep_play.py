"""The real schedulers on a played engine: no model runs, and every rule of the workers' is checked.

The played worker keeps, as vLLM's does, what it was told of each request, and holds each step against it: known
requests, token for token the same progress, cache blocks that nobody else writes and that hold what was read before,
as far back as the model looks. It draws a token from what a group's
leader has read so far, and fails where a member draws without the others.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from motet_decoding.engine.arguments import (
    AdapterFile,
    Asked,
    Heard,
    Member,
    Mix,
    engine_arguments,
    ensure_engine_key,
)

BLOCK = 4


def make_scheduler(
    model: str,
    *,
    blocks: int,
    asynchronous: bool = False,
    lora_slots: int = 0,
    window: int | None = None,
    kind: Any = None,
    **options: Any,
) -> Any:
    """A lockstep scheduler over a cache of ``blocks`` blocks of ``BLOCK`` tokens, of a model that sees ``window``."""
    import torch
    from vllm.engine.arg_utils import EngineArgs
    from vllm.utils.hashing import sha256
    from vllm.v1.core.kv_cache_utils import init_none_hash
    from vllm.v1.kv_cache_interface import (
        FullAttentionSpec,
        KVCacheConfig,
        KVCacheGroupSpec,
        SlidingWindowSpec,
    )
    from vllm.v1.structured_output import StructuredOutputManager

    from motet_decoding.engine.lockstep import LockstepAsyncScheduler, LockstepScheduler

    ensure_engine_key()
    init_none_hash(sha256)
    config = EngineArgs(
        model=model,
        enforce_eager=True,
        dtype="float32",
        enable_lora=bool(lora_slots),
        max_loras=max(1, lora_slots),
        **options,
    ).create_engine_config()
    config.cache_config.num_gpu_blocks = blocks
    config.cache_config.block_size = BLOCK
    config.scheduler_config.async_scheduling = asynchronous
    shape: dict[str, Any] = {
        "block_size": BLOCK,
        "num_kv_heads": 1,
        "head_size": 1,
        "dtype": torch.float32,
    }
    spec = FullAttentionSpec(**shape) if window is None else SlidingWindowSpec(**shape, sliding_window=window)
    kv = KVCacheConfig(
        num_blocks=blocks,
        kv_cache_tensors=[],
        kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
    )
    kind = kind or (LockstepAsyncScheduler if asynchronous else LockstepScheduler)
    return kind(
        vllm_config=config,
        kv_cache_config=kv,
        structured_output_manager=StructuredOutputManager(config),
        block_size=BLOCK,
        hash_block_size=BLOCK,
        log_stats=True,
    )


def make_request(
    request_id: str,
    prompt: list[int],
    *,
    voices: Sequence[Member] = (),
    max_tokens: int = 8,
    eos: int | None = None,
    adapter: int | None = None,
    priority: int = 0,
    arrival: float = 0.0,
) -> Any:
    """A client's request, of a group where there are voices."""
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest
    from vllm.utils.hashing import sha256
    from vllm.v1.core.kv_cache_utils import get_request_block_hasher
    from vllm.v1.request import Request

    extra = None
    if voices:
        mix = Mix(voices=tuple(Heard(source="member", member=place) for place in range(1, 1 + len(voices))))
        extra = engine_arguments(mix, None, voices).extra_args
    params = SamplingParams(
        temperature=0.0,
        max_tokens=max_tokens,
        ignore_eos=True,
        stop_token_ids=None if eos is None else [eos],
        extra_args=extra,
    )
    return Request(
        request_id=request_id,
        prompt_token_ids=list(prompt),
        sampling_params=params,
        pooling_params=None,
        arrival_time=arrival,
        lora_request=None if adapter is None else LoRARequest(f"a{adapter}", adapter, "/nowhere"),
        priority=priority,
        block_hasher=get_request_block_hasher(BLOCK, sha256),
    )


@dataclass
class _Known:
    tokens: list[int]
    computed: int
    blocks: list[int]
    group: int | None
    member: int
    adapter: int

    def prefixes(self) -> list[int]:
        """What each token's keys and values depend on: the adapter, and all tokens up to it."""
        return list(
            accumulate(self.tokens, lambda before, token: hash((before, token)), initial=self.adapter)
        )[1:]


@dataclass
class Worker:
    """What a V1 worker does of a step, without a model."""

    key: str
    asynchronous: bool = False
    window: int | None = None
    #: What was written where.
    cache: dict[tuple[int, int], int] = field(default_factory=dict)
    known: dict[str, _Known] = field(default_factory=dict)
    members: dict[int, int] = field(default_factory=dict)
    group_draws: int = 0
    plain_draws: int = 0
    preemptions: int = 0
    #: Tokens that requests found in the cache when they came.
    hits: int = 0

    def run(self, step: Any) -> Any:
        """The step's output."""
        from vllm.v1.outputs import ModelRunnerOutput

        for ended in step.finished_req_ids:
            self.known.pop(ended, None)
        self.preemptions += len(step.preempted_req_ids or ())
        for new in step.scheduled_new_reqs:
            assert new.req_id not in self.known, "announced twice"
            self.hits += new.num_computed_tokens
            asked = _asked(new.sampling_params, self.key)
            self.known[new.req_id] = _Known(
                list(new.prompt_token_ids),
                new.num_computed_tokens,
                list(new.block_ids[0]),
                asked.group,
                asked.member,
                new.lora_request.lora_int_id if new.lora_request else 0,
            )
            if asked.group is not None and asked.member == 0:
                self.members[asked.group] = 1 + len(
                    {v.member for v in asked.contrast.voices if v.source == "member"}
                )
        cached = step.scheduled_cached_reqs
        for place, request_id in enumerate(cached.req_ids):
            known = self.known[request_id]
            blocks = cached.new_block_ids[place]
            if request_id in cached.resumed_req_ids:
                known.blocks = list(blocks[0])
                known.tokens = list(cached.all_token_ids[request_id])
            elif blocks is not None:
                known.blocks += blocks[0]
            if request_id in cached.all_token_ids and not self.asynchronous:
                assert known.tokens == cached.all_token_ids[request_id]
            if request_id not in cached.resumed_req_ids:
                assert known.computed == cached.num_computed_tokens[place], "computed differently"
            known.computed = cached.num_computed_tokens[place]
        drawing: dict[int, list[str]] = {}
        drawn: dict[str, list[int]] = {}
        written: set[tuple[int, int]] = set()
        for request_id, tokens in step.num_scheduled_tokens.items():
            known = self.known[request_id]
            prefixes = known.prefixes()
            seen = 0 if self.window is None else max(0, known.computed - self.window + 1)
            for place in range(seen, known.computed):
                slot = known.blocks[place // BLOCK], place % BLOCK
                assert self.cache[slot] == prefixes[place], "the cache holds something else"
            assert known.computed + tokens <= len(known.tokens), "more than is known"
            assert len(known.blocks) * BLOCK >= known.computed + tokens, "no block to write to"
            for place in range(known.computed, known.computed + tokens):
                slot = known.blocks[place // BLOCK], place % BLOCK
                assert slot not in written, "two write one slot"
                written.add(slot)
                self.cache[slot] = prefixes[place]
            known.computed += tokens
            drawn[request_id] = []
            if known.computed == len(known.tokens):
                if known.group is None:
                    drawn[request_id] = [token_after(known.tokens)]
                    self.plain_draws += 1
                else:
                    drawing.setdefault(known.group, []).append(request_id)
        for group, ids in drawing.items():
            assert len(ids) == self.members[group], f"group {group} draws without all its members"
            leader = next(each for each in ids if self.known[each].member == 0)
            token = token_after(self.known[leader].tokens)
            self.group_draws += 1
            for each in ids:
                drawn[each] = [token]
        for request_id, tokens in drawn.items():
            self.known[request_id].tokens += tokens
        return ModelRunnerOutput(
            req_ids=list(drawn),
            req_id_to_index={request_id: row for row, request_id in enumerate(drawn)},
            sampled_token_ids=[list(tokens) for tokens in drawn.values()],
            logprobs=None,
            prompt_logprobs_dict={},
            pooler_output=[],
        )


def token_after(tokens: list[int], vocabulary: int = 50) -> int:
    """A token that depends on all before it."""
    return int.from_bytes(hashlib.sha256(repr(tokens).encode()).digest()[:4], "little") % vocabulary


def _asked(params: Any, key: str) -> Asked:
    from motet_decoding.engine.arguments import read_asked

    return read_asked(params.extra_args, key)


@dataclass(frozen=True)
class Played:
    """What one play came to.

    Attributes:
        steps: of the engine.
        group_draws: tokens that groups drew.
        plain_draws: tokens of requests that hear no other voice.
        preemptions: of requests and of members.
    """

    steps: int
    group_draws: int
    plain_draws: int
    preemptions: int


def play(
    model: str, seed: int, *, asynchronous: bool = False, policy: str = "fcfs", requests: int = 40
) -> Played:
    """Serves random requests of random groups under random bounds, with aborts and cache resets, to the last.

    Every request that isn't aborted must end with the very tokens that it would have alone, and nothing may be left.
    """
    from vllm.v1.request import RequestStatus

    rng = random.Random(seed)
    blocks, places, slots = rng.choice([20, 30, 60, 200]), rng.choice([4, 6, 16]), rng.choice([0, 2, 3])
    budget, window = max(rng.choice([8, 16, 64]), places), rng.choice([None, None, 6])
    scheduler = make_scheduler(
        model,
        blocks=blocks,
        asynchronous=asynchronous,
        lora_slots=slots,
        window=window,
        max_num_seqs=places,
        max_num_batched_tokens=budget,
        max_model_len=48,
        enable_prefix_caching=rng.random() < 0.7,
        scheduling_policy=policy,
    )
    coming = _random_requests(rng, requests, blocks, min(places, budget), slots)
    expected = {each.request_id: _alone(each) for each in coming}
    worker, under_way = Worker(ensure_engine_key(), asynchronous, window), deque[Any]()
    tokens, ends, aborted, steps = defaultdict(list), {}, set(), 0
    while coming or under_way or scheduler.has_requests():
        steps += 1
        assert steps < 5000, "nothing moves any more"
        while coming and rng.random() < 0.5:
            scheduler.add_request(coming.pop(0))
        theirs = [each for each in scheduler.requests if "~" not in each]
        if theirs and rng.random() < 0.03:
            aborted.add(victim := rng.choice(theirs))
            scheduler.finish_requests(victim, RequestStatus.FINISHED_ABORTED)
        if not asynchronous and rng.random() < 0.02:
            assert scheduler.reset_prefix_cache(reset_running_requests=True)
        if scheduler.has_requests():
            step = scheduler.schedule()
            under_way.append((step, worker.run(step)))
        if under_way and (len(under_way) > asynchronous or not scheduler.has_requests()):
            for outputs in scheduler.update_from_output(*under_way.popleft()).values():
                for output in outputs.outputs:
                    tokens[output.request_id] += output.new_token_ids
                    if output.finish_reason is not None:
                        ends[output.request_id] = str(output.finish_reason)
    for request_id, answer in expected.items():
        if request_id not in aborted:
            assert (ends.pop(request_id), tokens.pop(request_id)) == ("length", answer)
    assert not ends.keys() - aborted, "a follower was heard of"
    assert not scheduler.requests
    assert scheduler.books_are_empty()
    assert scheduler.kv_cache_manager.block_pool.get_num_free_blocks() == blocks - 1
    return Played(steps, worker.group_draws, worker.plain_draws, worker.preemptions)


def _random_requests(rng: random.Random, count: int, blocks: int, places: int, slots: int) -> list[Any]:
    prompts = [[rng.randrange(50) for _ in range(rng.choice([1, 1, 2, 4, 5, 8, 9, 20]))] for _ in range(6)]

    def adapter() -> int | None:
        return rng.randrange(1, slots + 2) if slots and rng.random() < 0.5 else None

    def one(number: int) -> Any:
        prompt, most, own = rng.choice(prompts), rng.choice([1, 3, 8, 15]), adapter()
        voices = []
        for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
            other, theirs = adapter(), None if rng.random() < 0.4 else tuple(rng.choice(prompts))
            file = None if other is None else AdapterFile(name=f"a{other}", number=other, path="/nowhere")
            voices.append(Member(tokens=theirs, adapter=file))
        lengths = [len(each.tokens or prompt) + most for each in [Member(), *voices]]
        adapters = {own, *(each.adapter and each.adapter.number for each in voices)} - {None}
        too_large = sum(-(-length // BLOCK) for length in lengths) >= blocks or len(lengths) > places
        if too_large or len(adapters) > max(slots, 1):
            voices = []
        return make_request(
            f"r{number}",
            prompt,
            voices=voices,
            max_tokens=most,
            adapter=own,
            priority=rng.randrange(3),
            arrival=float(number // 3),  # as children of one request, or clients of a coarse clock
        )

    return [one(number) for number in range(count)]


def _alone(request: Any) -> list[int]:
    known = list(request.prompt_token_ids)
    for _ in range(request.max_tokens):
        known.append(token_after(known))
    return known[len(request.prompt_token_ids) :]
