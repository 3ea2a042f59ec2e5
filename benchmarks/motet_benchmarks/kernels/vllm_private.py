"""vLLM's samplers on tensors of ours: reaches into parts that its documentation does not promise.

Seen with vLLM 0.32.0. ``tests/benchmarks/kernels/test_vllm_private.py`` fails when one of them moves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from motet_benchmarks.kernels.cases import Controls
from motet_kernels import Sampling

if TYPE_CHECKING:
    from motet_benchmarks.kernels.inputs import History, Voices

#: Logits to logits, or logits to tokens; both may write to what they are given.
Step = Callable[[torch.Tensor], torch.Tensor]


def missing(device: str) -> str | None:
    """Why vLLM can't be measured on "cpu" or "cuda"; None if it can."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    try:
        from vllm.platforms import current_platform
    except ImportError as problem:
        return f"can't be imported: {problem}"
    if current_platform.device_type != device:
        return f"this build of it runs on {current_platform.device_type or 'nothing here'}"
    return None


def v1_penalties(given: Voices, said: History) -> Step:
    """The V1 sampler's penalties: it keeps answers as lists and makes a tensor of them at every step."""
    from vllm.v1.sample.ops.penalties import apply_all_penalties

    edits = given.edits
    if edits is None:
        raise ValueError("penalties need edits")
    answers = said.answer.tolist()
    columns = edits.presence, edits.frequency, edits.repetition
    return lambda logits: apply_all_penalties(logits, said.prompt, *columns, answers)


def v1_sampler(controls: Controls, sampling: Sampling) -> Step:
    """The V1 sampler without penalties, on float32 logits. It draws for the whole batch from one generator."""
    from vllm.v1.sample.logits_processor import LogitsProcessors
    from vllm.v1.sample.logits_processor.builtin import MinPLogitsProcessor
    from vllm.v1.sample.metadata import SamplingMetadata
    from vllm.v1.sample.sampler import Sampler

    batch, device = len(sampling.seed), sampling.seed.device
    processors = []
    if controls.min_p:
        config: Any = SimpleNamespace(scheduler_config=SimpleNamespace(max_num_seqs=batch))
        min_p = MinPLogitsProcessor(config, device, False)
        min_p.min_p_count, min_p.min_p = batch, sampling.min_p[:, None]
        processors.append(min_p)
    greedy = controls.temperature == 0
    neutral = torch.zeros(batch, device=device)
    metadata = SamplingMetadata(
        temperature=None if greedy else sampling.temperature,
        all_greedy=greedy,
        all_random=not greedy,
        top_p=sampling.top_p if controls.top_p < 1 else None,
        top_k=sampling.top_k if controls.top_k else None,
        generators={},
        max_num_logprobs=None,
        no_penalties=True,
        prompt_token_ids=None,
        frequency_penalties=neutral,
        presence_penalties=neutral,
        repetition_penalties=neutral + 1,
        output_token_ids=[[] for _ in range(batch)],
        allowed_token_ids_mask=None,
        bad_words_token_ids={},
        logitsprocs=LogitsProcessors(processors),
    )
    sampler = Sampler()
    return lambda logits: sampler.forward(logits, metadata).sampled_token_ids[:, 0].long()


def v2_penalties(given: Voices, said: History) -> Step:
    """The V2 sampler's penalties: a Triton kernel over counts that are kept from step to step, in place."""
    from vllm.v1.worker.gpu.sample.penalties import apply_penalties

    edits = given.edits
    if edits is None:
        raise ValueError("penalties need edits")
    batch, vocab = given.expert.shape
    device = given.expert.device
    counts = torch.zeros(batch, vocab, dtype=torch.int32, device=device)
    counts[edits.row, edits.token] = edits.count
    bits = torch.zeros(batch, -(-vocab // 32) * 32, dtype=torch.int64, device=device)
    bits[edits.row[edits.prompted], edits.token[edits.prompted]] = 1
    words = (bits.view(batch, -1, 32) << torch.arange(32, device=device)).sum(dim=-1)
    packed = torch.where(words >= 2**31, words - 2**32, words).int()
    slots = torch.arange(batch, device=device)
    first = torch.zeros(
        batch, dtype=torch.int64, device=device
    )  # no drafts: every token is its request's first
    columns = edits.repetition, edits.frequency, edits.presence

    def step(logits: torch.Tensor) -> torch.Tensor:
        apply_penalties(logits, slots, said.answer[:, -1], first, *columns, packed, counts)
        return logits

    return step


def v2_sampler(controls: Controls, sampling: Sampling) -> Step:
    """The V2 sampler without penalties, on float32 logits: Triton kernels, each request with a seed of its own."""
    from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p
    from vllm.v1.worker.gpu.sample.gumbel import apply_temperature, gumbel_sample
    from vllm.v1.worker.gpu.sample.min_p import apply_min_p

    slots = torch.arange(len(sampling.seed), device=sampling.seed.device)
    top_k = sampling.top_k if controls.top_k else None
    top_p = sampling.top_p if controls.top_p < 1 else None

    def step(logits: torch.Tensor) -> torch.Tensor:
        if controls.temperature:
            apply_temperature(logits, slots, sampling.temperature)
        if controls.min_p:
            apply_min_p(logits, slots, sampling.min_p)
        logits = apply_top_k_top_p(logits, top_k, top_p)
        return gumbel_sample(
            logits,
            slots,
            sampling.temperature,
            sampling.seed,
            sampling.position,
            apply_temperature=False,
            is_drafting=False,
        )

    return step


def v2_token_logprobs(ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Of the tokens ``ids`` [batch], from logits [batch, vocab], by the V2 sampler's Triton kernel."""
    from vllm.v1.worker.gpu.sample.logprob import compute_token_logprobs

    return compute_token_logprobs(logits, ids[:, None])[:, 0]
