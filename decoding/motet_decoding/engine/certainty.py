"""Self-certainty of answers (Kang et al. 2025), from the engine that draws them.

It is the mean over an answer's tokens of KL(uniform || p), p being what the model itself gives the next token: before
grammars, biases, penalties, temperature, and before a contrast, whose amateur has no part in it. Log-probabilities of
the likeliest tokens don't determine it, so it is measured where the logits are. The answer's request names a
measurement, and once the answer has ended a second, one-token request reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from secrets import randbelow
from typing import TYPE_CHECKING, Any

from motet_decoding.engine import SCORING_PROCESSOR
from motet_decoding.engine.arguments import measure_arguments, reading_arguments
from motet_decoding.engine.rewards import PARTS, number_sampling, read_number

if TYPE_CHECKING:
    from vllm.config import VllmConfig


def measured(extra_args: Mapping[str, Any] | None, measure: str) -> dict[str, Any]:
    """``extra_args`` of an engine request for one answer, whose tokens are then measured.

    Args:
        extra_args: what stands there already; a contrast stays.
        measure: a name that no other request has and no client can guess; 64 characters at most.
    """
    return measure_arguments(extra_args, measure)


async def read_certainty(client: Any, measure: str, tokens: int, request_id: str, **options: Any) -> float:
    """The certainty of an answer that has ended, in nats per token.

    Args:
        client: vLLM's ``EngineClient``.
        measure: the name under which it was measured.
        tokens: how many tokens the answer has; what the engine drew behind them doesn't count.
        request_id: of this request.
        options: what else ``client.generate`` is told; with data parallelism the answer's own ``data_parallel_rank``.

    Raises:
        ValueError: where it isn't there: displaced by those of later answers, measured on another replica, longer
            than all that is kept (2^24 tokens), or not finite.
    """
    from vllm.inputs import tokens_input

    prompt, sampling = tokens_input([0]), number_sampling(reading_arguments(measure, tokens))
    outputs = client.generate(prompt, sampling, request_id, **options)
    (output,) = [each async for each in outputs]  # only the last is told
    certainty = read_number(output)
    if certainty is None:
        raise ValueError(
            "certainty: the engine has no measurement of this answer: later ones took its place, or it isn't finite"
        )
    return certainty


def no_certainty(config: VllmConfig) -> str | None:
    """Why answers of the engine with this configuration can't be measured; None where they can."""
    model, parallel = config.model_config, config.parallel_config
    if config.speculative_config is not None:
        return "with speculative decoding the rows of a step are not one a request"
    if SCORING_PROCESSOR not in (model.logits_processors or ()):
        return (
            "the engine looks at its logits only where it was started with an amateur, or with adapters for a model "
            "on which rewards can be scored"
        )
    if parallel.prefill_context_parallel_size > 1:
        return "with prefill context parallelism a process doesn't know which token a row draws"
    if -1 < model.max_logprobs < 1 + PARTS:
        return (
            f"it leaves the engine in {1 + PARTS} log-probabilities, and max_logprobs is {model.max_logprobs}"
        )
    return None


def one_replica(config: VllmConfig) -> dict[str, int]:
    """What to tell ``client.generate`` of an answer that is measured, and of the reading: where both go.

    With data parallelism vLLM would send each to whichever replica has the least to do, and only one of them has
    measured. Any will do; candidates of one prompt share its keys and values on the same one.
    """
    parallel = config.parallel_config
    local = parallel.local_engines_only
    replicas = parallel.data_parallel_size_local if local else parallel.data_parallel_size
    return {"data_parallel_rank": randbelow(replicas)} if replicas > 1 else {}
